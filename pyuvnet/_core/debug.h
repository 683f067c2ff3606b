/* What setup.py defines about the build. */
#ifndef PYUVNET_DEBUG_H
#define PYUVNET_DEBUG_H

/* 1 in a debug build (PYUVNET_DEBUG=1): asserts, and counters of live handles and requests. */
#ifndef UVNET_DEBUG
#define UVNET_DEBUG 0
#endif

/* One line for `pyuvnet info`. */
#ifndef UVNET_BUILD_FLAGS
#define UVNET_BUILD_FLAGS "unknown"
#endif

#endif
