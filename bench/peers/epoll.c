/* Peer: an echo server on epoll itself, without any library; the load generator is shown against
 * it. Takes each message with one recv() and answers it with one send().
 *
 *     epoll MODE [PATH]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SIZE = 128 * 1024, EVENTS = 512, LIMIT = 110000, BACKLOG = 4096 };

/* What the kernel did not take of an answer; reading stops until it is gone. */
static struct { char *data; size_t length; } rest[LIMIT];
static int poller;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void watch(int fd, int operation, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(poller, operation, fd, &event)) die("epoll_ctl");
}

static void end(int fd) {
  free(rest[fd].data);
  rest[fd].data = NULL;
  close(fd);
}

static void on_readable(int fd) {
  static char buffer[SIZE];
  ssize_t n = recv(fd, buffer, sizeof buffer, 0), sent = 0;
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    end(fd);
    return;
  }
  sent = send(fd, buffer, n, MSG_NOSIGNAL);
  if (sent == n) return;
  if (sent < 0 && errno != EAGAIN) {
    end(fd);
    return;
  }
  if (sent < 0) sent = 0;
  rest[fd].length = n - sent;
  rest[fd].data = malloc(n - sent);
  memcpy(rest[fd].data, buffer + sent, n - sent);
  watch(fd, EPOLL_CTL_MOD, EPOLLOUT);
}

static void on_writable(int fd) {
  ssize_t n = send(fd, rest[fd].data, rest[fd].length, MSG_NOSIGNAL);
  if (n < 0) {
    if (errno != EAGAIN) end(fd);
    return;
  }
  rest[fd].length -= n;
  memmove(rest[fd].data, rest[fd].data + n, rest[fd].length);
  if (rest[fd].length) return;
  free(rest[fd].data);
  rest[fd].data = NULL;
  watch(fd, EPOLL_CTL_MOD, EPOLLIN);
}

int main(int argc, char **argv) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_un named = {.sun_family = AF_UNIX};
  struct epoll_event events[EVENTS];
  socklen_t length = sizeof address;
  int on = 1, is_tcp = argc < 3 || !*argv[2], listener;
  if (argc < 2 || (strcmp(argv[1], "echo") && strcmp(argv[1], "pipe"))) {
    printf("unsupported: the server on epoll itself only echoes\n");
    return 3;
  }
  listener = socket(is_tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (!is_tcp) strncpy(named.sun_path, argv[2], sizeof named.sun_path - 1);
  if (is_tcp ? bind(listener, (struct sockaddr *)&address, sizeof address)
             : bind(listener, (struct sockaddr *)&named, sizeof named))
    die("bind");
  if (listen(listener, BACKLOG)) die("listen");
  if (is_tcp) getsockname(listener, (struct sockaddr *)&address, &length);
  poller = epoll_create1(0);
  watch(listener, EPOLL_CTL_ADD, EPOLLIN);
  printf("%d\n", is_tcp ? ntohs(address.sin_port) : 0);
  fflush(stdout);
  for (;;) {
    int n = epoll_wait(poller, events, EVENTS, -1);
    if (n < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd != listener) {
        events[i].events & EPOLLOUT ? on_writable(fd) : on_readable(fd);
        continue;
      }
      fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
      if (fd < 0) continue;
      if (fd >= LIMIT) die("too many connections");
      if (is_tcp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      watch(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
  }
}
