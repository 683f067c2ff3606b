/* What is done with a loop's backend behind its back: waiting for input and output without turning
 * the loop, from any thread, and taking them away from a forked child.
 *
 * On Unix the backend is a descriptor, which poll() waits for like for any other.  On Windows it is
 * a completion port: what is taken from it is posted back, for the loop to find.  One completion can
 * so get behind another; libuv has one read, and this library one write, of a handle in flight. */
#ifndef PYUVNET_BACKEND_H
#define PYUVNET_BACKEND_H

#include <uv.h>

#ifdef _WIN32
static inline void pyuvnet_backend_wait(uv_loop_t* loop) {
  DWORD bytes;
  ULONG_PTR key;
  OVERLAPPED* overlapped = NULL;
  /* A failed operation is posted back too: its status is in the structure. */
  GetQueuedCompletionStatus(loop->iocp, &bytes, &key, &overlapped, INFINITE);
  if (overlapped != NULL) PostQueuedCompletionStatus(loop->iocp, bytes, key, overlapped);
}

static inline int pyuvnet_backend_abandon(uv_loop_t* loop) {
  (void)loop;
  return 0; /* There is no fork() there. */
}
#else
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/epoll.h>
#define PYUVNET_NEW_POLLER() epoll_create1(EPOLL_CLOEXEC)
#else
#include <sys/event.h>
#define PYUVNET_NEW_POLLER() kqueue()
#endif

static inline void pyuvnet_backend_wait(uv_loop_t* loop) {
  struct pollfd backend = {uv_backend_fd(loop), POLLIN, 0};
  /* A signal ends it early: the waiting thread turns the loop once for nothing. */
  poll(&backend, 1, -1);
}

/* Puts a poller that watches nothing in the place of the parent's; returns a libuv status. A child
 * has epoll's descriptor too; a kqueue stays behind, and the new one may get the very number. */
static inline int pyuvnet_backend_abandon(uv_loop_t* loop) {
  int backend = uv_backend_fd(loop);
  int empty, error = 0;

#if defined(__linux__)
  close(backend); /* There may be no other number left. */
#endif
  empty = PYUVNET_NEW_POLLER();
  if (empty < 0) return uv_translate_sys_error(errno);
  if (empty != backend) {
    if (dup2(empty, backend) < 0) error = errno;
    close(empty);
  }
  if (error == 0 && fcntl(backend, F_SETFD, FD_CLOEXEC) < 0) error = errno;
  return error == 0 ? 0 : uv_translate_sys_error(error);
}
#endif

#endif
