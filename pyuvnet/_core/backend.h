/* Waiting for a loop's input and output without turning it, from any thread.
 *
 * On Unix the backend is a descriptor, which poll() waits for like for any other.  On Windows it is
 * a completion port: what is taken from it is posted back, for the loop to find.  One completion can
 * so get behind another; libuv has one read, and this library one write, of a handle in flight. */
#ifndef PYUVNET_BACKEND_H
#define PYUVNET_BACKEND_H

#include <uv.h>

#ifdef _WIN32
static void pyuvnet_backend_wait(uv_loop_t* loop) {
  DWORD bytes;
  ULONG_PTR key;
  OVERLAPPED* overlapped = NULL;
  /* A failed operation is posted back too: its status is in the structure. */
  GetQueuedCompletionStatus(loop->iocp, &bytes, &key, &overlapped, INFINITE);
  if (overlapped != NULL) PostQueuedCompletionStatus(loop->iocp, bytes, key, overlapped);
}
#else
#include <poll.h>

static void pyuvnet_backend_wait(uv_loop_t* loop) {
  struct pollfd backend = {uv_backend_fd(loop), POLLIN, 0};
  /* A signal ends it early: whoever waits turns the loop once for nothing. */
  poll(&backend, 1, -1);
}
#endif

#endif
