/* The clock that libuv reads, which a test can stop and set: see clock.pyx.
 *
 * libuv is compiled to read the time through the function below (build.toml) instead of the
 * system's. The function jumps through a pointer, as a call into a shared library does anyway, so
 * it costs nothing: until a thread sets its clock, the pointer is the system's function. After that
 * it is one that looks whether the clock of the calling thread is set, and never changes again, so
 * that threads which read it meanwhile get one or the other.
 *
 * This file defines functions: one module includes it. */
#ifndef PYUVNET_CLOCK_HOOK_H
#define PYUVNET_CLOCK_HOOK_H

#include <stdint.h>

#if defined(__linux__)

#include <time.h>

static _Thread_local uint64_t pyuvnet_set_ns; /* What the clock shows; 0: the system's time. */

static int pyuvnet_thread_clock(clockid_t id, struct timespec* now) {
  if (pyuvnet_set_ns == 0 || (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE))
    return clock_gettime(id, now);
  now->tv_sec = (time_t)(pyuvnet_set_ns / 1000000000);
  now->tv_nsec = (long)(pyuvnet_set_ns % 1000000000);
  return 0;
}

static int (*pyuvnet_clock)(clockid_t, struct timespec*) = clock_gettime;

int pyuvnet_clock_gettime(clockid_t id, struct timespec* now) { return pyuvnet_clock(id, now); }

static void pyuvnet_set_clock(uint64_t ns) {
  pyuvnet_set_ns = ns;
  pyuvnet_clock = pyuvnet_thread_clock;
}

#elif defined(__APPLE__)

#include <mach/mach_time.h>

static _Thread_local uint64_t pyuvnet_set_ticks; /* What the clock shows; 0: the system's time. */

static uint64_t pyuvnet_thread_clock(void) {
  return pyuvnet_set_ticks != 0 ? pyuvnet_set_ticks : mach_continuous_time();
}

static uint64_t (*pyuvnet_clock)(void) = mach_continuous_time;

uint64_t pyuvnet_mach_continuous_time(void) { return pyuvnet_clock(); }

static void pyuvnet_set_clock(uint64_t ns) {
  mach_timebase_info_data_t base;
  mach_timebase_info(&base);
  /* The next whole tick, so that libuv, which rounds down, does not see the millisecond before. */
  pyuvnet_set_ticks = ns == 0 ? 0 : ns * base.denom / base.numer + 1;
  pyuvnet_clock = pyuvnet_thread_clock;
}

#else

static void pyuvnet_set_clock(uint64_t ns) { (void)ns; }

#endif

#endif
