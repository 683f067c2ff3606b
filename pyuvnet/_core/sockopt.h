/* The socket options that libuv has no call for. */
#ifndef PYUVNET_SOCKOPT_H
#define PYUVNET_SOCKOPT_H

#include <limits.h>
#include <uv.h>

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
typedef SOCKET pyuvnet_socket;
#define PYUVNET_SOCKET_ERROR() uv_translate_sys_error(WSAGetLastError())
#else
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif
typedef int pyuvnet_socket;
#define PYUVNET_SOCKET_ERROR() uv_translate_sys_error(errno)
#endif

/* The option that holds the type of service, by the family of the socket. */
static inline int pyuvnet_tos_option(const uv_tcp_t* tcp, int* level, int* name) {
  struct sockaddr_storage address;
  int size = sizeof address;
  int status = uv_tcp_getsockname(tcp, (struct sockaddr*) &address, &size);
  if (status < 0) return status;
  *level = address.ss_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
#ifdef IPV6_TCLASS
  *name = address.ss_family == AF_INET6 ? IPV6_TCLASS : IP_TOS;
#else
  if (address.ss_family == AF_INET6) return UV_ENOTSUP;
  *name = IP_TOS;
#endif
  return 0;
}

/* Sets the type of service of a connected or bound socket; returns a libuv status. */
static inline int pyuvnet_set_tos(const uv_tcp_t* tcp, int value) {
  uv_os_fd_t fd;
  int level = 0, name = 0;
  int status = uv_fileno((const uv_handle_t*) tcp, &fd);
  if (status == 0) status = pyuvnet_tos_option(tcp, &level, &name);
  if (status < 0) return status;
  if (setsockopt((pyuvnet_socket) fd, level, name, (const char*) &value, sizeof value) != 0)
    return PYUVNET_SOCKET_ERROR();
  return 0;
}

/* What the kernel knows of a TCP connection: its struct tcp_info (Linux) or tcp_connection_info
   (macOS), as far as this kernel has it. Returns its size, or a libuv status below 0. */
static inline int pyuvnet_tcp_info(const uv_handle_t* handle, char* info, int room) {
#if defined(__linux__) || defined(__APPLE__)
  uv_os_fd_t fd;
  socklen_t size = (socklen_t) room;
  int status = uv_fileno(handle, &fd);
  if (status < 0) return status;
#ifdef __linux__
  status = getsockopt(fd, IPPROTO_TCP, 11 /* TCP_INFO */, info, &size);
#else
  status = getsockopt(fd, IPPROTO_TCP, 0x106 /* TCP_CONNECTION_INFO */, info, &size);
#endif
  return status != 0 ? PYUVNET_SOCKET_ERROR() : (int) size;
#else
  (void) handle, (void) info, (void) room;
  return UV_ENOTSUP;
#endif
}

/* The accepted connections that wait in the kernel, and how many may. Returns a libuv status. */
static inline int pyuvnet_accept_queue(const uv_handle_t* handle, int* length, int* limit) {
#ifdef __linux__
  unsigned int info[8];
  int size = pyuvnet_tcp_info(handle, (char*) info, sizeof info);
  if (size < 0) return size;
  if (size < (int) sizeof info) return UV_ENOTSUP;
  /* tcpi_unacked and tcpi_sacked, which a listener uses for these. */
  *length = (int) info[6];
  *limit = (int) info[7];
  return 0;
#else
  (void) handle, (void) length, (void) limit;
  return UV_ENOTSUP;
#endif
}

/* The limit of a listener's queue, -1 if the socket does not listen. Where the system does not tell,
   it is the largest, which listen() takes as its own. */
static inline int pyuvnet_present_backlog(const uv_handle_t* handle) {
#ifdef SO_ACCEPTCONN
  uv_os_fd_t fd;
  int listens = 0, length, limit;
  socklen_t size = sizeof listens;
  if (uv_fileno(handle, &fd) < 0) return -1;
  if (getsockopt((pyuvnet_socket) fd, SOL_SOCKET, SO_ACCEPTCONN, (char*) &listens, &size) != 0)
    return -1;
  if (!listens) return -1;
  return pyuvnet_accept_queue(handle, &length, &limit) < 0 ? INT_MAX : limit;
#else
  (void) handle;
  return -1;
#endif
}

/* How many bytes the kernel has taken for a socket and the peer has not acknowledged (unix sockets:
   not read), or a libuv status below 0. */
