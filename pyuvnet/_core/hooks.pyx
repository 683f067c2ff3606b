"""Hooks: what a program does with net, published to subscribers.

Owns: the subscribers, which are the process's.  Imports: loop, for reporting what a subscriber
raises.  A publisher tests hooked() first, so that a hook without subscribers costs one test of a
bit.
"""

from .._base.info import Info
from .._base.validation import arg_value_error, validate_function, validate_string
from .loop_registry cimport loop_of_thread
from .shared cimport load_bits, lock, pyuvnet_mutex, store_bits, unlock


cdef extern from *:
    """
    unsigned int pyuvnet_hooked = 0;
    """

NAMES = (
    "net.client.socket",
    "net.server.socket",
    "tracing:net.server.listen:asyncStart",
    "tracing:net.server.listen:asyncEnd",
    "tracing:net.server.listen:error",
)
assert len(NAMES) == HOOKS

# The subscribers of each hook, in the order of subscribing; replaced, never changed.
cdef list _subscribers = [()] * HOOKS


cdef int _index(name) except -1:
    validate_string(name, "name")
    if name not in NAMES:
        raise arg_value_error("name", name, "must be one of: " + ", ".join(NAMES))
    return NAMES.index(name)


# Of the changes; a thread that publishes reads either tuple.
cdef pyuvnet_mutex _door


cdef bint _set(int index, tuple before, tuple subscribers) except -1:
    """Replace the subscribers; False: another thread has changed them meanwhile."""
    cdef unsigned int bits
    cdef bint same
    lock(&_door)
    same = _subscribers[index] is before
    if same:
        # The caller still has what is replaced, so that nothing of a program's runs here.
        _subscribers[index] = subscribers
        bits = load_bits(&pyuvnet_hooked)
        bits = bits | 1u << index if subscribers else bits & ~(1u << index)
        store_bits(&pyuvnet_hooked, bits)
    unlock(&_door)
    return same


def subscribe(name, subscription):
    """Call subscription(message, name) whenever the hook is published; see diagnostics."""
    cdef int index = _index(name)
    cdef tuple before
    validate_function(subscription, "subscription")
    while True:
        before = _subscribers[index]
        if _set(index, before, before + (subscription,)):
            break


def unsubscribe(name, subscription):
    """Undo one subscribe(); returns whether there was one; see diagnostics."""
    cdef int index = _index(name)
    cdef tuple before
    cdef list left
    validate_function(subscription, "subscription")
    while True:
        before = _subscribers[index]
        left = list(before)
        if subscription not in left:
            return False
        left.remove(subscription)
        if _set(index, before, tuple(left)):
            return True


def has_subscribers(name):
    """Return whether the hook has a subscriber; see diagnostics."""
    return bool(_subscribers[_index(name)])


cdef int publish(Hook hook, dict message) except -1:
    """Call the subscribers; what one raises goes to the loop's exceptions, and no further."""
    name = NAMES[<int>hook]
    info = Info(message)
    for subscription in <tuple>_subscribers[<int>hook]:
        try:
            subscription(info, name)
        except Exception as error:
            loop_of_thread().tick_call(_raise, (error,))
    return 0


def _raise(error):
    raise error


def connecting(socket):
    """Publish that a client socket begins to connect."""
    if hooked(HOOK_CLIENT_SOCKET):
        publish(HOOK_CLIENT_SOCKET, {"socket": socket})
