"""Names the shared object that holds the core, and says how it was built."""

from .debug cimport UVNET_BUILD_FLAGS, UVNET_DEBUG

DEBUG = bool(UVNET_DEBUG)  # whether asserts and counters are in
BUILD_FLAGS = UVNET_BUILD_FLAGS.decode("ascii")  # one line, for people
