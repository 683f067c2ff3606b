/* What libuv does not report: accepts that failed, and connections that it dropped.
 *
 * When a process has no descriptor left, libuv 1.52.1 closes a spare one, accepts with it every
 * waiting connection and closes them, without a callback; it ignores other failures of accept. So its
 * core.c is compiled to call the function below instead of the system's (build.toml), which calls
 * that and takes notes. libuv does exactly what it would do without.
 *
 * The notes are the thread's, as loops are. The first one starts a check handle, which hands them
 * out in the same turn of the loop; while no accept fails, all this costs a comparison for each
 * connection. Windows reports failures by the connection callback, and has no need of it.
 *
 * This file defines functions: one module includes it. */
#ifndef PYUVNET_ACCEPT_HOOK_H
#define PYUVNET_ACCEPT_HOOK_H

#include <uv.h>

typedef union pyuvnet_name {
  struct sockaddr any;
  struct sockaddr_in ip4;
  struct sockaddr_in6 ip6;
} pyuvnet_name;

typedef struct pyuvnet_failed_accept {
  int listener;       /* Its descriptor. */
  int status;         /* Why, as libuv's status. */
  int stuck;          /* The connection stays in the queue, with no descriptor for it. */
  pyuvnet_name here;  /* Both ends of a dropped connection; sa_family 0: not known. */
  pyuvnet_name there;
  void* handle;       /* For the taker of the notes. */
} pyuvnet_failed_accept;

/* The peer of the last connection that this thread accepted; the kernel reports it at no cost then,
 * and only then for certain: getpeername() fails once the peer has reset the connection.
 * sa_family 0: not reported (macOS, for a connection that was reset before). */
typedef struct pyuvnet_arrival {
  int fd;
  int last_fd; /* The same, also when it was taken. */
  pyuvnet_name there;
} pyuvnet_arrival;

/* What a listener is to do that libuv's do not. */
enum {
  PYUVNET_RESTS = 1,  /* Accept nothing: clients stay in the kernel's queue. */
  PYUVNET_SHEDS = 2,  /* Without descriptors drop them, as libuv does; else they stay there. */
  PYUVNET_MAY = 4     /* Nothing now, but there is room for the note. */
};

typedef struct pyuvnet_manner {
  int listener;  /* Its descriptor. */
  int what;
  int reserve;   /* How many descriptors it leaves to the program. */
  int threshold; /* From which number on, when last asked. */
} pyuvnet_manner;

typedef struct pyuvnet_accepts {
  pyuvnet_failed_accept* failures;
  size_t count, size;
  int dropping; /* The listener whose connections libuv accepts in order to close them, or -1. */
  int dropped;  /* How many so far. */
  int status;   /* Why. */
  uv_check_t* check;
  uv_check_cb hand_out;
  pyuvnet_manner* manners; /* Of listeners that are not as others; few, if any. */
  size_t manner_count;
} pyuvnet_accepts;

#if defined(_WIN32)

static void pyuvnet_watch_accepts(uv_check_t* check, uv_check_cb hand_out) {
  (void)check;
  (void)hand_out;
}
static size_t pyuvnet_take_failed_accepts(pyuvnet_failed_accept** failures) {
  *failures = NULL;
  return 0;
}
static void pyuvnet_pause_listener(int backend, int listener, int pause) {
  (void)backend;
  (void)listener;
  (void)pause;
}
static int pyuvnet_set_manner(int listener, int what, int reserve) {
  (void)listener;
  (void)what;
  (void)reserve;
  return 1;
}
static size_t pyuvnet_manner_count(void) { return 0; }
static const struct sockaddr* pyuvnet_arrived(int fd) {
  (void)fd;
  return NULL;
}
static int pyuvnet_drop_waiting(uv_stream_t* listener, const struct sockaddr** peer) {
  (void)listener;
  *peer = NULL;
  return 0;
}
static int pyuvnet_take_waiting(uv_stream_t* listener) {
  (void)listener;
  return -1;
}