static inline int pyuvnet_unsent(const uv_handle_t* handle) {
#if defined(__linux__) || defined(__APPLE__)
  uv_os_fd_t fd;
  int count = 0;
  int status = uv_fileno(handle, &fd);
  if (status < 0) return status;
#ifdef __linux__
  status = ioctl(fd, SIOCOUTQ, &count);
#else
  {
    socklen_t size = sizeof count;
    status = getsockopt(fd, SOL_SOCKET, SO_NWRITE, &count, &size);
  }
#endif
  return status != 0 ? PYUVNET_SOCKET_ERROR() : count;
#else
  (void) handle;
  return UV_ENOTSUP;
#endif
}

/* Returns the type of service, or a libuv status below 0. */
static inline int pyuvnet_get_tos(const uv_tcp_t* tcp) {
  uv_os_fd_t fd;
  int level = 0, name = 0, value = 0;
  socklen_t size = sizeof value;
  int status = uv_fileno((const uv_handle_t*) tcp, &fd);
  if (status == 0) status = pyuvnet_tos_option(tcp, &level, &name);
  if (status < 0) return status;
  if (getsockopt((pyuvnet_socket) fd, level, name, (char*) &value, &size) != 0)
    return PYUVNET_SOCKET_ERROR();
  return value;
}

/* Sets, or reads into `value`, any option of a handle's socket; returns a libuv status. */
static inline int pyuvnet_set_option(const uv_handle_t* handle, int level, int name,
                                     const void* value, size_t size) {
  uv_os_fd_t fd;
  int status = uv_fileno(handle, &fd);
  if (status < 0) return status;
  if (setsockopt((pyuvnet_socket) fd, level, name, (const char*) value, (socklen_t) size) != 0)
    return PYUVNET_SOCKET_ERROR();
  return 0;
}

static inline int pyuvnet_get_option(const uv_handle_t* handle, int level, int name, void* value,
                                     size_t* size) {
  uv_os_fd_t fd;
  socklen_t length = (socklen_t) *size;
  int status = uv_fileno(handle, &fd);
  if (status < 0) return status;
  if (getsockopt((pyuvnet_socket) fd, level, name, (char*) value, &length) != 0)
    return PYUVNET_SOCKET_ERROR();
  *size = (size_t) length;
  return 0;
}

/* Another descriptor of a socket, which programs that are started do not inherit, or a status. */
static inline int pyuvnet_duplicate(int fd) {
#ifdef _WIN32
  (void) fd;
  return UV_ENOTSUP;
#else
  int made = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return made < 0 ? PYUVNET_SOCKET_ERROR() : made;
#endif
}

/* Closes a descriptor that no handle has: such a duplicate, or one that another process sent. */
static inline void pyuvnet_close_descriptor(int fd) {
#ifdef _WIN32
  (void) fd;
#else
  close(fd);
#endif
}

/* Who is at the other end of a unix socket, as it was when that connected or listened; returns a
 * libuv status, UV_ENOTSUP where the system does not say. */
static inline int pyuvnet_peer_credentials(const uv_handle_t* handle, long long* pid,
                                           long long* uid, long long* gid) {
#if defined(__linux__)
  struct { int pid; unsigned int uid, gid; } found;
  size_t size = sizeof found;
  int status = pyuvnet_get_option(handle, SOL_SOCKET, SO_PEERCRED, &found, &size);
  if (status < 0) return status;
  *pid = found.pid;
  *uid = found.uid;
  *gid = found.gid;
  return 0;
#elif defined(__APPLE__)
  uv_os_fd_t fd;
  uid_t user;
  gid_t group;
  int process;
  size_t size = sizeof process;
  int status = uv_fileno(handle, &fd);
  if (status < 0) return status;
  if (getpeereid(fd, &user, &group) != 0) return PYUVNET_SOCKET_ERROR();
  /* SOL_LOCAL and LOCAL_PEERPID. */
  status = pyuvnet_get_option(handle, 0, 2, &process, &size);
  if (status < 0) return status;
  *pid = process;
  *uid = user;
  *gid = group;
  return 0;
#else
  (void) handle;
  (void) pid;
  (void) uid;
  (void) gid;
  return UV_ENOTSUP;
#endif
}

/* Whether the kernel holds bytes that were received and not read; 0 where that is not known. */
static inline int pyuvnet_has_unread(int fd) {
#if defined(_WIN32) || !defined(FIONREAD)
  (void) fd;
  return 0;
#else
  int size = 0;
  return fd >= 0 && ioctl(fd, FIONREAD, &size) == 0 && size > 0;
#endif
}

#endif
