"""What a newcomer's likeliest mistakes look like: all that the terminal shows, and the exit code.

Frames of tracebacks are left out. Node's texts stay as they are; what to do stands below, in notes.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, list[str]]]

UNIX = pytest.mark.skipif(sys.platform == "win32", reason="is about unix sockets and users")
NOBODY = (
    "This is an 'error' event of a {} to which nobody listens: on('error', listener) would get it."
)
OF_SERVER, OF_SOCKET = NOBODY.format("Server"), NOBODY.format("Socket")
HEAD = """
    import os, socket as python_socket, sys, threading
    import pyuvnet
    from pyuvnet import net, run
    os.chdir(sys.argv[1])

    def serve(connected, **options):
        # A server, and a client that says hello.
        server = net.create_server(connected, **options)
        server.listen(0, "127.0.0.1", lambda: net.connect(server.address()).end("hello"))
"""
IN_ASYNCIO = (
    "pyuvnet is used inside a running asyncio loop which does not drive it, so nothing will "
    "happen: call pyuvnet.attach() in a coroutine first, or start the program by "
    "pyuvnet.run(main()) instead of asyncio.run(main())"
)
NO_RUN = (
    "RuntimeWarning: the program ends, and what it began here never happened: this thread did not "
    "call pyuvnet.run()"
)


@pytest.fixture
def mistaken(run_child: Any, tmp_path: Path) -> Run:
    """Runs a program: exit code, what it printed, and stderr without frames and places."""

    def start(program: str) -> tuple[int, str, list[str]]:
        child = run_child(dedent(HEAD) + dedent(program), str(tmp_path))
        lines = [line for line in child.err.splitlines() if not line.startswith((" ", "Traceback"))]
        # file:line: RuntimeWarning: text
        lines = [re.sub("^.*(?=RuntimeWarning: )", "", line) for line in lines]
        return child.code, child.out, lines

    return start


@pytest.mark.spec("D76")
def test_a_port_in_use(mistaken: Run) -> None:
    code, out, told = mistaken("""
        with python_socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            print(port)
            net.create_server().listen(port, "127.0.0.1")
            run()
    """)
    assert (code, told) == (
        1,
        [
            f"OSError: listen EADDRINUSE: address already in use 127.0.0.1:{out.strip()}",
            (
                "Another socket has this address: end its program, or take another port; 0 is a "
                "free one."
            ),
            OF_SERVER,
        ],
    )


@pytest.mark.spec("D76")
@pytest.mark.parametrize(
    "begin",
    [
        'net.create_server().listen(0, "127.0.0.1")',
        'net.create_connection(1, "127.0.0.1").write("hello")',
        "net.connect(1)",
        "pyuvnet.set_timeout(print, 5)",
        "pyuvnet.set_immediate(print)",
    ],
)
def test_run_is_forgotten(mistaken: Run, begin: str) -> None:
    assert mistaken(f"""
        {begin}
    """) == (0, "", [NO_RUN])


def test_run_in_another_thread(mistaken: Run) -> None:
    assert mistaken("""
        net.create_server().listen(0, "127.0.0.1")
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    """) == (0, "", [NO_RUN])


@pytest.mark.parametrize(
    "program",
    [
        "server.listen(0, '127.0.0.1'); pyuvnet.stop(); pyuvnet.set_immediate(pyuvnet.stop); run()",
        "server.listen(0, '127.0.0.1'); os._exit(0)",
        "net.Socket().destroy()",
        "pyuvnet.BoundSocket(port=0).close()",
        "server.listen(0, '127.0.0.1'); sys.ps1 = 'a prompt'",
    ],
)
def test_no_run_is_missing(mistaken: Run, program: str) -> None:
    assert mistaken(f"""
        server = net.create_server()
        {program}
    """) == (0, "", [])


def test_a_program_that_failed_before_run_tells_that_alone(mistaken: Run) -> None:
    assert mistaken("""
        net.create_server().listen(0, "127.0.0.1")
        raise ValueError("configuration")
    """) == (1, "", ["ValueError: configuration"])


def test_bytes_taken_for_text(mistaken: Run) -> None:
    assert mistaken("""
        serve(lambda socket: socket.on("data", lambda data: print("got " + data)))
        run()
    """) == (1, "", ['TypeError: can only concatenate str (not "bytes") to str'])


def test_what_is_no_data(mistaken: Run) -> None:
    assert mistaken("""
        serve(lambda socket: socket.write(5))
        run()
    """) == (
        1,
        "",
        [
            (
                'pyuvnet.errors.ArgTypeError: The "chunk" argument must be of type string or an '
                "instance of Buffer, TypedArray, or DataView. Received type number (5)"
            ),
            (
                "In Python's words: the data must be str, bytes or anything with the buffer "
                "protocol, not int."
            ),
        ],
    )


def test_an_encoding_that_node_does_not_have(mistaken: Run) -> None:
    assert mistaken("""
        serve(lambda socket: socket.set_encoding("cp1252"))
        run()
    """) == (
        1,
        "",
        [
            "pyuvnet.errors.ArgTypeError: Unknown encoding: cp1252",
            (
                "Node's encodings are utf8, utf16le, latin1, ascii, base64, base64url and hex; for "
                "others, encode() and decode() yourself."
            ),
        ],
    )


def test_a_listener_that_raises(mistaken: Run) -> None:
    assert mistaken("""
        serve(lambda socket: {}["nope"])
        run()
    """) == (1, "", ["KeyError: 'nope'"])


def test_a_listener_with_wrong_parameters(mistaken: Run) -> None:
    assert mistaken("""
        def connected():
            pass

        serve(connected)
        run()
    """) == (1, "", ["TypeError: connected() takes 0 positional arguments but 1 was given"])


def test_the_wrong_thread(mistaken: Run) -> None:
    code, out, told = mistaken("""
        server = net.create_server()
        thread = threading.Thread(target=server.listen, args=(0,), name="helper")
        thread.start()
        print(threading.get_ident(), thread.ident)
        thread.join()
        run()
    """)
    main, helper = out.split()
    assert (code, told) == (
        0,
        [
            "Exception in thread helper:",
            (
                "pyuvnet.errors.StateError: This object belongs to the loop of thread 'MainThread' "
                f"({main}) and was used in thread 'helper' ({helper}). There, keep loop = "
                "pyuvnet.current_loop(); here, call loop.call_soon_threadsafe(callback, *args)"
            ),
        ],
    )


@pytest.mark.parametrize(
    "use",
    [
        'net.create_server().listen(0, "127.0.0.1")',
        'net.connect(1, "127.0.0.1")',
    ],
)
def test_asyncio_without_attach(mistaken: Run, use: str) -> None:
    assert mistaken(f"""
        import asyncio
        pyuvnet.loop.auto_attach = False

        async def main():
            {use}
            await asyncio.sleep(0.01)

        asyncio.run(main())
    """) == (0, "", [f"RuntimeWarning: {IN_ASYNCIO}"])


def test_run_inside_a_coroutine(mistaken: Run) -> None:
    assert mistaken("""
        import asyncio

        async def main():
            net.create_server().listen(0, "127.0.0.1")
            run()

        asyncio.run(main())
    """) == (
        1,
        "",
        [
            "pyuvnet.errors.StateError: asyncio drives this loop: await instead of calling run()",
        ],
    )


def test_run_inside_a_coroutine_without_auto_attach(mistaken: Run) -> None:
    assert mistaken("""
        import asyncio
        pyuvnet.loop.auto_attach = False

        async def main():
            server = net.create_server()
            server.listen(0, "127.0.0.1", server.close)
            run()

        asyncio.run(main())
    """) == (
        0,
        "",
        [
            (
                "RuntimeWarning: pyuvnet.run() in a coroutine: asyncio does nothing until it "
                "returns; call pyuvnet.attach() instead, and await what you wait for"
            ),
        ],
    )


def test_after_a_run_inside_a_coroutine_the_next_mistake_is_told_of(mistaken: Run) -> None:
    _, out, told = mistaken("""
        import asyncio
        pyuvnet.loop.auto_attach = False

        async def main():
            server = net.create_server()
            server.listen(0, "127.0.0.1", server.close)
            run()
            await asyncio.sleep(0)
            net.create_server().listen(0, "127.0.0.1", print)
            await asyncio.sleep(0)

        asyncio.run(main())
    """)
    assert out == ""
    assert told[1:] == [f"RuntimeWarning: {IN_ASYNCIO}"]


def test_a_coroutine_as_listener_without_asyncio(mistaken: Run) -> None:
    assert mistaken("""
        async def connected(socket):
            pass

        serve(connected)
        run()
    """) == (
        1,
        "",
        [
            (
                "pyuvnet.errors.StateError: The listener of 'connection' is a coroutine function, "
                "and no asyncio loop runs in this thread: start the program by "
                "pyuvnet.run(main()) or asyncio.run(main())"
            ),
        ],
    )


def test_options_in_camel_case_are_options(mistaken: Run) -> None:
    assert mistaken("""
        server = net.createServer(allowHalfOpen=True, noDelay=True)
        print(server.allow_half_open)
    """) == (0, "True\n", [])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            "net.create_server(allow_halfopen=True)",
            "Server() got an unknown option 'allow_halfopen'. Did you mean 'allow_half_open'?",
        ),
        (
            "net.create_server(allowHalfOpn=True)",
            "Server() got an unknown option 'allowHalfOpn'. Did you mean 'allowHalfOpen'?",
        ),
        (
            "net.connect(port=80, timeout_ms=5)",
            "connect() got an unknown option 'timeout_ms'. Did you mean 'timeout'?",
        ),
    ],
)
def test_misspelt_options(mistaken: Run, call: str, told: str) -> None:
    assert mistaken(f"""
        {call}
    """) == (1, "", [f"pyuvnet.errors.ArgTypeError: {told}"])


def test_a_port_as_text_is_a_port(mistaken: Run) -> None:
    assert mistaken("""
        server = net.create_server()
        server.listen("0", "127.0.0.1", lambda: (print(server.address().port > 0), server.close()))
        run()
    """) == (0, "True\n", [])


@pytest.mark.parametrize(
    ("call", "received", "given"),
    [
        ('net.connect(70000, "127.0.0.1")', "type number (70000)", "70000"),
        ('net.connect(port="http")', "type string ('http')", "'http'"),
    ],
)
def test_what_is_no_port(mistaken: Run, call: str, received: str, given: str) -> None:
    assert mistaken(f"""
        {call}
    """) == (
        1,
        "",
        [
            f"pyuvnet.errors.RangeError: Port should be >= 0 and < 65536. Received {received}.",
            f"In Python's words: port must be an int from 0 to 65535, or its text, not {given}.",
        ],
    )


@pytest.mark.spec("D76")
@UNIX
@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ('"127.0.0.1", 8124', "8124, '127.0.0.1'"),
        ('"::1", 8124', "8124, '::1'"),
        ('"localhost"', "port, 'localhost'"),
        ('"localhost:8124"', "8124, 'localhost'"),
        ('"example.com:80"', "80, 'example.com'"),
    ],
)
def test_the_host_first(mistaken: Run, arguments: str, meant: str) -> None:
    first = eval(f"[{arguments}]")[0]
    assert mistaken(f"""
        net.create_server().listen({arguments}, pyuvnet.stop)
        net.connect({arguments}).on("error", print)
        run()
    """) == (
        0,
        "",
        [
            f"RuntimeWarning: {call}({first!r}, ...) means a unix socket of that name; for TCP the "
            f"port comes first: {call}({meant})"
            for call in ("listen", "connect")
        ],
    )


@UNIX
@pytest.mark.parametrize("path", ["server", "./127.0.0.1", "app.sock", "a:b", "8124.sock"])
def test_a_path_is_no_host(mistaken: Run, path: str) -> None:
    assert mistaken(f"""
        net.create_server().listen({path!r}, pyuvnet.stop)
        run()
    """) == (0, "", [])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            "connect",
            (
                'ArgTypeError: The "options.port" property must be one of type number or string. '
                "Received an instance of Array"
            ),
            "port must be int, float or str, not tuple",
        ),
        (
            "create_server().listen",
            (
                'ArgValueError: The argument \'options\' must have the property "port" or "path". '
                "Received [ '127.0.0.1', 8124 ]"
            ),
            "listen() needs a port, a path, or something with a descriptor",
        ),
    ],
)
def test_an_address_in_a_tuple(mistaken: Run, call: str, error: str, words: str) -> None:
    function = call.rpartition(".")[2]
    assert mistaken(f"""
        net.{call}(("127.0.0.1", 8124))
    """) == (
        1,
        "",
        [
            f"pyuvnet.errors.{error}",
            f"In Python's words: {words}.",
            f"An address is not a tuple here: {function}(8124, '127.0.0.1').",
        ],
    )


@UNIX
@pytest.mark.parametrize(
    ("call", "text", "whose"),
    [
        ("create_server().listen", "listen EINVAL: invalid argument", OF_SERVER),
        ("connect", "connect EINVAL", OF_SOCKET),
    ],
)
def test_a_path_that_is_too_long(mistaken: Run, call: str, text: str, whose: str) -> None:
    path = "/tmp/" + "x" * 120
    longest = 107 if sys.platform == "linux" else 103
    assert mistaken(f"""
        net.{call}({path!r})
        run()
    """) == (
        1,
        "",
        [
            f"OSError: {text} {path}",
            (
                f"The path of a unix socket has at most {longest} bytes here, and this one has "
                "125: take a shorter one, or one relative to the current folder."
            ),
            whose,
        ],
    )


@UNIX
def test_a_path_that_is_taken(mistaken: Run) -> None:
    assert mistaken("""
        with python_socket.socket(python_socket.AF_UNIX) as other:
            other.bind("left")
        net.create_server().listen("left")
        run()
    """) == (
        1,
        "",
        [
            "OSError: listen EADDRINUSE: address already in use left",
            (
                "Another server listens there, or one that was killed has left its file: remove "
                "that if nobody can connect to it."
            ),
            OF_SERVER,
        ],
    )


@UNIX
def test_a_folder_that_is_not_there(mistaken: Run) -> None:
    assert mistaken("""
        net.create_server().listen("/no/such/folder/sock")
        run()
    """) == (
        1,
        "",
        [
            "PermissionError: listen EACCES: permission denied /no/such/folder/sock",
            "There is no folder '/no/such/folder'.",
            OF_SERVER,
        ],
    )


def _ports_of_root() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except FileNotFoundError:
        return 1024


LESS_THAN_ROOT = """
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
"""


# Printed by the program: a user who may not read the interpreter's folder gets no whole traceback.
SHOW = """
        try:
            run()
        except PermissionError as error:
            print(error, *error.__notes__, sep="\\n")