static int pyuvnet_accept_next(int listener, pyuvnet_name* there) {
  (void)listener;
  (void)there;
  return UV_EAGAIN;
}
static int pyuvnet_free_spare(uv_loop_t* loop) {
  (void)loop;
  return 0;
}
static void pyuvnet_take_spare(uv_loop_t* loop) { (void)loop; }

#else

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netinet/in.h>
#if defined(__linux__)
#include <sys/epoll.h>
#else
#include <sys/event.h>
#include <sys/time.h>
#endif

static void pyuvnet_pause_listener(int backend, int listener, int pause);

static _Thread_local pyuvnet_accepts pyuvnet_accept_notes = {.dropping = -1};
static _Thread_local pyuvnet_arrival pyuvnet_last_arrival = {.fd = -1};

/* Without memory for a note it is not taken: there are worse things to care about then. */
static void pyuvnet_note_failure(pyuvnet_accepts* notes, int listener, int status, int peer,
                                 int stuck) {
  pyuvnet_failed_accept* note;
  socklen_t length;

  if (notes->count == notes->size) {
    size_t size = notes->size ? 2 * notes->size : 16;
    note = realloc(notes->failures, size * sizeof(*note));
    if (note == NULL) return;
    notes->failures = note;
    notes->size = size;
  }
  note = &notes->failures[notes->count++];
  memset(note, 0, sizeof(*note));
  note->listener = listener;
  note->status = status;
  note->stuck = stuck;
  if (peer < 0) return;
  length = sizeof(note->here);
  if (getsockname(peer, &note->here.any, &length)) note->here.any.sa_family = 0;
  length = sizeof(note->there);
  if (getpeername(peer, &note->there.any, &length)) note->there.any.sa_family = 0;
}

/* Without a spare descriptor libuv does not try again, and the connection is still there. */
static void pyuvnet_end_dropping(pyuvnet_accepts* notes) {
  if (notes->dropping != -1)
    pyuvnet_note_failure(notes, notes->dropping, notes->status, -1, 1);
  notes->dropping = -1;
}

static pyuvnet_manner* pyuvnet_manner_of(const pyuvnet_accepts* notes, int listener) {
  size_t index;
  for (index = 0; index < notes->manner_count; index++)
    if (notes->manners[index].listener == listener) return &notes->manners[index];
  return NULL;
}

static int pyuvnet_waits(const pyuvnet_accepts* notes, int listener, int error) {
  pyuvnet_manner* manner;
  if (error != EMFILE && error != ENFILE) return 0;
  manner = pyuvnet_manner_of(notes, listener);
  return manner == NULL || !(manner->what & PYUVNET_SHEDS);
}

static void pyuvnet_accept_failed(pyuvnet_accepts* notes, int listener, int error) {
  int drained = error == EAGAIN || error == EWOULDBLOCK;
  int scarce = error == EMFILE || error == ENFILE;

  if (notes->dropping == listener) {
    if (!drained) {
      notes->status = -error;
      pyuvnet_end_dropping(notes);
    } else if (notes->dropped == 0) {
      pyuvnet_note_failure(notes, listener, notes->status, -1, 0);
    }
    notes->dropping = -1;
    return;
  }
  if (drained) return; /* Another process was faster. */
  if (pyuvnet_waits(notes, listener, error)) {
    /* As for the lack of anything else: libuv ignores it, and the listener is paused. */
    pyuvnet_note_failure(notes, listener, -error, -1, 1);
  } else if (scarce) {
    pyuvnet_end_dropping(notes);
    notes->dropping = listener;
    notes->dropped = 0;
    notes->status = -error;
  } else {
    pyuvnet_note_failure(notes, listener, -error, -1, error == ENOBUFS || error == ENOMEM);
  }
  if (notes->check != NULL) uv_check_start(notes->check, notes->hand_out);
}

/* Sets what a listener does, and how many descriptors it leaves to the program; 0, 0: as all others.
 * Returns 0 without memory for that. */
