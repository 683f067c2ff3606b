"""Calls that go up: every Python function and method of this package that the core may call.

Owns: the table of these functions.  Imports: libuv's declarations.  A layer imports only layers
before it, and the core imports nothing of the facade; what has to be called there goes through this
table, which pyuvnet/_aio/upcalls.py fills once while the package is imported.  The C functions that
an earlier layer calls in a later one are the fields of `later`, in upcalls.pxd.
"""

# Name: when the core calls the function, with which arguments, and what it makes of the result.
FUNCTIONS = {
    "loop_undriven":
        "(loop, theirs): an operation begins in a loop that does not run; theirs is the asyncio "
        "loop that runs and does not drive it; None, once: none runs, so that it is not driven.",
    "run_listener":
        "(awaitable, emitter, event, arguments, captured): a listener returned an awaitable; "
        "runs it as a task.",
    "enter_stream":
        "(stream): `async with stream` begins; returns the awaitable of __aenter__.",
    "exit_stream":
        "(stream, error): `async with stream` ends; returns the awaitable of __aexit__.",
    "iterate_stream":
        "(stream, destroy_on_return): `async for` or iterator(); returns the async iterator.",
    "stream_from_iterable":
        "(iterable, **options): Readable.from_iterable(); returns the Readable.",
    "standard_stream":
        "(dest): pipe() or unpipe(); returns the Writable for sys.stdout or sys.stderr, "
        "None for any other destination.",
    "wait_for_drain":
        "(stream): drained(); returns its awaitable.",
    "handles_arrived":
        "(socket, descriptors, data): descriptors have come with data; takes the first over, or "
        "all, out of the list, and returns False if the data are still to be read.",
    "slow_log":
        "(): a callback was slow and is to be logged, for the first time; returns what has "
        "slow(name, seconds).",
}
assert len(FUNCTIONS) == UPCALLS

# The methods written in Python that the core calls on objects of its own classes, other than those
# that a program overrides (docs/maintainers/streams-rules.md): class and name, and when. Those of
# Calls are functions that TLSSocket gives to the layer.
METHODS = {
    "Driver.gone":
        "(): run() on a driven loop; returns True if the other loop needs the driver no more.",
    "Driver.ended":
        "(): the loop is used, and the other loop turns out to be closed; stops, and closes the "
        "loop if anything is left in it.",
    "Driver.stop":
        "(): the loop closes, or the other loop needs the driver no more; calls set_driver(None).",
    "Connector.resolved":
        "(error, addresses): the lookup is over; addresses are (address, family), 4 or 6.",
    "Connector.connected":
        "(status): the attempt under way is over; a libuv status, UV_ECANCELED from destroy().",
    "Connector.stop": "(): the socket is being destroyed; ends timers and tasks.",
    "Calls.hello":
        "(socket, servername, protocols): the client's first message is there; starts the layer, "
        "now or later. servername is a str or None; protocols is a list, None if the message is "
        "invalid.",
    "Calls.secured":
        "(socket): the handshake is over; what was written before leaves after it.",
    "Calls.failed":
        "(socket, error, secure): the layer has failed, after the handshake or not; destroys the "
        "socket. error is what the engine raised, an OSError, a TimeoutError for a handshake that "
        "takes too long, or None for a connection that ended without close_notify.",
    "Calls.ticket": "(socket): there may be a new session.",
    "Calls.write_failed":
        "(socket, error): the engine has refused a write; returns the exception for it.",
    "VirtualTime.wait":
        "(): in virtual time, after each turn of run(); moves the clock if nothing is ready, or "
        "raises.",
    "Server._dress": "(handle): a TLS server has accepted a connection; adds TLS to its handle.",
    "Server._secure": "(socket, layer): the connection has its socket; begins the handshake.",
}

cdef list _functions = [None] * UPCALLS


def provide(**functions):
    """Set functions of the table.

    Args:
        functions: callables, each under its name in FUNCTIONS.

    Raises: TypeError for a name that is not in FUNCTIONS, or a value that is not callable; then
        nothing is set.
    """
    names = list(FUNCTIONS)
    unknown = sorted(functions.keys() - FUNCTIONS.keys())
    if unknown:
        raise TypeError(f"provide() got unknown names: {', '.join(unknown)}")
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"provide() got {function!r} for {name}, which is not callable")
    for name, function in functions.items():
        _functions[names.index(name)] = function


def missing():
    """Return the names of FUNCTIONS that nothing has provided, a list."""
    return [name for name, function in zip(FUNCTIONS, _functions) if function is None]


cdef object upcall(Upcall which):
    """The function to call; RuntimeError if the facade has not provided it."""
    function = _functions[<int>which]
    if function is None:
        raise RuntimeError(
            "The compiled core was loaded without pyuvnet's Python modules, which have to provide "
            + ", ".join(missing()))
    return function
