/* System calls that fail on demand: loaded before the C library (LD_PRELOAD) by test_faults.py.
 *
 * A program gives rules to faults_load(), as text (see parse() below):
 *
 *     write cap=1000 chance=50 seed=7; accept4 error=24 after=2 times=5
 *
 * A rule concerns one function; of the calls that it sees, it lets the first `after` pass, then it
 * strikes each `every`th, or `chance` percent of them, `times` at most. To strike is to wait
 * `delay` ms, and then to fail with `error` without asking the kernel, or to pass `cap` bytes on at
 * most, or, with neither, just to pass. Only sockets of the main thread are concerned, `fd` alone
 * if it is given; peers of a test live in other threads. getaddrinfo runs anywhere.
 *
 * The shim also counts what passed through it, so that a test can hold what a program was told
 * against what the kernel took. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MAX_RULES = 16, NAME_SIZE = 20 };

typedef struct rule {
  char function[NAME_SIZE];
  long error, cap, delay, after, every, times, chance, fd;
  uint64_t seed;
  long seen, hits;
} rule;

static rule rules[MAX_RULES];
static int rule_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_long taken, given, calls;

/* One rule; returns whether it can be understood. */
static int parse(char* text, rule* made) {
  char* rest = NULL;
  char* word = strtok_r(text, " ", &rest);

  memset(made, 0, sizeof(*made));
  made->every = made->seed = 1;
  made->fd = -1;
  if (word == NULL || strlen(word) >= NAME_SIZE) return 0;
  strcpy(made->function, word);
  while ((word = strtok_r(NULL, " ", &rest)) != NULL) {
    char* equals = strchr(word, '=');
    long value;
    if (equals == NULL) return 0;
    *equals = 0;
    value = strtol(equals + 1, NULL, 10);
    if (!strcmp(word, "error")) made->error = value;
    else if (!strcmp(word, "cap")) made->cap = value;
    else if (!strcmp(word, "delay")) made->delay = value;
    else if (!strcmp(word, "after")) made->after = value;
    else if (!strcmp(word, "every")) made->every = value;
    else if (!strcmp(word, "times")) made->times = value;
    else if (!strcmp(word, "chance")) made->chance = value;
    else if (!strcmp(word, "seed")) made->seed = (uint64_t)value * 2 + 1;
    else if (!strcmp(word, "fd")) made->fd = value;
    else return 0;
  }
  return 1;
}

/* Replaces all rules; returns how many there are, or -1. */
int faults_load(const char* text) {
  char copy[2048];
  char* rest = NULL;
  char* one;
  int count = 0;

  if (strlen(text) >= sizeof(copy)) return -1;
  strcpy(copy, text);
  pthread_mutex_lock(&lock);
  for (one = strtok_r(copy, ";", &rest); one != NULL; one = strtok_r(NULL, ";", &rest)) {
    if (count == MAX_RULES || !parse(one, &rules[count++])) {
      count = -1;
      break;
    }
  }
  rule_count = count < 0 ? 0 : count;
  pthread_mutex_unlock(&lock);
  return count;
}

/* How often a rule struck, since it was loaded. */
long faults_hits(int index) { return index < rule_count ? rules[index].hits : -1; }
/* What the kernel took from writes to sockets, gave to reads, and how many calls those were. */
long faults_taken(void) { return taken; }
long faults_given(void) { return given; }
long faults_calls(void) { return calls; }
void faults_reset(void) { taken = given = calls = 0; }

static uint64_t random_of(rule* of) {
  of->seed ^= of->seed << 13;
  of->seed ^= of->seed >> 7;
  of->seed ^= of->seed << 17;
  return of->seed;
}

static int main_thread(void) { return syscall(SYS_gettid) == getpid(); }

static int is_socket(int fd) {
  int type, error = errno;
  socklen_t size = sizeof(type);
  int (*ask)(int, int, int, void*, socklen_t*) = dlsym(RTLD_NEXT, "getsockopt");
  int answer = ask(fd, SOL_SOCKET, SO_TYPE, &type, &size);
  errno = error;
  return answer == 0;
}

/* The error a call has to fail with, or 0; *cap is what it may pass on, if a rule limits that. */
static long strike(const char* function, int fd, size_t* cap) {
  struct timespec pause = {0, 0};
  long error = 0;
  int index;

  if (rule_count == 0) return 0;
  pthread_mutex_lock(&lock);
  for (index = 0; index < rule_count && !error; index++) {
    rule* of = &rules[index];
    long number;
    if (strcmp(of->function, function) || (of->fd >= 0 && of->fd != fd)) continue;
    number = of->seen++ - of->after;
    if (number < 0 || (of->times && of->hits >= of->times)) continue;
    if (of->chance ? (long)(random_of(of) % 100) >= of->chance : (number + 1) % of->every) continue;
    of->hits++;
    pause.tv_sec = of->delay / 1000;
    pause.tv_nsec = of->delay % 1000 * 1000000;
    error = of->error;
    if (of->cap && cap != NULL && (size_t)of->cap < *cap) *cap = of->cap;
  }
  pthread_mutex_unlock(&lock);
  if (pause.tv_sec || pause.tv_nsec) nanosleep(&pause, NULL);
  return error;
}

/* Defines `real`, the function that was asked for. */
#define REAL(type, name, ...)                                  \
  static type (*real)(__VA_ARGS__);                            \
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, #name);
/* Leaves with -1 if a rule says so; may lower the cap. */
#define FAIL_IF_STRUCK(name, fd, cap)                          \
  if (main_thread()) {                                         \
    long error = strike(name, fd, cap);                        \
    if (error) {                                               \
      errno = (int)error;                                      \
      return -1;                                               \
    }                                                          \
  }