static int pyuvnet_set_manner(int listener, int what, int reserve) {
  pyuvnet_accepts* notes = &pyuvnet_accept_notes;
  pyuvnet_manner* manner = pyuvnet_manner_of(notes, listener);
  pyuvnet_manner* manners;

  if (listener < 0) return 1;
  if (!what && !reserve) {
    if (manner != NULL) *manner = notes->manners[--notes->manner_count];
    return 1;
  }
  if (manner == NULL) {
    manners = realloc(notes->manners, (notes->manner_count + 1) * sizeof(*manners));
    if (manners == NULL) return 0;
    notes->manners = manners;
    manner = &manners[notes->manner_count++];
    manner->listener = listener;
    manner->threshold = 0; /* So that the first accept looks. */
  }
  manner->what = what;
  manner->reserve = reserve;
  return 1;
}

static size_t pyuvnet_manner_count(void) { return pyuvnet_accept_notes.manner_count; }

/* Whether the next descriptor would be one of those that a listener leaves to the program. */
static int pyuvnet_reserved(pyuvnet_manner* manner) {
  struct rlimit limit;
  int fd;

  /* It takes many files, opened since the last accept, to be wrong here, and not for long. */
  if (pyuvnet_last_arrival.last_fd + 256 < manner->threshold) return 0;
  if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > INT_MAX) return 0;
  manner->threshold =
      limit.rlim_cur > (rlim_t)manner->reserve ? (int)limit.rlim_cur - manner->reserve : 0;
  /* The system gives the lowest one that is free. */
  fd = fcntl(manner->listener, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return 1;
  close(fd);
  return fd >= manner->threshold;
}

static inline int pyuvnet_accepted(int listener, int peer) {
  pyuvnet_accepts* notes = &pyuvnet_accept_notes;
  int error = errno;

  if (peer >= 0) {
    if (notes->dropping == listener) {
      pyuvnet_note_failure(notes, listener, notes->status, peer, 0);
      notes->dropped++;
    }
  } else if (error != EINTR) {
    pyuvnet_accept_failed(notes, listener, error);
    if (pyuvnet_waits(notes, listener, error))
      error = EAGAIN; /* Else libuv would close a spare one, and drop all that wait. */
  }
  errno = error;
  return peer;
}

/* Whether a listener accepts nothing now, with errno as libuv is to see it. One that rests is out of
 * the poll, unless that knew nothing of it yet: then it is reported once, and taken out here. */
static int pyuvnet_refrains(pyuvnet_accepts* notes, int listener) {
  pyuvnet_manner* manner;

  if (notes->manner_count == 0) return 0;
  manner = pyuvnet_manner_of(notes, listener);
  if (manner == NULL) return 0;
  if (manner->what & PYUVNET_RESTS) {
    if (notes->check != NULL)
      pyuvnet_pause_listener(uv_backend_fd(notes->check->loop), listener, 1);
    errno = EAGAIN;
    return 1;
  }
  if (manner->reserve == 0 || notes->dropping == listener || !pyuvnet_reserved(manner)) return 0;
  errno = EMFILE;
  pyuvnet_accepted(listener, -1);
  return 1;
}

/* libuv asks for no address; anybody who did would get it as usual. */
#if defined(__linux__)
int pyuvnet_accept4(int listener, struct sockaddr* address, socklen_t* length, int flags) {
  pyuvnet_arrival* last = &pyuvnet_last_arrival;
  socklen_t size = sizeof(last->there);
  if (pyuvnet_refrains(&pyuvnet_accept_notes, listener)) return -1;
  if (address != NULL) return pyuvnet_accepted(listener, accept4(listener, address, length, flags));
  last->fd = accept4(listener, &last->there.any, &size, flags);
  if (size == 0) last->there.any.sa_family = 0;
  if (last->fd >= 0) last->last_fd = last->fd;
  return pyuvnet_accepted(listener, last->fd);
}
#else
int pyuvnet_accept(int listener, struct sockaddr* address, socklen_t* length) {
  pyuvnet_arrival* last = &pyuvnet_last_arrival;
  socklen_t size = sizeof(last->there);
  if (pyuvnet_refrains(&pyuvnet_accept_notes, listener)) return -1;
  if (address != NULL) return pyuvnet_accepted(listener, accept(listener, address, length));
  last->fd = accept(listener, &last->there.any, &size);
  if (size == 0) last->there.any.sa_family = 0;
  if (last->fd >= 0) last->last_fd = last->fd;
  return pyuvnet_accepted(listener, last->fd);
}
#endif

