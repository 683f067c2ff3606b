"""The diagnostics hooks, and the flag that says whether one has a subscriber; see hooks.pyx."""

from .shared cimport load_bits

cdef enum Hook:
    HOOK_CLIENT_SOCKET
    HOOK_SERVER_SOCKET
    HOOK_LISTEN_START
    HOOK_LISTEN_END
    HOOK_LISTEN_ERROR
    HOOKS

cdef extern from *:
    """
    /* One bit for each hook that has a subscriber. One shared object holds all modules, hence one
       word; each module sees it by its address. */
    extern unsigned int pyuvnet_hooked;
    """
    unsigned int pyuvnet_hooked

cdef inline bint hooked(Hook hook) noexcept:
    """Whether the hook has a subscriber; all that it costs when it has none."""
    return load_bits(&pyuvnet_hooked) >> <int>hook & 1

cdef int publish(Hook hook, dict message) except -1