ssize_t read(int fd, void* data, size_t size) {
  REAL(ssize_t, read, int, void*, size_t)
  ssize_t answer;
  if (!is_socket(fd)) return real(fd, data, size);
  FAIL_IF_STRUCK("read", fd, &size)
  answer = real(fd, data, size);
  if (answer > 0) given += answer;
  calls++;
  return answer;
}

ssize_t write(int fd, const void* data, size_t size) {
  REAL(ssize_t, write, int, const void*, size_t)
  ssize_t answer;
  if (!is_socket(fd)) return real(fd, data, size);
  FAIL_IF_STRUCK("write", fd, &size)
  answer = real(fd, data, size);
  if (answer > 0) taken += answer;
  calls++;
  return answer;
}

ssize_t writev(int fd, const struct iovec* parts, int count) {
  REAL(ssize_t, writev, int, const struct iovec*, int)
  struct iovec some[1024];
  size_t all = 0, cap;
  ssize_t answer;
  int index;

  if (!is_socket(fd) || count > 1024) return real(fd, parts, count);
  for (index = 0; index < count; index++) all += parts[index].iov_len;
  cap = all;
  FAIL_IF_STRUCK("writev", fd, &cap)
  memcpy(some, parts, (size_t)count * sizeof(*parts));
  for (index = 0; index < count && cap < all; index++) {
    if (cap <= some[index].iov_len) {
      some[index].iov_len = cap;
      count = index + 1;
    } else {
      cap -= some[index].iov_len;
      all -= some[index].iov_len;
    }
  }
  answer = real(fd, some, count);
  if (answer > 0) taken += answer;
  calls++;
  return answer;
}

/* Rules for "splice_in" concern what comes out of a socket, for "splice_out" what goes into one. */
ssize_t splice(int from, off_t* from_at, int to, off_t* to_at, size_t size, unsigned int flags) {
  REAL(ssize_t, splice, int, off_t*, int, off_t*, size_t, unsigned int)
  int out = is_socket(to);
  ssize_t answer;
  FAIL_IF_STRUCK(out ? "splice_out" : "splice_in", out ? to : from, &size)
  answer = real(from, from_at, to, to_at, size, flags);
  if (answer > 0 && out) taken += answer;
  if (answer > 0 && !out) given += answer;
  calls++;
  return answer;
}

int accept4(int fd, struct sockaddr* address, socklen_t* size, int flags) {
  REAL(int, accept4, int, struct sockaddr*, socklen_t*, int)
  FAIL_IF_STRUCK("accept4", fd, NULL)
  return real(fd, address, size, flags);
}

int socket(int domain, int type, int protocol) {
  REAL(int, socket, int, int, int)
  FAIL_IF_STRUCK("socket", -1, NULL)
  return real(domain, type, protocol);
}

int connect(int fd, const struct sockaddr* address, socklen_t size) {
  REAL(int, connect, int, const struct sockaddr*, socklen_t)
  FAIL_IF_STRUCK("connect", fd, NULL)
  return real(fd, address, size);
}

int bind(int fd, const struct sockaddr* address, socklen_t size) {
  REAL(int, bind, int, const struct sockaddr*, socklen_t)
  FAIL_IF_STRUCK("bind", fd, NULL)
  return real(fd, address, size);
}

int listen(int fd, int backlog) {
  REAL(int, listen, int, int)
  FAIL_IF_STRUCK("listen", fd, NULL)
  return real(fd, backlog);
}

int shutdown(int fd, int how) {
  REAL(int, shutdown, int, int)
  FAIL_IF_STRUCK("shutdown", fd, NULL)
  return real(fd, how);
}

int setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
  REAL(int, setsockopt, int, int, int, const void*, socklen_t)
  FAIL_IF_STRUCK("setsockopt", fd, NULL)
  return real(fd, level, name, value, size);
}

int getsockname(int fd, struct sockaddr* address, socklen_t* size) {
  REAL(int, getsockname, int, struct sockaddr*, socklen_t*)
  FAIL_IF_STRUCK("getsockname", fd, NULL)
  return real(fd, address, size);
}

int getpeername(int fd, struct sockaddr* address, socklen_t* size) {
  REAL(int, getpeername, int, struct sockaddr*, socklen_t*)
  FAIL_IF_STRUCK("getpeername", fd, NULL)
  return real(fd, address, size);
}

int epoll_create1(int flags) {
  REAL(int, epoll_create1, int)
  FAIL_IF_STRUCK("epoll_create1", -1, NULL)
  return real(flags);
}

int eventfd(unsigned int count, int flags) {
  REAL(int, eventfd, unsigned int, int)
  FAIL_IF_STRUCK("eventfd", -1, NULL)
  return real(count, flags);
}

int epoll_pwait(int fd, struct epoll_event* events, int size, int timeout, const sigset_t* mask) {
  REAL(int, epoll_pwait, int, struct epoll_event*, int, int, const sigset_t*)
  size_t cap = (size_t)size;
  FAIL_IF_STRUCK("epoll_pwait", fd, &cap)
  return real(fd, events, (int)cap, timeout, mask);
}

/* `error` is getaddrinfo's own here, below 0; with EAI_SYSTEM, errno is EMFILE. */
int getaddrinfo(const char* node, const char* service, const struct addrinfo* hints,
                struct addrinfo** found) {
  REAL(int, getaddrinfo, const char*, const char*, const struct addrinfo*, struct addrinfo**)
  long error = strike("getaddrinfo", -1, NULL);
  if (error) {
    errno = EMFILE;
    return (int)error;
  }
  return real(node, service, hints, found);
}