"""


@UNIX
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root, to be less")
@pytest.mark.skipif(_ports_of_root() <= 80, reason="here anybody may listen on port 80")
def test_no_permission_for_a_port(mistaken: Run) -> None:
    code, out, told = mistaken(f"""{LESS_THAN_ROOT}
        net.create_server().listen(80, "127.0.0.1")
        {SHOW}""")
    assert (code, told) == (0, [])
    assert out.splitlines() == [
        "listen EACCES: permission denied 127.0.0.1:80",
        "Ports below 1024 are for the administrator: take a higher one, 8080 say.",
        OF_SERVER,
    ]


@UNIX
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root, to be less")
def test_no_permission_for_a_folder(mistaken: Run) -> None:
    code, out, told = mistaken(f"""
        os.mkdir("mine", 0o755)
        os.chmod(".", 0o755){LESS_THAN_ROOT}
        net.create_server().listen("mine/sock")
        {SHOW}""")
    assert (code, told) == (0, [])
    assert out.splitlines() == [
        "listen EACCES: permission denied mine/sock",
        "This user may not make a file in the folder 'mine'.",
        OF_SERVER,
    ]


def test_nobody_listens_there(mistaken: Run) -> None:
    assert mistaken("""
        net.connect(1, "127.0.0.1")
        run()
    """) == (
        1,
        "",
        ["ConnectionRefusedError: connect ECONNREFUSED 127.0.0.1:1", OF_SOCKET],
    )


@pytest.mark.spec("D76")
def test_all_addresses_of_a_name_fail(mistaken: Run) -> None:
    """Who prints the error sees what failed, though Node's message is empty."""
    assert mistaken("""
        def lookup(host, options, done):
            addresses = [("127.0.0.1", 4), ("127.0.0.2", 4)]
            done(None, [{"address": address, "family": family} for address, family in addresses])

        net.connect(port=1, host="somewhere", lookup=lookup).on("error", print)
        run()
    """) == (0, "connect ECONNREFUSED 127.0.0.1:1; connect ECONNREFUSED 127.0.0.2:1\n", [])
