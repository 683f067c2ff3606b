"""AbortController and AbortSignal: telling an operation that its result is not wanted any more.

Node: AbortController, AbortSignal
"""

from __future__ import annotations

from _weakref import ref

from ._base import TYPE_CHECKING
from ._base import validation as check
from ._core.emitter import EventEmitter
from ._core.names import add_node_names
from ._core.timer import set_timeout
from .errors import AbortError, AbortTimeoutError, ArgTypeError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_KEY = object()
_MADE = ("_aborted", "_reason", "_dependents", "_wanted", "_sources")


def _missing(thing: object, name: str, made: tuple[str, ...]) -> Any:
    """Raise for an attribute that is not there: what __init__ makes, or an ordinary one."""
    kind = type(thing).__name__
    if name in made:
        raise StateError(
            f"{kind}.__init__() was not called; call super().__init__()", "ERR_NOT_CONSTRUCTED"
        )
    raise AttributeError(f"{kind!r} object has no attribute {name!r}", name=name, obj=thing)


class AbortSignal(EventEmitter):
    """Tells operations whether, and why, they are aborted; created by an AbortController.

    Events: 'abort', once, synchronously inside abort(); its listeners get the signal.

    Node: AbortSignal
    """

    def __init__(self, key: object = None) -> None:
        if key is not _KEY:
            # AbortController().signal, AbortSignal.abort(), .timeout() and .any() make signals.
            raise ArgTypeError("Illegal constructor", "ERR_ILLEGAL_CONSTRUCTOR")
        super().__init__()
        # As in Node: listeners of signals are many, and no sign of a leak.
        self.set_max_listeners(0)
        self._aborted = False
        self._reason: Any = None
        # Signals made by any() of this one, in order of making. They live as long as something
        # holds them or listens to them; those with listeners are in _wanted.
        self._dependents: dict[ref[AbortSignal], None] = {}
        self._wanted: set[AbortSignal] = set()
        self._sources: list[AbortSignal] = []

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # Asked only for what is not there.
            return _missing(self, name, _MADE)

    @property
    def aborted(self) -> bool:
        """True once aborted. Node: signal.aborted"""
        return self._aborted

    @property
    def reason(self) -> Any:
        """The reason, an AbortError by default; None until it is aborted. Node: signal.reason"""
        return self._reason

    def throw_if_aborted(self) -> None:
        """Raise the reason if aborted (wrapped in an AbortError if it is not an exception).

        Node: signal.throwIfAborted()
        """
        if self._aborted:
            if isinstance(self._reason, BaseException):
                raise self._reason
            raise AbortError(cause=self._reason)

    def _abort(self, reason: Any) -> None:
        if self._aborted:
            return
        self._mark(reason)
        dependents = [made() for made in self._dependents]
        marked = [made for made in dependents if made is not None and not made._aborted]
        self._dependents.clear()
        for signal in marked:
            signal._mark(self._reason)
        # Each is aborted before the first listener runs, as the platform's rule has it.
        self.emit("abort", self)
        for signal in marked:
            signal.emit("abort", signal)

    def _mark(self, reason: Any) -> None:
        self._aborted = True
        self._reason = AbortError("This operation was aborted") if reason is None else reason
        for source in self._sources:
            source._dependents.pop(ref(self), None)
            source._wanted.discard(self)
        self._sources = []

    def _listened(self) -> None:
        """Listeners came or went: let the sources hold a signal of any() that is listened to."""
        if self._sources:
            wanted = self.listener_count("abort") > 0
            for source in self._sources:
                (source._wanted.add if wanted else source._wanted.discard)(self)

    def _add_and_hold(self, add: Callable[..., Any], event: Any, listener: Any) -> Any:
        _ = self._sources  # raises, before anything changes, if __init__ was not called
        if listener is None:
            register = add(event)

            def decorate(function: Callable[..., object]) -> Any:
                register(function)
                self._listened()
                return function

            return decorate
        add(event, listener)
        self._listened()
        return self

    def on(self, event: Any = None, listener: Any = None) -> Any:
        """As EventEmitter.on(). Node: signal.addEventListener()"""
        return self._add_and_hold(super().on, event, listener)

    add_listener = on

    def once(self, event: Any = None, listener: Any = None) -> Any:
        """As EventEmitter.once(). Node: signal.addEventListener() with once"""
        return self._add_and_hold(super().once, event, listener)

    def prepend_listener(self, event: Any = None, listener: Any = None) -> Any:
        """As EventEmitter.prepend_listener(). Node: emitter.prependListener()"""
        return self._add_and_hold(super().prepend_listener, event, listener)

    def prepend_once_listener(self, event: Any = None, listener: Any = None) -> Any:
        """As EventEmitter.prepend_once_listener(). Node: emitter.prependOnceListener()"""
        return self._add_and_hold(super().prepend_once_listener, event, listener)

    def off(self, event: Any = None, listener: Any = None) -> AbortSignal:
        """As EventEmitter.off(). Node: signal.removeEventListener()"""
        _ = self._sources
        super().off(event, listener)
        self._listened()
        return self

    remove_listener = off

    def remove_all_listeners(self, event: Any = None) -> AbortSignal:
        """As EventEmitter.remove_all_listeners(). Node: emitter.removeAllListeners()"""
        _ = self._sources
        super().remove_all_listeners(event)
        self._listened()
        return self

    @staticmethod
    def abort(reason: Any = None) -> AbortSignal:
        """Return a signal that is already aborted.

        Args:
            reason: any value, default an AbortError.

        Node: AbortSignal.abort()
        """
        signal = AbortSignal(_KEY)
        signal._mark(reason)
        return signal

    @staticmethod
    def timeout(delay: float | None = None) -> AbortSignal:
        """Return a signal that is aborted after some time; it does not keep the loop alive.

        Args:
            delay: int, milliseconds, 0 to 4294967295.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).
        The reason is an AbortTimeoutError.

        Node: AbortSignal.timeout()
        """
        milliseconds = check.validate_uint32(delay, "delay")
        signal = AbortSignal(_KEY)
        set_timeout(lambda: signal._abort(AbortTimeoutError()), milliseconds).unref()
        return signal

    @staticmethod
    def any(signals: Iterable[AbortSignal] | None = None) -> AbortSignal:
        """Return a signal that is aborted as soon as one of several is, with its reason.

        Args:
            signals: iterable of AbortSignal.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: AbortSignal.any()
        """
        code = "ERR_INVALID_ARG_TYPE"
        try:
            sources = list(signals)  # type: ignore[arg-type]
        except TypeError:
            from ._base import words

            error = ArgTypeError("signals cannot be converted to sequence.", code)
            kind = type(signals).__name__
            words.in_python(error, f"signals must be an iterable of AbortSignal, not {kind}")
            raise error from None
        for index, source in enumerate(sources):
            if not isinstance(source, AbortSignal):
                raise ArgTypeError(f"signals[{index}] is not of type AbortSignal.", code)
        joined = AbortSignal(_KEY)
        for source in sources:
            if source._aborted:
                joined._mark(source._reason)
                return joined
        for source in sources:
            # Straight to the origins, so that a chain of any() is one step.
            for origin in source._sources or [source]:
                if origin not in joined._sources:
                    origin._dependents[ref(joined, origin._forget)] = None
                    joined._sources.append(origin)
        return joined

    def _forget(self, made: ref[AbortSignal]) -> None:
        self._dependents.pop(made, None)

    def __repr__(self) -> str:
        return f"<AbortSignal aborted={self._aborted}>"


