"""What setup.py defines about the build. C constants, so that `if UVNET_DEBUG:` costs nothing."""

cdef extern from "debug.h":
    const bint UVNET_DEBUG  # 1 in a debug build
    const char* UVNET_BUILD_FLAGS  # ASCII, for people: kind of build, Cython, compiler flags
