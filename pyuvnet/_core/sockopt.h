/* The socket options that libuv has no call for. */
#ifndef PYUVNET_SOCKOPT_H
#define PYUVNET_SOCKOPT_H

#include <uv.h>

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
typedef SOCKET pyuvnet_socket;
#define PYUVNET_SOCKET_ERROR() uv_translate_sys_error(WSAGetLastError())
#else
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>
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
  int level, name;
  int status = uv_fileno((const uv_handle_t*) tcp, &fd);
  if (status == 0) status = pyuvnet_tos_option(tcp, &level, &name);
  if (status < 0) return status;
  if (setsockopt((pyuvnet_socket) fd, level, name, (const char*) &value, sizeof value) != 0)
    return PYUVNET_SOCKET_ERROR();
  return 0;
}

/* Returns the type of service, or a libuv status below 0. */
static inline int pyuvnet_get_tos(const uv_tcp_t* tcp) {
  uv_os_fd_t fd;
  int level, name, value = 0;
  socklen_t size = sizeof value;
  int status = uv_fileno((const uv_handle_t*) tcp, &fd);
  if (status == 0) status = pyuvnet_tos_option(tcp, &level, &name);
  if (status < 0) return status;
  if (getsockopt((pyuvnet_socket) fd, level, name, (char*) &value, &size) != 0)
    return PYUVNET_SOCKET_ERROR();
  return value;
}

#endif
