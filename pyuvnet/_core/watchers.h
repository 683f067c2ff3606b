/* Room in libuv's table of watched descriptors, made before libuv needs it.
 *
 * libuv keeps what it watches in an array by descriptor, loop->watchers, which maybe_resize() in its
 * unix/core.c makes larger. That function of libuv 1.52.1 frees the array when there is no memory for
 * a larger one, and keeps the pointer; and of its callers hardly one looks whether it succeeded. So
 * the next handle writes to freed memory, and the end of the loop frees it again. Here the array is
 * made larger in libuv's own way, but a failure leaves it as it is; then maybe_resize() never has
 * anything to do. tests/core/test_watchers.py pins the digest of that function.
 *
 * A libuv later than the ones known here is left to itself: whether it still has the fault, and
 * whether the array still looks like that, has to be seen first.
 *
 * In a build for debugging libuv's allocations can be made to fail, those of this thread.
 *
 * This file defines data: one module includes it. */
#ifndef PYUVNET_WATCHERS_H
#define PYUVNET_WATCHERS_H

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#if UVNET_DEBUG && !defined(_WIN32)

static _Thread_local struct {
  long count; /* Of allocations so far. */
  long start; /* How many of them succeed, */
  long stop;  /* and after how many they do again; 0: never. */
  int armed;
} pyuvnet_failing;

static int pyuvnet_fails(void) {
  long count = ++pyuvnet_failing.count;
  if (!pyuvnet_failing.armed) return 0;
  return count > pyuvnet_failing.start && (!pyuvnet_failing.stop || count <= pyuvnet_failing.stop);
}

static void* pyuvnet_malloc(size_t size) { return pyuvnet_fails() ? NULL : malloc(size); }

static void* pyuvnet_realloc(void* old, size_t size) {
  return pyuvnet_fails() ? NULL : realloc(old, size);
}

static void* pyuvnet_calloc(size_t count, size_t size) {
  return pyuvnet_fails() ? NULL : calloc(count, size);
}

static int pyuvnet_hook_allocations(void) {
  return uv_replace_allocator(pyuvnet_malloc, pyuvnet_realloc, pyuvnet_calloc, free);
}

static long pyuvnet_fail(int armed, long start, long stop) {
  long count = pyuvnet_failing.count;
  pyuvnet_failing.armed = armed;
  pyuvnet_failing.start = start;
  pyuvnet_failing.stop = stop;
  pyuvnet_failing.count = 0;
  return count;
}

#else

#define pyuvnet_realloc realloc

static int pyuvnet_hook_allocations(void) { return 0; }

static long pyuvnet_fail(int armed, long start, long stop) {
  (void)armed;
  (void)start;
  (void)stop;
  return 0;
}

#endif

#if defined(_WIN32) || UV_VERSION_MAJOR != 1 || UV_VERSION_MINOR > 52

static int pyuvnet_watch_room(uv_loop_t* loop, int fd) {
  (void)loop;
  (void)fd;
  return 0;
}
static int pyuvnet_watch_room_for_next(uv_loop_t* loop) {
  (void)loop;
  return 0;
}

#else

#include <fcntl.h>
#include <unistd.h>

/* Makes room for a descriptor; returns 0, or UV_ENOMEM and has changed nothing. */
static int pyuvnet_watch_room(uv_loop_t* loop, int fd) {
  unsigned int count = loop->nwatchers, size = 64;
  void* notes[2] = {NULL, NULL}; /* libuv's own, behind the last entry. */
  void** grown;

  if (fd < 0 || (unsigned int)fd < count) return 0;
  if (loop->watchers != NULL) memcpy(notes, (void**)loop->watchers + count, sizeof(notes));
  while (size < (unsigned int)fd + 3) size *= 2;
  grown = pyuvnet_realloc(loop->watchers, size * sizeof(*grown));
  if (grown == NULL) return UV_ENOMEM;
  memset(grown + count, 0, (size - count) * sizeof(*grown));
  memcpy(grown + size - 2, notes, sizeof(notes));
  loop->watchers = (void*)grown;
  loop->nwatchers = size - 2;
  return 0;
}

/* Makes room for the descriptor that the system will give out next, and for some behind it, since
 * other threads open descriptors too. Without one left the call that wants it says so. */
static int pyuvnet_watch_room_for_next(uv_loop_t* loop) {
  int fd = fcntl(loop->backend_fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return 0;
  close(fd);
  return pyuvnet_watch_room(loop, fd + 32);
}

#endif

/* uv_write2(); libuv 1.52.1 counts a request that it refuses for want of memory, for ever, and the
 * loop would never end. */
static int pyuvnet_uv_write(uv_write_t* request, uv_stream_t* stream, const uv_buf_t* bufs,
                            unsigned int count, uv_stream_t* carried, uv_write_cb done) {
  unsigned int requests = stream->loop->active_reqs.count;
  int status = uv_write2(request, stream, bufs, count, carried, done);
  if (status < 0) stream->loop->active_reqs.count = requests;
  return status;
}

#endif
