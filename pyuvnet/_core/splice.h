/* splice(2): moving bytes from one socket to another inside the kernel, on Linux.
 *
 * splice() takes the bytes of a socket into a kernel pipe, as references to their pages, and those of
 * the pipe into another socket: nothing is copied. A loop has one kernel pipe, which is empty between
 * two callbacks: what the second socket does not take is read out of it at once. So no flow owns
 * bytes, or descriptors, that pause(), unpipe() or destroy() would have to care for.
 *
 * Where there is no splice(), or no descriptor left, pyuvnet_tube_open() returns 0, and the bytes are
 * read and written. */
#ifndef PYUVNET_SPLICE_H
#define PYUVNET_SPLICE_H

#include <stddef.h>

typedef struct pyuvnet_tube {
  int in, out;   /* The ends of the kernel pipe; valid while size is not 0. */
  size_t size;   /* How many bytes it is made for. */
} pyuvnet_tube;

#if defined(__linux__)

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

enum { PYUVNET_TUBE_SIZE = 1 << 20 };

static inline int pyuvnet_tube_open(pyuvnet_tube* tube) {
  int ends[2], size;
  if (tube->size) return 1;
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return 0;
  /* A user without privileges gets 64 MiB in all pipes together; beyond that, what there is. */
  size = fcntl(ends[1], F_SETPIPE_SZ, PYUVNET_TUBE_SIZE);
  if (size <= 0) size = fcntl(ends[1], F_GETPIPE_SZ);
  tube->out = ends[0];
  tube->in = ends[1];
  tube->size = size > 0 ? (size_t) size : 65536;
  return 1;
}

static inline void pyuvnet_tube_close(pyuvnet_tube* tube) {
  if (!tube->size) return;
  close(tube->in);
  close(tube->out);
  tube->size = 0;
}

/* How many bytes a socket takes at once, about; negative: it is no socket. */
static inline ptrdiff_t pyuvnet_send_room(int fd) {
  unsigned int info[9] = {0};
  socklen_t length = sizeof info;
  unsigned int queued;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) != 0) return -errno;
  /* SK_MEMINFO_WMEM_ALLOC, _SNDBUF, _WMEM_QUEUED of linux/sock_diag.h. */
  queued = info[5] > info[2] ? info[5] : info[2];
  return info[3] > queued ? (ptrdiff_t) (info[3] - queued) : 0;
}

/* Takes up to size bytes of a socket; returns how many, 0 at its end, or a libuv status. */
static inline ptrdiff_t pyuvnet_splice_in(pyuvnet_tube* tube, int fd, size_t size) {
  ssize_t moved;
  do
    moved = splice(fd, NULL, tube->in, NULL, size < tube->size ? size : tube->size,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  while (moved < 0 && errno == EINTR);
  return moved < 0 ? -errno : moved;
}

/* Whether a status of splice() says that it is not for such a descriptor, or not here and now; any
 * other is that of the socket. */
static inline int pyuvnet_splice_unfit(ptrdiff_t status) {
  return status == -EINVAL || status == -ENOSYS || status == -EOPNOTSUPP || status == -EPERM
      || status == -EBADF || status == -ENOMEM || status == -EFAULT;
}

/* Gives a socket the size bytes that are in the tube; returns how many it did not take. The status
 * says why, and is 0 if it is full. */
static inline size_t pyuvnet_splice_out(pyuvnet_tube* tube, int fd, size_t size, int* status) {
  ssize_t moved;
  while (size) {
    moved = splice(tube->out, NULL, fd, NULL, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0 && errno != EAGAIN && errno != ENOBUFS) *status = -errno;
    if (moved <= 0) break;
    size -= (size_t) moved;
  }
  return size;
}

/* Reads the size bytes that are in the tube; returns 0 if it cannot. */
static inline int pyuvnet_take_back(pyuvnet_tube* tube, char* to, size_t size) {
  ssize_t taken;
  while (size) {
    taken = read(tube->out, to, size);
    if (taken < 0 && errno == EINTR) continue;
    if (taken <= 0) return 0;
    to += taken;
    size -= (size_t) taken;
  }
  return 1;
}

#else

static inline int pyuvnet_tube_open(pyuvnet_tube* tube) {
  (void)tube;
  return 0;
}
static inline void pyuvnet_tube_close(pyuvnet_tube* tube) { (void)tube; }
static inline ptrdiff_t pyuvnet_send_room(int fd) {
  (void)fd;
  return -1;
}
static inline ptrdiff_t pyuvnet_splice_in(pyuvnet_tube* tube, int fd, size_t size) {
  (void)tube;
  (void)fd;
  (void)size;
  return 0;
}
static inline size_t pyuvnet_splice_out(pyuvnet_tube* tube, int fd, size_t size, int* status) {
  (void)tube;
  (void)fd;
  (void)status;
  return size;
}
static inline int pyuvnet_take_back(pyuvnet_tube* tube, char* to, size_t size) {
  (void)tube;
  (void)to;
  (void)size;
  return 0;
}
static inline int pyuvnet_splice_unfit(ptrdiff_t status) {
  (void)status;
  return 1;
}

#endif

#endif
