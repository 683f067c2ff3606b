/* The file of a unix socket: made with its rights, and removed only while it is ours.
 *
 * Both are races with every process that may write to the folder, so nothing here acts on "whatever
 * is at that path by now". libuv does: uv_pipe_chmod() changes, and closing removes, what it finds. */
#ifndef PYUVNET_SOCKET_FILE_H
#define PYUVNET_SOCKET_FILE_H

#include <uv.h>

#if defined(_WIN32)

/* Named pipes leave no file, and have their rights by the handle. */
typedef int pyuvnet_file;
#define PYUVNET_PATH_SIZE ((size_t)-1)
static inline int pyuvnet_bind_with_mode(uv_pipe_t* pipe, const char* path, size_t length, int mode,
                                         long group) {
  (void)pipe;
  (void)path;
  (void)length;
  (void)mode;
  (void)group;
  return UV_ENOTSUP;
}
static inline int pyuvnet_remove_stale(const char* path, size_t length) {
  (void)path;
  (void)length;
  return 0;
}
static inline int pyuvnet_bind_with_rights(uv_pipe_t* pipe, const char* path, size_t length,
                                           int rights) {
  (void)rights;
  return uv_pipe_bind2(pipe, path, length, UV_PIPE_NO_TRUNCATE);
}
static inline int pyuvnet_give_rights(uv_pipe_t* pipe, int rights) {
  return uv_pipe_chmod(pipe, rights);
}
static inline void pyuvnet_own_file(uv_pipe_t* pipe, pyuvnet_file* file, const char* path) {
  (void)pipe;
  (void)path;
  *file = 0;
}
static inline void pyuvnet_remove_file(const pyuvnet_file* file, const char* path) {
  (void)file;
  (void)path;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

/* The longest path that a socket address holds with a NUL behind it. */
#define PYUVNET_PATH_SIZE (sizeof(((struct sockaddr_un*)0)->sun_path) - 1)

/* ---- Rights ---------------------------------------------------------------------------------- */

typedef struct pyuvnet_binding {
  int fd;
  int mode;     /* -1: what the umask leaves */
  long group;   /* -1: the process's, or the folder's */
  struct sockaddr_un name;
} pyuvnet_binding;

/* Runs in a process of its own, which may share this one's memory. */
static int pyuvnet_bind_and_exit(void* data) {
  pyuvnet_binding* of = data;
  if (of->mode >= 0) umask(0777 & ~of->mode);
#if defined(__linux__)
  /* The kernel's call, for this process alone; the one of the C library tells all threads. It cannot
   * say that it may not: the file's group shows. */
  if (of->group >= 0) syscall(SYS_setfsgid, of->group);
#endif
  return bind(of->fd, (struct sockaddr*)&of->name, sizeof(of->name)) ? errno : 0;
}

/* Binds a socket so that its file is made with exactly this mode; returns an errno.
 *
 * bind() gives a file 0777 without the bits of the umask, and only one that was made with the right
 * mode needs no second look by its path, which may lead to another file by then.
 * The umask belongs to the process, so changing it here would also change the files that other
 * threads make; hence a process that lives for these two calls, with our descriptors and a umask of
 * its own. Other ways are worse: fchmod() before bind() only takes rights away on Linux, and does
 * nothing elsewhere; a file that is made under another name and linked into place shows peers that
 * other name, and stays behind in a crash. */
static int pyuvnet_bind_mode(pyuvnet_binding* of) {
  sigset_t all, before;
  pid_t child = -1;
  int status = 0, wait_flags = 0, error = 0;

  /* A handler of the program's must not run in the child. */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
#if defined(__linux__)
  {
    /* As vfork() does it: nothing is copied, and this thread waits meanwhile. But without SIGCHLD,
     * and for no wait() of the program's to find. */
    char stack[32768] __attribute__((aligned(16)));
    child = clone(pyuvnet_bind_and_exit, stack + sizeof(stack), CLONE_VM | CLONE_VFORK, of);
    wait_flags = __WALL;
  }
#endif
  if (child < 0) child = fork();
  if (child == 0) _exit(pyuvnet_bind_and_exit(of));
  if (child < 0) {
    error = errno;
  } else {
    while (waitpid(child, &status, wait_flags) < 0 && (error = errno) == EINTR) error = 0;
    if (error == ECHILD) {
      /* Where SIGCHLD is ignored, or another thread waits for any child, there is no telling how it
       * went, but the socket: it has a name then. */
      struct sockaddr_un name;
      socklen_t size = sizeof(name);
      memset(&name, 0, sizeof(name));
      error = getsockname(of->fd, (struct sockaddr*)&name, &size) == 0 && name.sun_path[0] ? 0 : EIO;
    } else if (error == 0) {
      error = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

/* Gives the file that a bind has just made to a group; returns an errno.
 *
 * Who may not choose the group of new files may still give files of his own to the groups that he is
 * a member of. No client connects meanwhile, as the socket does not listen yet. The path may lead to
 * another file by now: so only to a socket of this user's. */
static int pyuvnet_give_to_group(const char* path, long group) {
  struct stat status;
  int error = 0;
#if defined(O_PATH)
  int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno;
  if (fstat(fd, &status) < 0)
    error = errno;
  else if (status.st_gid == (gid_t)group)
    error = 0;
  else if (!S_ISSOCK(status.st_mode) || status.st_uid != geteuid())
    error = EPERM;
  else if (fchownat(fd, "", (uid_t)-1, (gid_t)group, AT_EMPTY_PATH) < 0)
    error = errno;
  close(fd);
#else
  if (lstat(path, &status) < 0) return errno;
  if (status.st_gid == (gid_t)group) return 0;
  if (!S_ISSOCK(status.st_mode) || status.st_uid != geteuid()) return EPERM;
  if (lchown(path, (uid_t)-1, (gid_t)group) < 0) error = errno;
#endif
  return error;
}

typedef struct pyuvnet_file {
  int known;
  dev_t device;
  ino_t inode;
} pyuvnet_file;

static inline void pyuvnet_note_file(pyuvnet_file* file, const char* path);
static inline void pyuvnet_remove_file(const pyuvnet_file* file, const char* path);

/* Binds a new handle to a path that is no longer than PYUVNET_PATH_SIZE. mode: of its file, exactly;
 * -1: what the umask leaves. group: the file's, -1: as the system has it. Returns a libuv status. */
static inline int pyuvnet_bind_with_mode(uv_pipe_t* pipe, const char* path, size_t length, int mode,
                                         long group) {
  pyuvnet_binding of;
  int status;

  if (length == 0 || length > PYUVNET_PATH_SIZE || memchr(path, 0, length)) return UV_EINVAL;
  memset(&of, 0, sizeof(of));
  of.name.sun_family = AF_UNIX;
  memcpy(of.name.sun_path, path, length);
  of.mode = mode;
  of.group = group;
#if defined(SOCK_CLOEXEC)
  of.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
#else
  of.fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (of.fd >= 0) fcntl(of.fd, F_SETFD, FD_CLOEXEC);
#endif
  if (of.fd < 0) return uv_translate_sys_error(errno);
  status = uv_translate_sys_error(pyuvnet_bind_mode(&of));
  /* As libuv says it, for the sake of Windows. */
  if (status == UV_ENOENT) status = UV_EACCES;
  if (status == 0) {
    pyuvnet_file file;
    pyuvnet_note_file(&file, of.name.sun_path);
    if (group >= 0) status = uv_translate_sys_error(pyuvnet_give_to_group(of.name.sun_path, group));
    if (status == 0) status = uv_pipe_open(pipe, of.fd);
    /* Whatever else its path leads to by now is not ours. */
    if (status < 0) pyuvnet_remove_file(&file, of.name.sun_path);
  }
  if (status < 0) close(of.fd);
  return status;
}

/* The same with rights for everybody: UV_READABLE, UV_WRITABLE or both, as for uv_pipe_chmod(). */
static inline int pyuvnet_bind_with_rights(uv_pipe_t* pipe, const char* path, size_t length,
                                           int rights) {
  int mode = 0;
  if (rights & UV_READABLE) mode |= S_IRUSR | S_IRGRP | S_IROTH;
  if (rights & UV_WRITABLE) mode |= S_IWUSR | S_IWGRP | S_IWOTH;
  return pyuvnet_bind_with_mode(pipe, path, length, mode, -1);
}

/* The bind has given them. */
static inline int pyuvnet_give_rights(uv_pipe_t* pipe, int rights) {
  (void)pipe;
  (void)rights;
  return 0;
}

/* ---- Removal --------------------------------------------------------------------------------- */

/* Notes which file a bind has made, and makes libuv forget the path, which it would remove itself. */
static inline void pyuvnet_own_file(uv_pipe_t* pipe, pyuvnet_file* file, const char* path) {
  free((void*)pipe->pipe_fname);
  pipe->pipe_fname = NULL;
  pyuvnet_note_file(file, path);
}

/* While the socket is open the kernel holds the inode, so its number is not given again. */
static inline void pyuvnet_note_file(pyuvnet_file* file, const char* path) {
  struct stat status;
  /* Anything but a socket has taken its place already. */
  file->known = lstat(path, &status) == 0 && S_ISSOCK(status.st_mode);
  if (file->known) {
    file->device = status.st_dev;
    file->inode = status.st_ino;
  }
}

static inline int pyuvnet_is_file(const pyuvnet_file* file, int folder, const char* name) {
  struct stat status;
  return fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         status.st_dev == file->device && status.st_ino == file->inode;
}

static inline void pyuvnet_remove_in(const pyuvnet_file* file, int folder, const char* name) {
  if (!pyuvnet_is_file(file, folder, name)) return;
#if defined(__linux__)
  {
    /* No call removes a file only if it is a certain one. So it is taken away under a name that
     * no other process uses, looked at again, and put back if it is a new server's that came in the
     * meantime. If a third one has its place by then, it stays where it is: it is not ours. */
    char aside[48];
    snprintf(aside, sizeof(aside), ".%lx.%lx.removed", (unsigned long)getpid(),
             (unsigned long)file->inode);
    if (syscall(SYS_renameat2, folder, name, folder, aside, 1 /* RENAME_NOREPLACE */) == 0) {
      if (pyuvnet_is_file(file, folder, aside))
        unlinkat(folder, aside, 0);
      else
        syscall(SYS_renameat2, folder, aside, folder, name, 1);
      return;
    }
    if (errno == ENOENT) return;
    /* A file system, or a filter of system calls, that does not know it. */
  }
#endif
  unlinkat(folder, name, 0);
}

/* Removes the file that a bind has made, unless another has its place. */
static inline void pyuvnet_remove_file(const pyuvnet_file* file, const char* path) {
  char folder[PYUVNET_PATH_SIZE + 1];
  const char* slash = strrchr(path, '/');
  int fd;
#if defined(O_PATH)
  int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
#else
  int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
#endif

  if (!file->known) return;
  if (slash == NULL) {
    pyuvnet_remove_in(file, AT_FDCWD, path);
    return;
  }
  /* Look and remove in the same folder, wherever its path leads to in between. */
  memcpy(folder, path, (size_t)(slash - path) + 1);
  folder[slash - path + 1] = 0;
  fd = open(folder, flags);
  if (fd >= 0) {
    pyuvnet_remove_in(file, fd, slash + 1);
    close(fd);
  } else if (errno == EMFILE || errno == ENFILE || errno == EACCES) {
    pyuvnet_remove_in(file, AT_FDCWD, path);
  }
}

/* Removes the file of a socket that is no longer accepted from; returns whether it did. */
static inline int pyuvnet_remove_stale(const char* path, size_t length) {
  struct sockaddr_un name;
  struct stat status;
  pyuvnet_file file;
  int fd, refused;

  if (length == 0 || length > PYUVNET_PATH_SIZE || memchr(path, 0, length)) return 0;
  memset(&name, 0, sizeof(name));
  name.sun_family = AF_UNIX;
  memcpy(name.sun_path, path, length);
  if (lstat(name.sun_path, &status) < 0 || !S_ISSOCK(status.st_mode)) return 0;
  file.known = 1;
  file.device = status.st_dev;
  file.inode = status.st_ino;
  fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return 0;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  /* A full queue is an answer too, and must not be waited for. */
  fcntl(fd, F_SETFL, O_NONBLOCK);
  refused = connect(fd, (struct sockaddr*)&name, sizeof(name)) < 0 && errno == ECONNREFUSED;
  close(fd);
  if (!refused) return 0;
  pyuvnet_remove_file(&file, name.sun_path);
  return 1;
}

#endif
#endif
