"""What the engine takes from Python's ssl; the layer of test_tls.py does the rest."""

from __future__ import annotations

import _ssl
import contextlib
import os
import ssl
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import tls
from pyuvnet._core import engine
from tests.support.tls import ready_server


@pytest.mark.parametrize("name", ["Window", "Engine"])
def test_nobody_makes_one_by_hand(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(engine, name)()


def test_the_inner_object_has_what_is_called() -> None:
    """See docs/maintainers/sharp-edges.md: `_sslobj` saves a Python call for each record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    inner = made._sslobj
    for method in ("read", "write", "do_handshake", "shutdown"):
        assert callable(getattr(inner, method))


def test_a_read_fills_a_buffer_that_is_smaller_than_its_count() -> None:
    def pair() -> tuple[ssl.SSLObject, ssl.SSLObject]:
        from tests.core.test_tls import bare

        (left, into_left, from_left) = bare(True, ssl.TLSVersion.TLSv1_3)
        (right, into_right, from_right) = bare(False, ssl.TLSVersion.TLSv1_3)
        for _ in range(4):
            for side, into, source in (
                (right, into_right, from_left),
                (left, into_left, from_right),
            ):
                into.write(source.read())
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        right.write(b"0123456789")
        into_left.write(from_right.read())
        return left, right

    left, _ = pair()
    buffer = bytearray(4)
    assert left._sslobj.read(1 << 30, memoryview(buffer)) == 4
    assert buffer == b"0123"


# Which engine


LAYOUT = (
    sys.version_info[:2] in ((3, 11), (3, 12), (3, 13))
    and sys.platform == "linux"
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
    and hasattr(_ssl, "__file__")
)
ROOT = Path(__file__).parents[2]
SWAPPED = "_wrap_bio = lambda self, i, o, **k: super(C, self)._wrap_bio(o, i, **k)"
WORDS = "import ctypes, ssl; from pyuvnet._core import engine; "


def child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("import _ssl; del _ssl.__file__", "Python's ssl is a part of the interpreter"),
        ("import _ssl; _ssl.__file__ = '/missing'", "Python's ssl cannot be looked into"),
        (
            "import _ssl, math; _ssl.__file__ = math.__file__",
            "Python's ssl hides SSL_read_ex()",
        ),
        (
            "import _ssl; _ssl.OPENSSL_VERSION_NUMBER += 1 << 28",
            "Python's ssl runs on another version of OpenSSL",
        ),
        (
            f"import _ssl\nclass C(_ssl._SSLContext):\n  {SWAPPED}\n_ssl._SSLContext = C",
            "Python's ssl keeps its pointers elsewhere",
        ),
        ("import sys; sys.version_info = (3, 99)", "it was not tried with this version of Python"),
    ],
)
@pytest.mark.skipif(not LAYOUT, reason="another engine, for another reason")
def test_any_doubt_means_pythons_methods(before: str, reason: str) -> None:
    done = child(f"{WORDS}\n{before}\nprint(*engine.chosen())", PYUVNET_TLS_ENGINE="")
    assert (done.stdout.strip(), done.stderr) == (f"python {reason}", "")


@pytest.mark.parametrize(
    ("wanted", "printed", "raised"),
    [
        ("python", "python PYUVNET_TLS_ENGINE is 'python'", ""),
        ("libssl", "libssl " if LAYOUT else "", "" if LAYOUT else "which cannot be called"),
        ("openssl", "", "must be 'python' or 'libssl'. Received 'openssl'"),
    ],
)
def test_the_environment_forces_one(wanted: str, printed: str, raised: str) -> None:
    code = "from pyuvnet import tls; print(tls.engine.name, tls.engine.reason)"
    done = child(code, PYUVNET_TLS_ENGINE=wanted)
    assert done.stdout == (f"{printed}\n" if printed else "")
    assert raised in done.stderr
    assert ("ERR_FEATURE" in done.stderr) is False


@pytest.mark.skipif(not LAYOUT, reason="another engine, for another reason")
def test_it_is_libssl_here() -> None:
    assert os.environ.get("PYUVNET_TLS_ENGINE") or tls.engine == {"name": "libssl", "reason": ""}


class _Traced:
    """What a program may put in place of `_sslobj`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "server_hostname":
            raise AttributeError(name)
        return getattr(self._inner, name)


class _Wrapping(ssl.SSLObject):
    @classmethod
    def _create(cls, *args: Any, **keywords: Any) -> Any:
        made = super()._create(*args, **keywords)  # type: ignore[misc]
        made._sslobj = _Traced(made._sslobj)
        return made


@pytest.mark.parametrize("kind", ["wrapped", "messages", "plain"])
@pytest.mark.skipif(not LAYOUT, reason="another engine, for another reason")
def test_an_object_of_the_program_is_served_by_pythons_methods(kind: str) -> None:
    context = ready_server(ssl.CERT_NONE)
    if kind == "wrapped":
        context.sslobject_class = _Wrapping
    if kind == "messages":
        context._msg_callback = lambda *arguments: None
    seen: list[Any] = []

    def secured(socket: tls.TLSSocket) -> None:
        seen.append(socket._layer.engine_name)
        socket.pipe(socket)

    server = tls.create_server({"context": context}, secured).listen(0)
    client = tls.connect(server.address().port, "127.0.0.1", reject_unauthorized=False)
    client.on("data", seen.append).on("close", lambda had_error: server.close())
    client.end(b"x" * 70000)
    pyuvnet.run()
    ours = os.environ.get("PYUVNET_TLS_ENGINE") or "libssl"
    assert seen[0] == (ours if kind == "plain" else "python")
    assert b"".join(seen[1:]) == b"x" * 70000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_both_pass_the_same_tests() -> None:
    other = "python" if tls.engine.name == "libssl" else "libssl"
    if other == "libssl":
        pytest.skip(tls.engine.reason)
    files = ["core/test_tls.py", "test_tls.py", "test_tls_sockets.py", "test_tls_writes.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *(str(ROOT / "tests" / name) for name in files)],
        env={**os.environ, "PYUVNET_TLS_ENGINE": other},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
