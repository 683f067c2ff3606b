"""Plays scripts on pyuvnet: {folder, scripts} as JSON on stdin; a line of JSON for each trace
goes to the file FOLDER/traces.

The twin of runner.js, method by method. scripts.py says what a script is.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import math
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import pyuvnet
from pyuvnet import net, streams, tls

# Node logs nothing of dropped connections.
logging.getLogger("pyuvnet").addHandler(logging.NullHandler())

EVENTS = [
    "listening", "lookup", "connectionAttempt", "connectionAttemptFailed",
    "connectionAttemptTimeout", "connect", "ready", "data", "end", "finish", "drain",
    "timeout", "error", "close", "pause", "resume", "drop",
]  # fmt: skip
STATE = ["ready_state", "destroyed", "writable_length", "bytes_read", "bytes_written"]


def nothing() -> None: ...


ODD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "null": None, "function": nothing}


class Player:
    def __init__(self, script: dict[str, Any], folder: str) -> None:
        self.script = script
        self.folder = folder
        self.things: dict[str, Any] = {"net": net, "tls": tls}
        self.ports: dict[str, int] = dict(script.get("ports", {}))
        self.trace: list[tuple[str, str]] = []
        self.accepted = 0
        self.sessions: dict[str, Any] = {}
        self.over = False
        self.done: asyncio.Future[None] | None = None
        self.subscribed: list[tuple[str, Any]] = []
        self.limit = pyuvnet.set_timeout(self.too_late, 8000).unref()

    def too_late(self) -> None:
        self.note("-", "timed out")
        self.finish()

    def note(self, name: str, *entry: str) -> None:
        if not self.over:
            self.trace.append((name, " ".join(entry)))

    # ---- Values, as both sides print them ----

    def show(self, value: Any) -> str:
        if isinstance(value, BaseException):
            return self.show_error(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.text(bytes(value).decode("latin1"))
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(self.show, value))}]"
        if value is None or isinstance(value, (bool, int, float, str)):
            return self.text(str(value))
        for name, thing in self.things.items():
            if thing is value:
                return name
        if isinstance(value, tls.TLSSocket):
            return "a TLSSocket"
        if not isinstance(value, dict):
            return "a function" if callable(value) else "{}"
        items = [(key, self.show(each)) for key, each in value.items() if each is not None]
        return f"""{{{
            ", ".join(
                f"{key}: {'a port' if key.endswith('Port') and text.isdigit() else text}"
                for key, text in items
            )
        }}}"""

    def show_error(self, error: BaseException) -> str:
        parts = [getattr(error, "name", "Error") or "Error"]
        parts += [v for v in (getattr(error, n, None) for n in ("code", "syscall")) if v]
        if getattr(error, "address", None) is not None:
            parts.append(f"at {error.address}:{self.show(error.port)}")
        if getattr(error, "cause", None) is not None:
            parts.append(f"because {self.show(error.cause)}")
        if getattr(error, "errors", None):
            parts.append(self.show(error.errors))
        return self.text(f"<{' '.join(parts)}: {getattr(error, 'message', error)}>")

    def text(self, text: str) -> str:
        text = text.replace(self.folder, "FOLDER").replace("ssl/tls alert", "sslv3 alert")
        text = re.sub(r"(Local \(.*:)[1-9]\d*\)", r"\1a port)", text)
        for name, port in self.ports.items():
            text = re.sub(rf"\b{port}\b", f"port({name})", text)
        return text

    # ---- Values that JSON has not ----

    def value(self, me: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self.value(me, each) for each in value]
        if not isinstance(value, dict):
            return value
        if "$" in value:
            return getattr(self, "make_" + value["$"])(me, value)
        return {key: self.value(me, each) for key, each in value.items()}

    def make_cb(self, me: str, of: dict[str, Any]) -> Any:
        def callback(*args: Any) -> None:
            given = [self.show(each) for each in args if each is not None]
            self.note(me, "cb", of["name"], *given)
            self.run(me, of["then"])

        return callback

    def make_error(self, me: str, of: dict[str, Any]) -> Any:
        return RuntimeError(of["text"])

    def make_bytes(self, me: str, of: dict[str, Any]) -> Any:
        return of["text"].encode("latin1") * of["count"]

    def make_port(self, me: str, of: dict[str, Any]) -> Any:
        return self.ports.get(of["of"])

    def make_path(self, me: str, of: dict[str, Any]) -> Any:
        return self.folder + of["name"]

    def make_pem(self, me: str, of: dict[str, Any]) -> Any:
        return Path(self.script["pki"], of["name"])

    def make_context(self, me: str, of: dict[str, Any]) -> Any:
        return tls.create_secure_context(self.value(me, of["options"]))

    def make_session(self, me: str, of: dict[str, Any]) -> Any:
        return self.sessions.get(of["of"])

    def make_sni(self, me: str, of: dict[str, Any]) -> Any:
        def choose(name: str, callback: Any) -> None:
            self.note(me, "sni", name)
            error, context = self.value(me, of["answers"].get(name, [None, None]))

            def reply() -> None:
                if not self.over:
                    callback(error, context)

            if of["when"] == "now":
                reply()
            else:
                pyuvnet.set_immediate(reply)

        return choose

    def make_alpn(self, me: str, of: dict[str, Any]) -> Any:
        def choose(offer: Any) -> Any:
            self.note(me, "alpn", self.show(offer.servername or False), self.show(offer.protocols))
            return of["answer"]

        return choose

    def make_identity(self, me: str, of: dict[str, Any]) -> Any:
        def check(host: str, cert: Any) -> Any:
            self.note(me, "identity", host, self.show(cert.subject), self.show(cert.subjectaltname))
            return RuntimeError(of["error"]) if of["error"] else None

        return check

    def make_fd(self, me: str, of: dict[str, Any]) -> Any:
        return self.script["fds"][of["of"]]

    def make_thing(self, me: str, of: dict[str, Any]) -> Any:
        return self.things[of["name"]]

    def make_signal(self, me: str, of: dict[str, Any]) -> Any:
        return self.things[of["of"]].signal

    def make_odd(self, me: str, of: dict[str, Any]) -> Any:
        return ODD[of["name"]]

    def make_block_list(self, me: str, of: dict[str, Any]) -> Any:
        block_list = net.BlockList()
        for address in of["addresses"]:
            block_list.add_address(address, f"ipv{net.is_ip(address)}")
        return block_list

    def make_lookup(self, me: str, of: dict[str, Any]) -> Any:
        def lookup(host: str, options: Any, callback: Any) -> None:
            self.note(me, "asked for", host, self.show(options))

            def reply() -> None:
                if not self.over:
                    callback(*self.value(me, of["answer"]))

            if of["when"] == "now":
                reply()
            elif of["when"] == "tick":
                pyuvnet.next_tick(reply)
            elif of["when"] == "immediate":
                pyuvnet.set_immediate(reply)

        return lookup

    def make_onread(self, me: str, of: dict[str, Any]) -> Any:
        reads = 0

        def make() -> bytearray:
            # Node asks for the first buffer as early as in connect(); only the others have a place.
            if reads:
                self.note(me, "buffer wanted")
            return bytearray(of["size"])

        def callback(count: int, buffer: Any) -> bool:
            nonlocal reads
            reads += 1
            self.note(me, "read", self.show(memoryview(buffer)[:count]))
            return reads != of["stop"]

        return {"buffer": make if of["fresh"] else bytearray(of["size"]), "callback": callback}

    # ---- Events ----

    def watch(self, name: str, thing: Any) -> None:
        self.things[name] = thing
        counts: dict[str, int] = {}
        silent = self.script.get("silent", {}).get(name, [])

        def listening() -> None:
            if isinstance(thing.address(), dict):
                self.ports[name] = thing.address()["port"]

        def listener(event: str) -> Any:
            def heard(*args: Any) -> None:
                counts[event] = counts.get(event, 0) + 1
                self.note(name, event, *map(self.show, args))
                self.react(name, event, counts[event])

            return heard

        if isinstance(thing, net.Server):
            thing.prepend_listener("listening", listening)
            if isinstance(thing, tls.Server):
                if name in self.script.get("raw", []):
                    thing.on("connection", lambda socket: self.take(name, socket, "r"))
                thing.on("secureConnection", lambda socket: self.take(name, socket))
            else:
                thing.on("connection", lambda socket: self.take(name, socket))
        more = ["tlsClientError"] if isinstance(thing, tls.Server) else []
        if isinstance(thing, tls.TLSSocket) and self.script.get("tls"):
            more = ["secure", "secureConnect"]
            thing.on("session", lambda session: self.sessions.update({name: session}))
        for event in [*EVENTS, *more, *self.script.get("hear", {}).get(name, [])]:
            if event not in silent:
                thing.on(self.heard_as(thing, event), listener(event))

    def heard_as(self, thing: Any, event: str) -> str:
        """The event which says over TLS what another one says without."""
        if self.script.get("over_tls"):
            if isinstance(thing, net.Server) and event == "connection":
                return "secureConnection"
            if isinstance(thing, net.Socket) and event in ("connect", "ready"):
                return "secureConnect"
        return event

    def take(self, server: str, socket: net.Socket, prefix: str = "s") -> None:
        self.accepted += 1
        child = f"{prefix}{self.accepted}"
        self.note(server, "connection")
        self.watch(child, socket)
        self.react(child, "accepted", 1)
        self.run(server, self.script.get("on", {}).get(f"{server}.connection", []))

    def react(self, name: str, event: str, count: int) -> None:
        on = self.script.get("on", {})
        self.run(name, on.get(f"{name}.{event}", []))
        self.run(name, on.get(f"{name}.{event}#{count}", []))

    def run(self, me: str, actions: list[Any]) -> None:
        for verb, *args in actions:
            if not self.over:
                getattr(self, "do_" + verb)(me, *args)

    # ---- Verbs ----

    def do_call(self, me: str, name: str, method: str, *args: Any) -> None:
        thing = self.things[name]
        if method in ("on", "once", "prepend_listener", "off", "remove_all_listeners", "emit"):
            args = (*(self.heard_as(thing, event) for event in args[:1]), *args[1:])
        try:
            result = getattr(thing, method)(*[self.value(name, each) for each in args])
        except Exception as error:
            self.note(me, f"{name}.{method} raised", self.show(error))
            return
        if result is not thing:
            self.note(me, f"{name}.{method}", self.show(result))

    def do_probe(self, me: str, name: str, *properties: str) -> None:
        thing = self.things[name]
        self.note(me, " ".join(f"{name}.{p} {self.show(getattr(thing, p))}" for p in properties))

    def do_set(self, me: str, name: str, prop: str, value: Any) -> None:
        setattr(self.things[name], prop, self.value(me, value))

    def make(self, me: str, name: str, kind: Any, args: Any) -> None:
        try:
            self.watch(name, kind(*[self.value(name, each) for each in args]))
        except Exception as error:
            self.note(me, name, "raised", self.show(error))

    def secured(self, kind: Any, **keys: str) -> Any:
        """The same over TLS, if the script is played like that."""
        if not self.script.get("over_tls"):
            return kind
        files: dict[str, Any] = {
            option: Path(self.script["pki"], file) for option, file in keys.items()
        }
        if kind is net.Server:
            return functools.partial(tls.Server, **files)
        if kind is net.Socket:
            return functools.partial(tls.TLSSocket, None, servername="localhost", **files)
        return functools.partial(tls.connect, servername="localhost", **files)

    def do_server(self, me: str, name: str, *args: Any) -> None:
        kind = self.secured(net.Server, key="server.key", cert="server.pem")
        self.make(me, name, kind, args)

    def do_socket(self, me: str, name: str, *args: Any) -> None:
        self.make(me, name, self.secured(net.Socket, ca="ca.pem"), args)

    def do_create(self, me: str, name: str, *args: Any) -> None:
        self.make(me, name, self.secured(net.create_connection, ca="ca.pem"), args)

    def do_tls_server(self, me: str, name: str, *args: Any) -> None:
        self.make(me, name, tls.create_server, args)

    def do_tls_connect(self, me: str, name: str, *args: Any) -> None:
        self.make(me, name, tls.connect, args)

    def do_tls_socket(self, me: str, name: str, plain: str, options: Any) -> None:
        self.make(me, name, functools.partial(tls.TLSSocket, self.things[plain]), [options])

    def do_duplex(self, me: str, name: str, of: str) -> None:
        below = self.things[of]
        duplex = self.things[name] = streams.Duplex(
            read=lambda size: below.resume(),
            write=lambda chunk, encoding, callback: below.write(chunk, callback),
            final=lambda callback: below.end(callback=callback),
        )
        below.on("data", lambda chunk: duplex.push(chunk) or below.pause())
        below.on("end", lambda: duplex.push(None))
        below.on("close", lambda *_: duplex.destroy())

    def do_bound(self, me: str, name: str, options: Any) -> None:
        try:
            bound = self.things[name] = net.BoundSocket(self.value(name, options))
            if "port" in bound.address():
                self.ports[name] = bound.address()["port"]
        except Exception as error:
            self.note(me, name, "raised", self.show(error))

    def do_controller(self, me: str, name: str) -> None:
        self.things[name] = pyuvnet.AbortController()

    def do_abort(self, me: str, name: str, *reason: Any) -> None:
        self.things[name].abort(*[self.value(name, each) for each in reason])

    def do_subscribe(self, me: str, channel: str) -> None:
        def told(message: Any, name: str) -> None:
            self.note("-", channel, " ".join(sorted(message)))

        pyuvnet.diagnostics.subscribe(channel, told)
        self.subscribed.append((channel, told))

    def later(self, me: str, entry: str, then: list[Any]) -> None:
        self.note(me, entry)
        self.run(me, then)

    def do_tick(self, me: str, label: str, then: list[Any]) -> None:
        pyuvnet.next_tick(self.later, me, "tick " + label, then)

    def do_immediate(self, me: str, label: str, then: list[Any]) -> None:
        pyuvnet.set_immediate(self.later, me, "immediate " + label, then)

    def do_timer(self, me: str, ms: int, label: str, then: list[Any]) -> None:
        pyuvnet.set_timeout(self.later, ms, me, "timer " + label, then)

    def do_turns(self, me: str, count: int, then: list[Any]) -> None:
        if self.over:
            return
        if count:
            pyuvnet.set_immediate(self.do_turns, me, count - 1, then)
        else:
            self.run(me, then)

    def do_until(self, me: str, name: str, prop: str, value: Any, then: list[Any]) -> None:
        if self.over:
            return
        if name in self.things and getattr(self.things[name], prop) == value:
            self.run(me, then)
        else:
            pyuvnet.set_immediate(self.do_until, me, name, prop, value, then)

    def do_iterate(self, me: str, name: str, most: int, then: list[Any]) -> None:
        async def iterate() -> None:
            text = ""
            try:
                async for chunk in self.things[name]:
                    text += chunk if isinstance(chunk, str) else chunk.decode("latin1")
                    if len(text) >= most:
                        break
            except Exception as error:
                self.note(name, "iterated", text, self.show(error))
            else:
                self.note(name, "iterated", text)
            self.run(name, then)

        self.task = asyncio.get_running_loop().create_task(iterate())

    def do_reject(self, me: str, name: str, event: str, text: str) -> None:
        async def fail(*args: Any) -> None:
            raise RuntimeError(text)

        self.things[name].on(self.heard_as(self.things[name], event), fail)

    def do_throw(self, me: str, text: str) -> None:
        raise RuntimeError(text)

    def ask(self, question: str) -> int:
        os.write(self.script["fds"]["peers"], f"{question}\n".encode())
        return int(os.read(self.script["fds"]["peers"], 64))

    def do_peer(self, me: str, name: str, kind: str, late: int) -> None:
        self.ports[name] = self.ask(f"open {kind} {late}")

    def do_pump(self, me: str, quiet: int, most: int, then: list[Any]) -> None:
        left, noted = quiet, 0

        def turn() -> None:
            nonlocal left, noted, most
            if self.over:
                return
            busy = self.ask("turn") or noted != len(self.trace)
            noted = len(self.trace)
            left = quiet if busy else left - 1
            if left and most:
                most -= 1
                pyuvnet.set_immediate(turn)
            else:
                self.run(me, then)
                self.finish()

        pyuvnet.set_immediate(turn)

    def do_finish(self, me: str) -> None:
        self.finish()

    def finish(self) -> None:
        if self.over:
            return
        self.limit.close()
        for name, thing in list(self.things.items()):
            if isinstance(thing, net.Socket):
                # How many bytes a record has is nobody's business.
                state = STATE[:3] if self.script.get("tls") else STATE
                self.note(name, "left", *[self.show(getattr(thing, p)) for p in state])
                thing.destroy()
            elif isinstance(thing, net.Server):
                self.note(name, "left", self.show(thing.listening))
                thing.close()
        self.over = True
        for channel, told in self.subscribed:
            pyuvnet.diagnostics.unsubscribe(channel, told)
        if self.done is not None:
            self.done.set_result(None)

    async def attached(self) -> None:
        """For scripts with coroutines, which need asyncio: they say when they are over."""
        self.done = asyncio.get_running_loop().create_future()
        pyuvnet.set_immediate(self.run, "-", self.script["start"])
        await self.done

    def play(self) -> list[tuple[str, str]]:
        pyuvnet.set_exception_handler(lambda exc: self.note("-", "uncaught", self.show(exc)))
        warnings.showwarning = lambda _, kind, *rest: self.note("-", "warning", kind.__name__)
        if self.script.get("coroutines"):
            pyuvnet.run(self.attached())
        else:
            pyuvnet.set_immediate(self.run, "-", self.script["start"])
        pyuvnet.run()
        if not self.over:
            # The loop is empty. Whatever keeps it alive is part of the behaviour.
            self.finish()
            pyuvnet.run()
        return self.trace


if __name__ == "__main__":
    warnings.simplefilter("always")
    work = json.load(sys.stdin)
    for number, script in enumerate(work["scripts"]):
        trace = Player(script, f"{work['folder']}/{number}/").play()
        with open(f"{work['folder']}/traces", "a") as out:
            print(json.dumps(trace), file=out)
