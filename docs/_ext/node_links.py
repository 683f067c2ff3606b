"""Where Node's documentation describes what a docstring names in its line `Node: ...`.

Below stand the headings of Node's pages, as they are printed there; an anchor is made from its
heading by the rule that Node's site uses. The build fails at a name that is not here.
"""

import re

SITE = "https://nodejs.org/docs/latest/api/"

HEADINGS = {
    "net": """
        Class: `net.BlockList` | blockList.addAddress(address[, type])
        blockList.addAddresses(addresses[, type]) | blockList.addCIDR(cidr)
        blockList.addCIDRs(cidrs) | blockList.addRange(start, end[, type])
        blockList.addSubnet(net, prefix[, type]) | blockList.check(address[, type])
        blockList.clear() | blockList.fromJSON(value) | BlockList.isBlockList(value)
        BlockList.PRIVATE_RANGES | blockList.removeAddress(address[, type])
        blockList.removeCIDR(cidr) | blockList.removeRange(start, end[, type])
        blockList.removeSubnet(net, prefix[, type]) | blockList.rules | blockList.size
        blockList.toJSON() | Class: `net.SocketAddress` | socketaddress.address
        socketaddress.family | socketaddress.flowlabel | socketaddress.port
        SocketAddress.parse(input) | Class: `net.Server` | server.address()
        server.close([callback]) | server[Symbol.asyncDispose]() | server[Symbol.asyncIterator]()
        server.getConnections(callback) | server.listen() | server.listening
        server.maxConnections | server.dropMaxConnection | server.ref() | server.unref()
        Class: `net.Socket` | socket.address() | socket.autoSelectFamilyAttemptedAddresses
        socket.bufferSize | socket.bytesRead | socket.bytesWritten | socket.connect()
        socket.connecting | socket.destroy([error]) | socket.destroyed | socket.destroySoon()
        socket.end([data[, encoding]][, callback]) | socket.localAddress | socket.localPort
        socket.localFamily | socket.pause() | socket.pending | socket.ref()
        socket.remoteAddress | socket.remoteFamily | socket.remotePort
        socket.resetAndDestroy() | socket.resume() | socket.setEncoding([encoding])
        socket.setKeepAlive() | socket.setNoDelay([noDelay])
        socket.setTimeout(timeout[, callback]) | socket.getTypeOfService()
        socket.setTypeOfService(tos) | socket.timeout | socket.unref()
        socket.write(data[, encoding][, callback]) | socket.readyState
        Class: `net.BoundSocket` | boundSocket.address() | boundSocket.isPipe
        boundSocket.fd() | boundSocket.close() | boundSocket[Symbol.dispose]()
        net.connect() | net.createConnection()
        net.createServer([options][, connectionListener]) | net.getDefaultAutoSelectFamily()
        net.setDefaultAutoSelectFamily(value) | net.getDefaultAutoSelectFamilyAttemptTimeout()
        net.setDefaultAutoSelectFamilyAttemptTimeout(value) | net.isIP(input)
        net.isIPv4(input) | net.isIPv6(input)
    """,
    "tls": """
        Class: `tls.Server` | server.addContext(hostname, context) | server.getTicketKeys()
        server.setSecureContext(options) | server.setTicketKeys(keys)
        Class: `tls.TLSSocket` | tlsSocket.authorizationError | tlsSocket.authorized
        tlsSocket.disableRenegotiation() | tlsSocket.enableTrace() | tlsSocket.encrypted
        tlsSocket.exportKeyingMaterial(length, label[, context]) | tlsSocket.getCertificate()
        tlsSocket.getCipher() | tlsSocket.getEphemeralKeyInfo() | tlsSocket.getFinished()
        tlsSocket.getPeerCertificate([detailed]) | tlsSocket.getPeerFinished()
        tlsSocket.getPeerX509Certificate() | tlsSocket.getProtocol() | tlsSocket.getSession()
        tlsSocket.getSharedSigalgs() | tlsSocket.getTLSTicket() | tlsSocket.getX509Certificate()
        tlsSocket.isSessionReused() | tlsSocket.renegotiate(options, callback)
        tlsSocket.setKeyCert(context) | tlsSocket.setMaxSendFragment(size)
        tls.checkServerIdentity(hostname, cert) | tls.connect(options[, callback])
        tls.createSecureContext([options])
        tls.createServer([options][, secureConnectionListener]) | tls.getCACertificates([type])
        tls.getCiphers() | tls.setDefaultCACertificates(certs)
    """,
    "stream": """
        Class: `stream.Readable` | Class: `stream.Writable` | Class: `stream.Duplex`
        Class: `stream.Transform` | Class: `stream.PassThrough`
        duplex.allowHalfOpen | readable.closed | readable.destroy([error]) | readable.destroyed
        readable.errored | readable.isPaused() | readable.iterator([options]) | readable.pause()
        readable.pipe(destination[, options]) | readable.push(chunk[, encoding])
        readable.read([size]) | readable.readable | readable.readableAborted
        readable.readableDidRead | readable.readableEncoding | readable.readableEnded
        readable.readableFlowing | readable.readableHighWaterMark | readable.readableLength
        readable.readableObjectMode | readable.resume() | readable.setEncoding(encoding)
        readable.unpipe([destination]) | readable.unshift(chunk[, encoding])
        readable[Symbol.asyncIterator]() | readable[Symbol.asyncDispose]()
        writable.cork() | writable.end([chunk[, encoding]][, callback])
        writable.setDefaultEncoding(encoding) | writable.uncork() | writable.writable
        writable.writableAborted | writable.writableCorked | writable.writableEnded
        writable.writableFinished | writable.writableHighWaterMark | writable.writableLength
        writable.writableNeedDrain | writable.writableObjectMode
        writable.write(chunk[, encoding][, callback])
        stream.finished(stream[, options], callback)
        stream.pipeline(source[, ...transforms], destination, callback)
        stream.Readable.from(iterable[, options])
        stream.getDefaultHighWaterMark(objectMode)
        stream.setDefaultHighWaterMark(objectMode, value)
    """,
    "events": """
        Class: `EventEmitter` | emitter.emit(eventName[, ...args]) | emitter.eventNames()
        emitter.getMaxListeners() | emitter.listenerCount(eventName[, listener])
        emitter.listeners(eventName) | emitter.off(eventName, listener)
        emitter.on(eventName, listener) | emitter.once(eventName, listener)
        emitter.prependListener(eventName, listener)
        emitter.prependOnceListener(eventName, listener) | emitter.rawListeners(eventName)
        emitter.removeAllListeners([eventName]) | emitter.removeListener(eventName, listener)
        emitter.setMaxListeners(n) | events.addAbortListener(signal, listener)
        events.getEventListeners(emitterOrTarget, eventName)
        events.getMaxListeners(emitterOrTarget)
        events.listenerCount(emitterOrTarget, eventName)
        events.on(emitter, eventName[, options]) | events.once(emitter, name[, options])
        events.setMaxListeners(n[, ...eventTargets]) | events.captureRejections
        events.errorMonitor | events.defaultMaxListeners
        emitter[Symbol.for('nodejs.rejection')](err, eventName[, ...args])
    """,
    "timers": """
        Class: `Immediate` | Class: `Timeout` | immediate.hasRef() | immediate.ref()
        immediate.unref() | timeout.close() | timeout.hasRef() | timeout.ref()
        timeout.refresh() | timeout.unref() | setImmediate(callback[, ...args])
        setInterval(callback[, delay[, ...args]]) | setTimeout(callback[, delay[, ...args]])
        clearImmediate(immediate) | clearInterval(timeout) | clearTimeout(timeout)
    """,
    "process": """
        process.getActiveResourcesInfo() | process.nextTick(callback[, ...args])
        Event: `'uncaughtException'`
    """,
    "globals": """
        Class: `AbortController` | Class: `AbortSignal` | abortController.abort([reason])
        abortController.signal | Static method: `AbortSignal.abort([reason])`
        Static method: `AbortSignal.timeout(delay)` | Static method: `AbortSignal.any(signals)`
        Event: `'abort'` | abortSignal.aborted | abortSignal.reason
        abortSignal.throwIfAborted()
    """,
    "diagnostics_channel": """
        diagnostics_channel.hasSubscribers(name)
        diagnostics_channel.subscribe(name, onMessage)
        diagnostics_channel.unsubscribe(name, onMessage)
    """,
    "cluster": """
        Class: `Worker` | worker.disconnect() | worker.exitedAfterDisconnect
        worker.isConnected() | worker.isDead() | worker.kill([signal])
        worker.send(message[, sendHandle[, options]][, callback])
        cluster.disconnect([callback]) | cluster.fork([env]) | cluster.setupPrimary([settings])
    """,
    "child_process": """
        Class: `ChildProcess` | subprocess.kill([signal]) | subprocess.connected
        subprocess.disconnect() | subprocess.exitCode | subprocess.signalCode
    """,
    "worker_threads": """
        port.postMessage(value[, transferList])
    """,
    "errors": """
        Class: `Error` | Class: `TypeError` | Class: `RangeError` | error.code | error.cause
        ABORT_ERR
    """,
}

