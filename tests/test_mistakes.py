"""What a newcomer's likeliest mistakes look like: all that the terminal shows, and the exit code.

Frames of tracebacks are left out. Node's texts stay as they are; what to do stands below, in notes.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net

Run = Callable[..., tuple[int, str, list[str]]]

UNIX = pytest.mark.skipif(sys.platform == "win32", reason="is about unix sockets and users")
NOBODY = (
    "This {} emitted 'error' and has no listener for it. Register one with on('error', listener)."
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
    "happen: call pyuvnet.attach() in a coroutine first, or start the program with "
    "pyuvnet.run(main()) instead of asyncio.run(main())"
)
NO_RUN = "RuntimeWarning: the program exited without calling pyuvnet.run(), so this never ran"


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
                "Another socket is using this address. Stop its program or choose another port; "
                "port 0 picks a free one."
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
                "Supported encodings are utf8, utf16le, latin1, ascii, base64, base64url and hex; "
                "for others, call encode() and decode() yourself."
            ),
        ],
    )


def test_a_listener_that_raises(mistaken: Run) -> None:
    assert mistaken("""
        serve(lambda socket: {}["nope"])
        run()
    """) == (1, "", ["KeyError: 'nope'"])


@pytest.mark.parametrize(
    ("debug", "place"),
    [(False, "defined at <string>:12"), (True, "registered at <string>:9")],
)
def test_a_listener_with_wrong_parameters(mistaken: Run, debug: bool, place: str) -> None:
    code, out, told = mistaken(f"""
        def connected():
            pass

        pyuvnet.current_loop().debug = {debug}
        serve(connected)
        run()
    """)
    # In debug mode, below it is what was still open.
    assert (code, out, told[:2]) == (
        1,
        "",
        [
            "TypeError: connected() takes 0 positional arguments but 1 was given",
            (
                "The event 'connection' passes 1 argument (Socket), and its listener connected(), "
                f"{place}, does not take that."
            ),
        ],
    )


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
                f"({main}) and was used in thread 'helper' ({helper}). Save loop = "
                "pyuvnet.current_loop() in its own thread, and call "
                "loop.call_soon_threadsafe(callback, *args) from others"
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
                "RuntimeWarning: pyuvnet.run() was called in a coroutine and blocks asyncio until "
                "it returns; call pyuvnet.attach() instead, and await what you wait for"
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
                "pyuvnet.errors.StateError: The listener for 'connection' is a coroutine function, "
                "but no asyncio loop is running in this thread; start the program with "
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
        (
            "net.create_server(userTimeout=5)",
            (
                "Server() got an unknown option 'userTimeout', which is an option of connect() and "
                "listen(). Did you mean 'idleTimeout'?"
            ),
        ),
        (
            "net.create_server(timeout=5)",
            (
                "Server() got an unknown option 'timeout', which is an option of "
                "create_connection(). Did you mean 'idle_timeout'?"
            ),
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
            (
                "In Python's words: port must be an int from 0 to 65535, or a numeric string, not "
                f"{given}."
            ),
        ],
    )


@pytest.mark.spec("D76")
@UNIX
@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ('"127.0.0.1"', "port, '127.0.0.1'"),
        ('"::1"', "port, '::1'"),
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
            f"RuntimeWarning: {call}({first!r}, ...) refers to a unix socket of that name; for TCP "
            f"the port comes first: {call}({meant})"
            for call in ("listen", "connect")
        ],
    )


BOTH = "ERR_INVALID_ARG_VALUE", "cannot be used with a port"
PORT_FIRST = "The port comes first"
LATER = "ERR_INVALID_ARG_TYPE", "gets its address later"
# Calls that another library or another order suggests, with the code and a part of the text.
OTHER_ORDERS = [
    *(
        (f"net.{call}({where}, 8124)", *BOTH, f"{PORT_FIRST}: {call}(8124, {where})")
        for call in ("connect", "Socket().connect", "Server().listen")
        for where in ("'127.0.0.1'", "'localhost'", "'example.com'", "'name'")
    ),
    ("net.connect('127.0.0.1', '8124')", *BOTH, PORT_FIRST),
    ("net.connect('name', port=8124)", *BOTH, PORT_FIRST),
    ("net.connect('/tmp/s', 8124)", *BOTH, ""),
    ("net.connect(8124, path='/tmp/s')", *BOTH, ""),
    ("net.connect(path='/tmp/s', port=8124)", *BOTH, ""),
    ("net.connect(print, '127.0.0.1', 8124)", "ERR_INVALID_ARG_TYPE", "", PORT_FIRST),
    ("tls.connect('name', 443)", *BOTH, PORT_FIRST),
    ("tls.connect('name', {'port': 443})", *BOTH, PORT_FIRST),
    ("net.Server().listen('name', 8124, print)", *BOTH, PORT_FIRST),
    ("net.Server().listen('name', port=8124)", *BOTH, PORT_FIRST),
    ("net.Server().listen(0, path='/tmp/s')", *BOTH, ""),
    ("net.Server().listen(port=0, path='/tmp/s')", *BOTH, ""),
    ("net.Server().listen(print, '127.0.0.1', 0)", "ERR_INVALID_ARG_VALUE", "", PORT_FIRST),
    ("net.promises.connect('name', 8124)", *BOTH, PORT_FIRST),
    ("net.promises.listen('127.0.0.1', 8124)", *BOTH, PORT_FIRST),
    ("tls.promises.connect('name', 8124)", *BOTH, PORT_FIRST),
    ("tls.promises.listen('127.0.0.1', 8124)", *BOTH, PORT_FIRST),
    *(
        (f"{module}.promises.listen({where})", "ERR_INVALID_ARG_TYPE", "", "connection_listener=")
        for module in ("net", "tls")
        for where in ("print", "print, 0", "print, port=0", "0, '127.0.0.1', print")
    ),
    *(
        (f"{module}.create_server({where})", *LATER, "")
        for module in ("net", "tls")
        for where in ("8124", "'127.0.0.1', 8124", "print, 8124", "('127.0.0.1', 8124)")
    ),
    ("net.Socket('127.0.0.1')", *LATER, ""),
]


@pytest.mark.spec("D310")
@pytest.mark.parametrize(("call", "code", "text", "note"), OTHER_ORDERS)
def test_arguments_in_another_order_raise_at_once(
    call: str, code: str, text: str, note: str
) -> None:
    def make() -> None:
        made = eval(call.replace("tls.", "pyuvnet.tls."))
        if inspect.iscoroutine(made):
            pyuvnet.run(made)

    with pytest.raises(pyuvnet.Error) as caught:
        make()
    assert caught.value.code == code
    shown = "\n".join([str(caught.value), *caught.value.__notes__])
    assert text in shown
    assert note.replace("Socket().", "").replace("Server().", "") in shown


@UNIX
def test_a_path_with_a_backlog_is_nodes(tmp_path: Path) -> None:
    for number, path in enumerate((str(tmp_path / "a"), bytes(tmp_path / "b"), tmp_path / "c"), 1):
        server = net.Server().listen(path, number)
        assert server.address() == path
        server.close()
    pyuvnet.run()


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
            f"Pass the address as two arguments, not as a tuple: {function}(8124, '127.0.0.1').",
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
                f"The path of a unix socket can have at most {longest} bytes on this system, and "
                "this one has 125. Use a shorter path, or one relative to the current folder."
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
                "Another server is listening there, or one that was killed left its file behind; "
                "listen(path=..., unlink_stale=True) replaces such a file."
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
            "The folder '/no/such/folder' does not exist.",
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
        "Ports below 1024 require elevated privileges; use a port such as 8080.",
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
        "This user may not create files in the folder 'mine'.",
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


@pytest.mark.parametrize(
    ("program", "note"),
    [
        (
            "net.create_server(8124)",
            "A server gets its address later: server.listen(port, host).",
        ),
        (
            "net.create_server().listen(print, 8124)",
            (
                "The port comes first. What listens for connections is passed to create_server(), "
                "or to promises.listen() as connection_listener."
            ),
        ),
        (
            "net.create_server(key='x')",
            "TLS has functions of its own: tls.create_server() and tls.connect().",
        ),
        (
            "net.connect(1, ssl=True)",
            "TLS has functions of its own: tls.create_server() and tls.connect().",
        ),
        ("pyuvnet.tls.connect(1, ssl=None)", "Pass an ssl.SSLContext as secure_context."),
        (
            "pyuvnet.tls.connect(1, verify=False)",
            (
                "reject_unauthorized=False accepts any certificate, and check_server_identity "
                "replaces the check of the name; better trust the certificate with ca=."
            ),
        ),
        (
            "pyuvnet.streams.compose()",
            "Pass the streams to pipeline(), or pipe() each into the next.",
        ),
        (
            "from pyuvnet.streams import duplexPair",
            "pyuvnet.testing.pair() makes two connected sockets.",
        ),
        (
            "@net.Socket().on\n        def data(chunk): pass",
            "The event is missing: write on('event', listener), or @emitter.on('event').",
        ),
        (
            "pyuvnet.cluster.scheduling_policy = 'rr'",
            "It is cluster.SCHED_RR, SCHED_NONE or SCHED_REUSE_PORT.",
        ),
    ],
)
def test_what_to_do_instead(mistaken: Run, program: str, note: str) -> None:
    code, out, told = mistaken(f"""
        import pyuvnet.cluster
        import pyuvnet.streams
        import pyuvnet.tls
        {program}
    """)
    assert (code, out) == (1, "")
    assert told[-1] == note


def test_a_coroutine_function_that_is_not_called(mistaken: Run) -> None:
    code, _, told = mistaken("""
        async def main():
            pass

        run(main)
    """)
    assert code == 1
    assert told[0].startswith("ValueError: a coroutine was expected, got <function main")
    assert told[1:] == ["Call it: run(main())."]


def test_a_read_that_is_not_awaited(mistaken: Run) -> None:
    assert mistaken("""
        async def main():
            line = net.Socket().read_line()
            print(line)
            line.decode()

        run(main())
    """) == (
        1,
        "<read_line(), to be awaited>\n",
        [
            (
                "AttributeError: 'ByteRead' object has no attribute 'decode'; "
                "await it for the bytes: await read_line()"
            ),
        ],
    )


@UNIX
@pytest.mark.parametrize(
    ("url", "meant"),
    [("http://127.0.0.1:8124/x", "8124, '127.0.0.1'"), ("http://localhost", "port, 'localhost'")],
)
def test_a_url_is_no_address(mistaken: Run, url: str, meant: str) -> None:
    code, _, told = mistaken(f"""
        net.connect({url!r})
        run()
    """)
    assert code == 1
    assert told == [
        (
            f"RuntimeWarning: connect({url!r}, ...) refers to a unix socket of that name; for TCP "
            f"the port comes first: connect({meant})"
        ),
        f"FileNotFoundError: connect ENOENT {url}",
        OF_SOCKET,
    ]


@pytest.mark.parametrize(
    ("host", "note"),
    [
        ("http://127.0.0.1/", "Pass the host alone, without the scheme and path of a URL."),
        ("127.0.0.1:80", "Pass the port as an argument of its own, not as a part of the host."),
    ],
)
def test_more_than_a_host(mistaken: Run, host: str, note: str) -> None:
    code, _, told = mistaken(f"""
        net.connect(80, {host!r})
        run()
    """)
    assert code == 1
    assert told[1:] == [note, OF_SOCKET]


@UNIX
def test_a_path_that_is_no_socket(mistaken: Run) -> None:
    code, _, told = mistaken("""
        os.mkdir("place")
        net.create_server().listen("place")
        run()
    """)
    assert code == 1
    assert told[1] == "There is a folder of that name, which is not a socket. Choose another path."


def test_an_address_of_another_machine(mistaken: Run) -> None:
    code, _, told = mistaken("""
        net.create_server().listen(0, "203.0.113.9")
        run()
    """)
    assert code == 1
    assert told[1] == (
        "This machine has no such address. Listen on one of its own, such as '127.0.0.1', or leave "
        "the host out to listen on all of them."
    )


@UNIX
def test_too_many_open_files(mistaken: Run) -> None:
    code, _, told = mistaken("""
        import resource

        limits = resource.getrlimit(resource.RLIMIT_NOFILE)

        def full():
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            net.connect(server.address().port, "127.0.0.1")

        server = net.create_server()
        server.listen(0, "127.0.0.1", full)
        try:
            run()
        finally:
            # CPython 3.13 opens files to print notes.
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    """)
    assert code == 1
    assert told[1:] == [
        (
            "This process has as many open files as it may have. Close sockets that are no longer "
            "needed, or raise the limit (`ulimit -n`)."
        ),
        OF_SOCKET,
    ]


def test_a_worker_that_forks(mistaken: Run) -> None:
    _, _, told = mistaken("""
        from pyuvnet import cluster

        cluster.fork()
        run()
    """)
    assert told == [
        "pyuvnet.errors.StateError: fork() can only be called in the primary",
        (
            "Workers run the same program as the primary: put what only the primary does below "
            "`if cluster.is_primary:`."
        ),
    ]
