"""The exception classes: what catches them, what they carry, that they survive copies."""

import _socket
import copy
import errno
import pickle
import subprocess
import sys
import traceback
import warnings

import pytest

import pyuvnet
from pyuvnet import errors
from pyuvnet._core.errors import make_os_error
from tests.support.cases import cases

CLASSES = [
    # class, built-in classes that catch it, Node's name
    (errors.Error, (Exception,), "Error"),
    (errors.ArgTypeError, (TypeError,), "TypeError"),
    (errors.ArgValueError, (ValueError, TypeError), "TypeError"),
    (errors.RangeError, (ValueError,), "RangeError"),
    (errors.AddressError, (ValueError,), "Error"),
    (errors.StateError, (RuntimeError,), "Error"),
    (errors.ConnectTimeoutError, (TimeoutError, OSError), "Error"),
]

SAMPLES = [
    *[cls("some text", "ERR_SOME") for cls, _, _ in CLASSES],
    errors.AbortError(),
    errors.AbortError("stopped", ValueError("reason")),
    errors.AbortError(cause="a text as reason"),
    errors.AbortTimeoutError(),
    errors.AbortTimeoutError("too slow"),
    errors.AggregateError([OSError(1, "first"), errors.StateError("second", "ERR_SECOND")]),
    errors.ResolveError(_socket.EAI_NONAME, "getaddrinfo ENOTFOUND h", "ENOTFOUND", "h"),
]


def state(error):
    """What must be equal after a copy; exceptions themselves compare by identity."""
    attributes = {key: repr(value) for key, value in vars(error).items()}
    return type(error), str(error), repr(error), repr(error.__cause__), error.args, attributes


@cases(("cls", "caught_by", "name"), CLASSES)
def test_classes_are_caught_as_their_builtins_and_carry_code_message_and_name(cls, caught_by, name):
    error = cls("some text", "ERR_SOME")
    assert isinstance(error, errors.Error)
    for builtin in caught_by:
        assert isinstance(error, builtin)
    assert error.code == "ERR_SOME"
    assert error.message == str(error) == "some text"
    assert error.name == name
    assert repr(error) == f"{cls.__name__}('some text', code='ERR_SOME')"


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.EADDRINUSE, errno.EPIPE])
def test_an_error_of_the_system_is_one_and_of_pythons_class(number):
    error = make_os_error(-number, "connect", "127.0.0.1", 80)
    assert isinstance(error, errors.SystemCallError)
    assert isinstance(error, type(OSError(number, "")))
    assert type(error).__name__ == type(OSError(number, "")).__name__
    assert (error.syscall, error.address, error.port) == ("connect", "127.0.0.1", 80)
    assert (error.dest, error.hostname, error.local_address, error.localPort) == (None,) * 4
    assert isinstance(pickle.loads(pickle.dumps(error)), errors.SystemCallError)
    with pytest.raises(pyuvnet.SystemCallError):
        raise error


def test_a_lookup_error_is_one_too():
    assert issubclass(errors.ResolveError, errors.SystemCallError)
    assert issubclass(errors.ResolveError, _socket.gaierror)


@cases("error", SAMPLES)
def test_a_listener_may_look_at_what_most_errors_have(error):
    """An 'error' listener need not ask first whether the system reported it."""
    for name in ("code", "syscall", "address", "port", "errno", "message"):
        getattr(error, name)


@cases(("cls", "caught_by", "name"), CLASSES)
def test_classes_need_no_arguments(cls, caught_by, name):
    error = cls()
    assert (error.message, str(error), error.code) == ("", "", None)
    assert repr(error) == f"{cls.__name__}('')"


def test_arg_value_error_is_no_other_error_of_ours():
    assert not isinstance(errors.ArgValueError(), (errors.ArgTypeError, errors.RangeError))


def test_connect_timeout_error_takes_its_message_for_no_errno():
    error = errors.ConnectTimeoutError("too slow", "ERR_SOCKET_CONNECTION_TIMEOUT")
    assert error.errno is None
    assert error.args == ("too slow",)