# Names in docstrings which Node's pages print in another way.
SAME = {
    "AbortController": "Class: `AbortController`",
    "AbortSignal": "Class: `AbortSignal`",
    "AbortSignal.abort()": "Static method: `AbortSignal.abort([reason])`",
    "AbortSignal.any()": "Static method: `AbortSignal.any(signals)`",
    "AbortSignal.timeout()": "Static method: `AbortSignal.timeout(delay)`",
    "bufferSize": "socket.bufferSize",
    "ChildProcess": "Class: `ChildProcess`",
    "cluster.Worker": "Class: `Worker`",
    "worker.destroy()": "worker.kill([signal])",
    "controller.abort()": "abortController.abort([reason])",
    "controller.signal": "abortController.signal",
    "emitter[Symbol.for('nodejs.rejection')]()": (
        "emitter[Symbol.for('nodejs.rejection')](err, eventName[, ...args])"
    ),
    "errors.Error": "Class: `Error`",
    "events.EventEmitter": "Class: `EventEmitter`",
    "for await": "readable[Symbol.asyncIterator]()",
    "process.on('uncaughtException')": "Event: `'uncaughtException'`",
    "port.postMessage(server, [server])": "port.postMessage(value[, transferList])",
    "port.postMessage(socket, [socket])": "port.postMessage(value[, transferList])",
    "signal.addEventListener()": "Event: `'abort'`",
    "signal.addEventListener() with once": "Event: `'abort'`",
    "signal.removeEventListener()": "Event: `'abort'`",
    "signal.aborted": "abortSignal.aborted",
    "signal.reason": "abortSignal.reason",
    "signal.throwIfAborted()": "abortSignal.throwIfAborted()",
    "socket.read()": "readable.read([size])",
    "stream.closed": "readable.closed",
    "stream.destroy()": "readable.destroy([error])",
    "stream.destroyed": "readable.destroyed",
    "stream.errored": "readable.errored",
    "stream[Symbol.asyncDispose]()": "readable[Symbol.asyncDispose]()",
    "stream.Readable.from()": "stream.Readable.from(iterable[, options])",
    "timers.Immediate": "Class: `Immediate`",
    "timers.Timeout": "Class: `Timeout`",
}