class AbortController:
    """Creates an AbortSignal and aborts it.

    Node: AbortController
    """

    def __init__(self) -> None:
        self._signal = AbortSignal(_KEY)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            return _missing(self, name, ("_signal",))

    @property
    def signal(self) -> AbortSignal:
        """The signal to pass to operations. Node: controller.signal"""
        return self._signal

    def abort(self, reason: Any = None) -> None:
        """Abort the signal; its listeners run before this returns. Later calls have no effect.

        Args:
            reason: any value, default an AbortError.

        Events: 'abort' (signal) on the signal.

        Node: controller.abort()
        """
        self._signal._abort(reason)

    def __repr__(self) -> str:
        return f"<AbortController aborted={self._signal.aborted}>"


def abort_error(signal: AbortSignal) -> AbortError:
    """The AbortError that an aborted operation gives, caused by the signal's reason."""
    return AbortError("The operation was aborted", cause=signal.reason)


def on_abort(signal: AbortSignal, listener: Callable[[], object]) -> Callable[[], None]:
    """Call a listener when a signal is aborted, at once if it is; returns what undoes it."""
    if signal.aborted:
        listener()
        return lambda: None

    def aborted(_: AbortSignal) -> None:
        listener()

    signal.once("abort", aborted)

    def undo() -> None:
        signal.off("abort", aborted)

    return undo


add_node_names(AbortSignal)