@cases("error", SAMPLES)
@cases("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_everything(error, protocol):
    assert state(pickle.loads(pickle.dumps(error, protocol))) == state(error)


@cases("error", SAMPLES)
@cases("copied", [copy.copy, copy.deepcopy])
def test_copying_keeps_everything(error, copied):
    assert state(copied(error)) == state(error)


def test_abort_error_defaults():
    error = errors.AbortError()
    assert error.message == "The operation was aborted"
    assert (error.code, error.name) == ("ABORT_ERR", "AbortError")
    assert error.cause is None
    assert error.__cause__ is None


def test_abort_error_chains_an_exception_given_as_cause():
    reason = ValueError("reason")
    error = errors.AbortError(cause=reason)
    assert error.cause is reason
    assert error.__cause__ is reason


def test_abort_error_keeps_a_cause_that_is_no_exception():
    error = errors.AbortError(cause="a text")
    assert error.cause == "a text"
    assert error.__cause__ is None


def test_abort_timeout_error_has_the_name_and_text_of_node_and_is_a_timeout_error():
    error = errors.AbortTimeoutError()
    assert isinstance(error, TimeoutError)
    assert isinstance(error, errors.Error)
    assert not isinstance(error, errors.AbortError)
    assert error.message == str(error) == "The operation was aborted due to timeout"
    assert (error.code, error.name) == ("TIMEOUT_ERR", "TimeoutError")


def test_aggregate_error_takes_the_code_of_the_first_error():
    first, second = errors.StateError("a", "ERR_A"), errors.StateError("b", "ERR_B")
    error = errors.AggregateError(iter([first, second]))
    assert error.errors == [first, second]
    assert error.exceptions == (first, second)
    assert (error.code, error.message, error.name) == ("ERR_A", "", "AggregateError")
    assert repr(error) == f"AggregateError([{first!r}, {second!r}])"
    assert (error.errno, error.syscall, error.address, error.port) == (None,) * 4


def test_aggregate_error_has_no_code_if_the_first_error_has_none():
    assert errors.AggregateError([ValueError()]).code is None
    assert errors.AggregateError().code is None


@pytest.mark.spec("N170")
def test_aggregate_error_is_no_exception_group_but_makes_one():
    first, second = OSError(1, "a"), errors.StateError("b", "ERR_B")
    error = errors.AggregateError([first, second])
    assert not isinstance(error, BaseExceptionGroup)
    group = error.as_group()
    assert type(group) is ExceptionGroup
    assert group.exceptions == (first, second)


def test_aggregate_error_without_errors_makes_no_group():
    with pytest.raises(ValueError, match="non-empty"):
        errors.AggregateError().as_group()


def test_an_aggregate_error_that_is_printed_tells_all_its_errors():
    error = errors.AggregateError([errors.StateError("one went wrong"), ValueError("two")])
    assert str(error) == "one went wrong; two"
    text = "".join(traceback.format_exception(error))
    assert text == "pyuvnet.errors.AggregateError: one went wrong; two\n"
    assert str(errors.AggregateError()) == ""


def test_resolve_error_is_a_gaierror_with_the_text_of_node():
    text = "getaddrinfo ENOTFOUND nowhere.invalid"
    error = errors.ResolveError(_socket.EAI_NONAME, text, "ENOTFOUND", "nowhere.invalid")
    assert isinstance(error, _socket.gaierror)
    assert isinstance(error, OSError)
    assert (error.errno, error.strerror) == (_socket.EAI_NONAME, text)
    assert error.message == str(error) == text
    assert (error.code, error.name) == ("ENOTFOUND", "Error")
    assert (error.hostname, error.syscall) == ("nowhere.invalid", "getaddrinfo")
    assert (error.address, error.port, error.dest, error.filename) == (None, None, None, None)
    assert repr(error) == f"ResolveError({_socket.EAI_NONAME}, '{text}', code='ENOTFOUND')"


@pytest.mark.spec("R7-01")
@pytest.mark.parametrize(
    "category",
    [
        errors.MaxListenersExceededWarning,
        errors.TimeoutOverflowWarning,
        errors.KeepAliveWarning,
    ],
)
def test_warnings_are_categories_shown_by_default(category):
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        warnings.warn("text", category, stacklevel=1)
    assert [each.category for each in caught] == [category]
    assert issubclass(category, RuntimeWarning)


def test_all_lists_every_public_class():
    public = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert public == set(errors.__all__)


def test_importing_the_errors_alone_does_not_load_slow_modules():
    # The base layer by itself, since the package imports more.
    program = (
        "import sys; before = set(sys.modules); "
        f"sys.path.insert(0, {errors.__file__.rpartition('errors.py')[0]!r}); import _base.errors; "
        "print(*sorted(set(sys.modules) - before))"
    )
    output = subprocess.check_output([sys.executable, "-S", "-c", program], text=True)
    compiled = {"_collections", "_functools", "_socket"}
    assert set(output.split()) <= {"__future__", "_base", "_base.errors", *compiled}


@pytest.mark.parametrize("code", ["EADDRINUSE", "EACCES"])
def test_port_0_is_no_path(code):
    error = make_os_error(-getattr(errno, code), "listen", "127.0.0.1", 0)
    notes = getattr(error, "__notes__", [])
    assert notes == (["All ephemeral ports are in use."] * (code == "EADDRINUSE"))


def test_what_a_read_cannot_land_in_is_not_proposed_for_it():
    from pyuvnet import net

    with pytest.raises(TypeError) as caught:
        net.Socket(onread={"buffer": b"xxx", "callback": print})
    wanted = "a callable or a writable buffer such as bytearray"
    assert caught.value.__notes__ == [
        f"In Python's words: onread['buffer'] must be {wanted}, not bytes."
    ]