# What Node has and does not describe, or what a docstring only says in words.
UNDOCUMENTED = {
    "AggregateError",
    "DOMException [TimeoutError]",
    "KeepAliveWarning",
    "MaxListenersExceededWarning",
    "SocketAddress.isSocketAddress(value)",
    "TimeoutOverflowWarning",
    "error.errors",
    "error.name",
    "error.hostname",
    "error.syscall",
    "net.promises",
    "net.promises.connect()",
    "net.promises.listen()",
    "server._connectionKey",
    "server.allowHalfOpen",
    "server.blockList",
    "server.highWaterMark",
    "server.keepAlive",
    "server.keepAliveInitialDelay",
    "server.noDelay",
    "server.pauseOnConnect",
    "socket.server",
    "socketaddress.toJSON()",
    "tls.SecureContext",
    "tlsSocket.alpnProtocol",
    "tlsSocket.secureConnecting",
    "tlsSocket.servername",
}

PAGES = {"net", "tls", "stream", "events", "timers", "diagnostics_channel", "errors"}


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _headings() -> dict[str, str]:
    known = {}
    for page, text in HEADINGS.items():
        for line in text.strip().splitlines():
            for heading in line.strip().split(" | "):
                known[heading] = f"{SITE}{page}.html#{_slug(heading)}"
    return known


_KNOWN = _headings()
_BY_NAME = {heading.partition("(")[0]: url for heading, url in _KNOWN.items() if "(" in heading}


def parts(text: str) -> list[str]:
    """The names of a line: `net.createConnection(), net.connect()` has two."""
    names, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and not depth:
            names.append("")
        else:
            names[-1] += character
    return [name.strip() for name in names]


def url(name: str) -> str | None:
    """The address for one name; None where Node has none. Raises KeyError for an unknown name."""
    if name.startswith("none") or name in UNDOCUMENTED:
        return None
    if name.startswith("a promise"):
        return None
    name = name.removeprefix("stream/promises ")
    code = re.fullmatch(r"(?:\w+ )?\[?((?:ERR_|ABORT_)\w+)\]?", name)
    if code:
        return f"{SITE}errors.html#{code[1].lower()}"
    if name in PAGES:
        return f"{SITE}{name}.html"
    if name in SAME:
        return _KNOWN[SAME[name]]
    for heading in (name, f"Class: `{name}`"):
        if heading in _KNOWN:
            return _KNOWN[heading]
    if name in ("finished()", "pipeline()"):
        name = f"stream.{name}"
    return _BY_NAME[name.partition("(")[0]]
