/* Whose file is at the path of a unix socket: ours, or one that replaced it.
 *
 * libuv unlinks the path when the handle is closed, whatever is there by then. */
#ifndef PYUVNET_SOCKET_FILE_H
#define PYUVNET_SOCKET_FILE_H

#include <stdlib.h>
#include <uv.h>

#if defined(_WIN32)

/* Named pipes leave no file. */
typedef int pyuvnet_file;
#define PYUVNET_PATH_SIZE ((size_t)-1)
static inline void pyuvnet_note_file(pyuvnet_file* file, const char* path) {
  (void)path;
  *file = 0;
}
static inline int pyuvnet_same_file(const pyuvnet_file* file, const char* path) {
  (void)file;
  (void)path;
  return 1;
}
static inline void pyuvnet_keep_file(uv_pipe_t* pipe) { (void)pipe; }

#else

#include <sys/stat.h>
#include <sys/un.h>

/* The longest path that a socket address holds with a NUL behind it. */
#define PYUVNET_PATH_SIZE (sizeof(((struct sockaddr_un*)0)->sun_path) - 1)

typedef struct pyuvnet_file {
  int known;
  dev_t device;
  ino_t inode;
} pyuvnet_file;

/* While the socket is open the kernel holds the inode, so its number is not given again. */
static inline void pyuvnet_note_file(pyuvnet_file* file, const char* path) {
  struct stat status;
  file->known = lstat(path, &status) == 0;
  if (file->known) {
    file->device = status.st_dev;
    file->inode = status.st_ino;
  }
}

static inline int pyuvnet_same_file(const pyuvnet_file* file, const char* path) {
  struct stat status;
  return file->known && lstat(path, &status) == 0 && status.st_dev == file->device &&
         status.st_ino == file->inode;
}

/* Makes libuv forget the path, as it does itself when a bind fails. */
static inline void pyuvnet_keep_file(uv_pipe_t* pipe) {
  free((void*)pipe->pipe_fname);
  pipe->pipe_fname = NULL;
}

#endif
#endif
