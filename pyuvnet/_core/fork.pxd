"""How often this process is the child of a fork, by which what was made before is known as stale.

loop_registry.pyx owns the number and raises it in each forked child. One shared object holds all
modules, hence one number; each module sees it by its address.
"""

cdef extern from *:
    """
    extern unsigned long pyuvnet_fork_generation;
    """
    unsigned long pyuvnet_fork_generation

cdef inline unsigned long fork_generation() noexcept nogil:
    return pyuvnet_fork_generation