/* The peer of a descriptor that was accepted last, NULL if another one was. */
static const struct sockaddr* pyuvnet_arrived(int fd) {
  pyuvnet_arrival* last = &pyuvnet_last_arrival;
  if (fd < 0 || last->fd != fd) return NULL;
  last->fd = -1;
  return &last->there.any;
}

/* Closes the connection that waits to be taken with uv_accept(), where there is no handle to take
 * it; returns whether it did, and whose it was, NULL if that is not known. libuv would poll the
 * listener no more while the connection is there, and goes on when it is not. On Windows it waits
 * until the next one is taken. */
static int pyuvnet_drop_waiting(uv_stream_t* listener, const struct sockaddr** peer) {
  int fd = listener->accepted_fd;
  *peer = pyuvnet_arrived(fd);
  if (fd < 0) return 1;
  listener->accepted_fd = -1;
  close(fd);
  return 1;
}

/* Takes the connection that waits for uv_accept() as a descriptor, without a handle for it; -1 if there
 * is none, and on Windows. libuv polls the listener on if this comes in its connection callback. */
static int pyuvnet_take_waiting(uv_stream_t* listener) {
  int fd = listener->accepted_fd;
  listener->accepted_fd = -1;
  return fd;
}

/* Accepts the next connection of a listener that is about to close. Returns its descriptor, and whose
 * it is; or a libuv status: UV_EAGAIN, if none waits. */
static int pyuvnet_accept_next(int listener, pyuvnet_name* there) {
  int fd;
  do {
    socklen_t size = sizeof(*there);
    memset(there, 0, sizeof(*there));
#if defined(__linux__)
    fd = accept4(listener, &there->any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    fd = accept(listener, &there->any, &size);
#endif
    if (size == 0) there->any.sa_family = 0;
  } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
  if (fd < 0) return errno == EWOULDBLOCK ? UV_EAGAIN : uv_translate_sys_error(errno);
#if !defined(__linux__)
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
#endif
  return fd;
}

/* Makes libuv's spare descriptor usable for accepts, or libuv's again. Returns whether it was there. */
static int pyuvnet_free_spare(uv_loop_t* loop) {
  if (loop->emfile_fd == -1) return 0;
  close(loop->emfile_fd);
  loop->emfile_fd = -1;
  return 1;
}

static void pyuvnet_take_spare(uv_loop_t* loop) {
  loop->emfile_fd = open("/", O_RDONLY | O_CLOEXEC);
}

/* The loop that this thread's notes are for. */
static void pyuvnet_watch_accepts(uv_check_t* check, uv_check_cb hand_out) {
  pyuvnet_accept_notes.check = check;
  pyuvnet_accept_notes.hand_out = hand_out;
}

/* The notes taken so far, to be freed by the caller; returns how many they are. */
static size_t pyuvnet_take_failed_accepts(pyuvnet_failed_accept** failures) {
  pyuvnet_accepts* notes = &pyuvnet_accept_notes;
  size_t count;

  pyuvnet_end_dropping(notes);
  count = notes->count;
  *failures = notes->failures;
  notes->failures = NULL;
  notes->count = notes->size = 0;
  return count;
}

/* Makes the kernel report a listener no more, or again. libuv has no call for it: it believes
 * that the listener is watched, and has nothing to do about it meanwhile. */
static void pyuvnet_pause_listener(int backend, int listener, int pause) {
#if defined(__linux__)
  struct epoll_event event;

  memset(&event, 0, sizeof(event));
  event.events = pause ? 0 : EPOLLIN;
  event.data.fd = listener;
  epoll_ctl(backend, EPOLL_CTL_MOD, listener, &event);
#else
  struct kevent event;

  EV_SET(&event, listener, EVFILT_READ, pause ? EV_DISABLE : EV_ENABLE, 0, 0, 0);
  kevent(backend, &event, 1, NULL, 0, NULL);
#endif
}

#endif
#endif
