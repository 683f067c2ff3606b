/* The load generator: one thread, epoll, every byte verified.
 *
 *     load MODE NAME=VALUE...              drive a server and print one line of JSON
 *     load start NAME=VALUE... -- COMMAND  time a server from fork() to its first answer
 *     load pin CPU -- COMMAND              run a command on one CPU; it dies with its parent
 *
 * MODE echo       requests on kept connections; the server sends back what it gets
 *      paced      the same at a fixed rate, whether or not the server keeps up
 *      burst      the same while other connections come as fast as they can
 *      churn      connect, one request, half-close, wait for the server's end
 *      receive    the server sends without end
 *      send       we send without end; then the server tells how many bytes it got
 *      broadcast  what the last connection sends comes back on each
 *      idle       memory of the server for each connection that does nothing
 *
 * Each connection's stream is a run of a fixed pattern that begins elsewhere than its neighbour's,
 * so a byte that is lost, doubled or sent to another connection is seen. The server's CPU time is
 * read from its clock here, at the first and last instant of the measured time.
 *
 * With a fixed rate each request has a time at which it is due, and its latency counts from there:
 * what has to wait behind a slow answer, or for the load generator itself, is late by that much.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
  BINARY_PERIOD = 131071,      /* a prime, so that no message begins where the last one did */
  LINE = 64,                   /* bytes in a line of text, its end included */
  PREFIX = 4,                  /* bytes of a frame that hold the length of the others */
  TEXT_PERIOD = LINE * 2039,
  CONTIGUOUS = 1 << 20,        /* the most that is sent by one call */
  READ_SIZE = 256 * 1024,
  CHUNK = 65536,               /* what a server of `receive` sends again and again */
  CHECK_SIZE = LINE * 400,
  SOURCES = 200,               /* addresses 127.0.1.1 and on: each has ports of its own */
  EVENTS = 512,
  WARMUP_PATIENCE = 4,         /* times the warm-up on the clock, where the server gets less CPU */
  STALL_MS = 10000,
  BACKLOG_DEPTH = 1024,        /* requests that a connection may be behind at a fixed rate */
  BURST_UNANSWERED = 1024,     /* of a burst under way at a time: no server's backlog overflows */
  BURST_STEP = 4,              /* of a burst opened before the next look at what is due */
};

static const struct { const char *name, *preset; } OPTIONS[] = {
  {"port", "0"},       {"path", ""},          {"size", "1024"},  {"connections", "10"},
  {"depth", "1"},      {"idle", "0"},         {"warmup", "0.1"}, {"seconds", "0.5"},
  {"messages", "0"},   {"pid", "0"},          {"other", "0"},    {"text", "0"},
  {"cpus", ""},        {"check", "1"},        {"cpu", "-1"},     {"frame", "0"},
  {"rate", "0"},       {"burst", "0"},
};
enum { OPTION_COUNT = sizeof OPTIONS / sizeof *OPTIONS };
static const char *values[OPTION_COUNT];

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}

static const char *option(const char *name) {
  for (int i = 0; i < OPTION_COUNT; i++)
    if (!strcmp(OPTIONS[i].name, name)) return values[i] ? values[i] : OPTIONS[i].preset;
  abort();
}

static long number(const char *name) { return atol(option(name)); }

/* Clocks and what the kernel counts */

static int64_t clock_ns(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time)) fail("the server has ended");
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static int64_t process_ns(long pid) {
  clockid_t clock;
  if (pid <= 0) return 0;
  if (clock_getcpuclockid(pid, &clock)) fail("the server has ended");
  return clock_ns(clock);
}

/* Nanoseconds that a process's first thread stood in the queue of a CPU. */
static int64_t queued_ns(long pid) {
  char path[64];
  int64_t ran, queued = 0;
  snprintf(path, sizeof path, "/proc/%ld/schedstat", pid);
  FILE *file = fopen(path, "r");
  if (!file) return 0;
  if (fscanf(file, "%" SCNd64 " %" SCNd64, &ran, &queued) != 2) queued = 0;
  fclose(file);
  return queued;
}

/* Nanoseconds that the CPUs we use were busy or taken away by the hypervisor; in ticks of 10 ms. */
static int64_t machine_ns(void) {
  char line[512];
  int64_t total = 0;
  FILE *file = fopen("/proc/stat", "r");
  if (!file) return 0;
  while (fgets(line, sizeof line, file)) {
    int cpu;
    unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
    if (sscanf(line, "cpu%d %llu %llu %llu %llu %llu %llu %llu %llu", &cpu, &user, &nice, &system,
               &idle, &iowait, &irq, &softirq, &steal) != 9)
      continue;
    const char *wanted = option("cpus");
    while (*wanted) {
      char *end;
      if (strtol(wanted, &end, 10) == cpu) total += user + nice + system + irq + softirq + steal;
      wanted = *end == ',' ? end + 1 : end;
    }
  }
  fclose(file);
  return total * (1000000000LL / sysconf(_SC_CLK_TCK));
}

static long resident_bytes(long pid) {
  char path[64], line[128];
  long kib = 0;
  snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", pid);
  FILE *file = fopen(path, "r");
  if (!file) fail("cannot read %s", path);
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "Rss: %ld", &kib) == 1) break;
  fclose(file);
  return kib * 1024;
}

struct instant { int64_t time, server, other, own, machine, queued; uint64_t done, bytes; };

static uint64_t done, bytes; /* units finished and payload bytes moved, since the beginning */
static struct instant first, last;

static struct instant take(void) {
  struct instant at;
  at.machine = machine_ns();
  at.queued = queued_ns(number("pid"));
  at.other = process_ns(number("other"));
  at.own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  at.server = process_ns(number("pid"));
  at.time = now_ns();
  at.done = done;
  at.bytes = bytes;
  return at;
}

/* Latencies: a histogram whose buckets are 1/64 of their value wide */

enum { FINE = 64 };
static uint64_t latencies[64 * FINE], delays[64 * FINE]; /* of answers, and of what we sent too late */
static int64_t longest;
static bool measuring;

static void note(uint64_t *histogram, int64_t ns) {
  if (!measuring) return;
  if (ns < 1) ns = 1;
  int power = 63 - __builtin_clzll(ns);
  int shift = power > 6 ? power - 6 : 0;
  histogram[shift * FINE + (ns >> shift)]++;
}

static void note_latency(int64_t ns) {
  note(latencies, ns);
  if (measuring && ns > longest) longest = ns;
}

static double percentile_us(const uint64_t *histogram, double share) {
  uint64_t total = 0, seen = 0;
  for (int i = 0; i < 64 * FINE; i++) total += histogram[i];
  uint64_t wanted = (uint64_t)(total * share);
  for (int i = 0; i < 64 * FINE; i++) {
    seen += histogram[i];
    if (seen > wanted) {
      /* Bucket i holds values of (i - shift * FINE) << shift; above the first 128, 64 to 127. */
      int shift = i < 2 * FINE ? 0 : i / FINE - 1;
      return ((double)(i - shift * FINE) + 0.5) * (double)(1ULL << shift) / 1000;
    }
  }
  return 0;
}

/* The payload */

static char *pattern;
static size_t period;

static uint32_t next_random(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  return *state ^= *state << 5;
}

/* Lines of letters with some characters of two and three bytes, each of 64 bytes. */
static void fill_text(char *out, uint32_t *state) {
  static const char *const wide[] = {"ü", "é", "€", "ß"};
  for (size_t line = 0; line < TEXT_PERIOD; line += LINE) {
    size_t i = 0;
    while (i < LINE - 1) {
      const char *character = wide[next_random(state) % 4];
      size_t length = strlen(character);
      if (next_random(state) % 16 == 0 && i + length <= LINE - 1) {
        memcpy(out + line + i, character, length);
        i += length;
      } else {
        out[line + i++] = 'a' + next_random(state) % 26;
      }
    }
    out[line + LINE - 1] = '\n';
  }
}

/* Of which everything consists: a line, a frame, or nothing. */
static size_t unit(void) { return number("text") ? LINE : (size_t)number("frame"); }

/* Frames of one size, each with the length of the rest in its first four bytes. */
static void fill_frames(char *out, uint32_t *state) {
  size_t frame = unit(), length = frame - PREFIX;
  for (size_t at = 0; at < period; at += frame) {
    for (int i = 0; i < PREFIX; i++) out[at + i] = (char)(length >> 8 * (PREFIX - 1 - i) & 255);
    for (size_t i = PREFIX; i < frame; i++) out[at + i] = (char)next_random(state);
  }
}

static void make_pattern(bool chunks) {
  uint32_t state = 2463534242u;
  period = chunks ? CHUNK : number("text") ? TEXT_PERIOD : BINARY_PERIOD;
  if (number("frame")) period -= period % unit();
  pattern = malloc(period + CONTIGUOUS);
  if (chunks)
    for (size_t i = 0; i < period; i++) pattern[i] = (char)((i * 31 + (i >> 8)) & 255);
  else if (number("text"))
    fill_text(pattern, &state);
  else if (number("frame"))
    fill_frames(pattern, &state);
  else
    for (size_t i = 0; i < period; i++) pattern[i] = (char)next_random(&state);
  for (size_t i = period; i < period + CONTIGUOUS; i++) pattern[i] = pattern[i - period];
}

/* Connections */

struct connection {
  int fd;
  bool waits_to_send;
  uint64_t base;                   /* where in the pattern its stream begins */
  uint64_t sent, may_send, got, next; /* stream positions; `next` ends the message awaited */
  uint32_t begun, ended;           /* counters of messages */
  int64_t *started;                /* times, a ring of `depth` */
};

static struct connection *connections;
static int poller;
static char *buffer;
static long size, depth, count;

static int open_socket(int index) {
  const char *path = option("path");
  int fd, on = 1;
  if (*path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
      fail("connect to %s: %s", path, strerror(errno));
    return fd;
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(number("port")),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in from = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(0x7f000101 + index % SOURCES)};
  fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket: %s", strerror(errno));
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&from, sizeof from)) fail("bind: %s", strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd, (struct sockaddr *)&to, sizeof to)) fail("connect: %s", strerror(errno));
  return fd;
}

static void limit_wait(int fd) {
  struct timeval limit = {.tv_sec = STALL_MS / 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static void watch(struct connection *c, bool sending, int operation) {
  struct epoll_event event = {.events = EPOLLIN | (sending ? EPOLLOUT : 0), .data.ptr = c};
  if (epoll_ctl(poller, operation, c->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
  c->waits_to_send = sending;
}

static void begin(struct connection *c, int index) {
  memset(c, 0, sizeof *c);
  c->fd = open_socket(index);
  c->base = unit() ? (uint64_t)index * 7 * unit() : (uint64_t)index * 7919;
  c->started = malloc(depth * sizeof *c->started);
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  watch(c, false, EPOLL_CTL_ADD);
}

static void verify(const struct connection *c, uint64_t position, const char *data, size_t length) {
  if (memcmp(data, pattern + (c->base + position) % period, length))
    fail("connection %d got other bytes than were sent", (int)(c - connections));
}

static void flush(struct connection *c) {
  while (c->sent < c->may_send) {
    size_t length = c->may_send - c->sent;
    if (length > CONTIGUOUS) length = CONTIGUOUS;
    ssize_t n = send(c->fd, pattern + (c->base + c->sent) % period, length, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) fail("send: %s", strerror(errno));
    if (n > 0) c->sent += n;
    if (n < (ssize_t)length) {
      if (!c->waits_to_send) watch(c, true, EPOLL_CTL_MOD);
      return;
    }
  }
  if (c->waits_to_send) watch(c, false, EPOLL_CTL_MOD);
}

static void ask(struct connection *c, int messages, int64_t time) {
  for (int i = 0; i < messages; i++) c->started[c->begun++ % depth] = time;
  c->may_send += (uint64_t)messages * size;
  flush(c);
}

/* Reads what is there once; 0 when there was nothing. */
static ssize_t receive(struct connection *c) {
  ssize_t n = recv(c->fd, buffer, READ_SIZE, 0);
  if (n == 0) fail("the server closed a connection");
  if (n < 0) {
    if (errno == EAGAIN) return 0;
    fail("recv: %s", strerror(errno));
  }
  verify(c, c->got, buffer, n);
  c->got += n;
  bytes += n;
  return n;
}

/* One connection and pieces of odd sizes: does it echo at all, and close after us if asked? */
static void check_echo(bool with_end) {
  struct connection c = {.fd = open_socket(SOURCES - 1)};
  uint32_t state = 88172645u;
  uint64_t sent = 0, whole = CHECK_SIZE;
  if (unit()) whole -= whole % unit();
  limit_wait(c.fd);
  while (sent < whole) {
    size_t length = 1 + next_random(&state) % 900;
    if (length > whole - sent) length = whole - sent;
    if (send(c.fd, pattern + sent % period, length, MSG_NOSIGNAL) != (ssize_t)length)
      fail("check: send: %s", strerror(errno));
    sent += length;
  }
  while (c.got < whole) {
    ssize_t n = recv(c.fd, buffer, READ_SIZE, 0);
    if (n <= 0) fail("check: the server sent back %" PRIu64 " bytes of %" PRIu64, c.got, whole);
    if (c.got + n > whole || memcmp(buffer, pattern + c.got % period, n))
      fail("check: the server sent other bytes than it got");
    c.got += n;
  }
  if (with_end) {
    shutdown(c.fd, SHUT_WR);
    if (recv(c.fd, buffer, READ_SIZE, 0) != 0) fail("check: the server did not close after us");
  }
  close(c.fd);
}

/* The modes' answers to events */

static void on_echo(struct connection *c, uint32_t events) {
  if (events & EPOLLOUT) flush(c);
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || !receive(c)) return;
  int finished = 0;
  int64_t time = 0;
  while (c->got >= c->next) {
    if (!time) time = now_ns();
    note_latency(time - c->started[c->ended++ % depth]);
    c->next += size;
    finished++;
  }
  if (!finished) return;
  done += finished;
  ask(c, finished, time);
}

/* The last connection sends: once the server has accepted it, it has accepted all. */
static struct connection *publisher;
static uint64_t delivered;

static void on_broadcast(struct connection *c, uint32_t events) {
  if (events & EPOLLOUT) flush(c);
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || !receive(c)) return;
  while (c->got >= c->next) {
    c->next += size;
    done++;
    if (++delivered % count == 0) {
      int64_t time = now_ns();
      note_latency(time - publisher->started[publisher->ended++ % depth]);
      ask(publisher, 1, time);
    }
  }
}

static void on_receive(struct connection *c, uint32_t events) {
  (void)events;
  receive(c);
  done = bytes;
}

static void on_send(struct connection *c, uint32_t events) {
  if (!(events & EPOLLOUT)) fail("the server closed or answered before the end");
  ssize_t n = send(c->fd, pattern + (c->base + c->sent) % period, CHUNK * 4, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) fail("send: %s", strerror(errno));
  if (n > 0) c->sent += n, bytes += n, done = bytes;
}

static void churn_begin(struct connection *c) {
  static int opened;
  int index = c - connections;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  int64_t time = now_ns();
  c->fd = open_socket(opened++);
  c->base = (uint64_t)index * 7919 + opened;
  c->got = 0;
  c->started[0] = time;
  if (send(c->fd, pattern + c->base % period, size, MSG_NOSIGNAL) != size)
    fail("send: %s", strerror(errno));
  if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

static void on_churn(struct connection *c, uint32_t events) {
  (void)events;
  ssize_t n = recv(c->fd, buffer, READ_SIZE, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0) fail("recv: %s", strerror(errno));
  if (n > 0) {
    if (c->got + n > (uint64_t)size) fail("the server sent more than it got");
    verify(c, c->got, buffer, n);
    c->got += n;
    if (c->got == (uint64_t)size) shutdown(c->fd, SHUT_WR);
    return;
  }
  if (c->got != (uint64_t)size) fail("the server closed before it had answered");
  note_latency(now_ns() - c->started[0]);
  close(c->fd);
  done++;
  churn_begin(c);
}

/* Serves events for the warm-up and the measured time (or a number of messages). On a machine that is
 * busy with other things the time goes on until anything at all was finished. */
static void run(void (*on_event)(struct connection *, uint32_t)) {
  struct epoll_event events[EVENTS];
  /* The warm-up is CPU time of the server, which a compiler needs, but not for ever. */
  int64_t warmup = (int64_t)(atof(option("warmup")) * 1e9);
  int64_t begin_at = now_ns() + warmup * WARMUP_PATIENCE;
  int64_t warm_at = process_ns(number("pid")) + warmup;
  int64_t length = (int64_t)(atof(option("seconds")) * 1e9);
  uint64_t messages = number("messages");
  for (;;) {
    int n = epoll_wait(poller, events, EVENTS, STALL_MS);
    if (n < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    if (n == 0) fail("the server did not answer for %d seconds", STALL_MS / 1000);
    for (int i = 0; i < n; i++) on_event(events[i].data.ptr, events[i].events);
    int64_t time = now_ns();
    if (messages) {
      if (!measuring) measuring = true, first = take();
      if (done < messages) continue;
      last = take();
      return;
    }
    if (!measuring && (time >= begin_at || process_ns(number("pid")) >= warm_at)) {
      measuring = true;
      first = take();
      begin_at = first.time;
    } else if (measuring && time >= begin_at + length && done > first.done) {
      last = take();
      return;
    }
  }
}

/* At a fixed rate. Never sleeps: a timer's slack would be a part of what is measured. */

static int64_t pace_begun;
static double pace_ns;       /* between two requests */
static uint64_t paced;       /* requests that were due */

/* Send all requests whose time has come, each on another connection than the one before. */
static void send_due(void) {
  for (;;) {
    int64_t due = pace_begun + (int64_t)(paced * pace_ns);
    struct connection *c = connections + paced % count;
    int64_t late = now_ns() - due;
    if (late < 0) return;
    note(delays, late);
    if (c->begun - c->ended >= (uint32_t)depth) fail("the server does not keep up with the rate");
    ask(c, 1, due);
    paced++;
  }
}

static void on_paced(struct connection *c, uint32_t events) {
  if (events & EPOLLOUT) flush(c);
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || !receive(c)) return;
  int64_t time = now_ns();
  for (; c->got >= c->next; c->next += size, done++) {
    if (c->ended == c->begun) fail("the server sent more than it got");
    note_latency(time - c->started[c->ended++ % depth]);
  }
}

/* The burst: each connection sends one message and waits for the answer. */
static struct connection *newcomers;
static long opened, answered;
static int64_t burst_begun, burst_ended;

static bool is_newcomer(const struct connection *c) {
  return newcomers && c >= newcomers && c < newcomers + number("burst");
}

static void open_some(void) {
  long all = number("burst");
  for (int i = 0; i < BURST_STEP && opened < all && opened - answered < BURST_UNANSWERED; i++) {
    struct connection *c = newcomers + opened;
    begin(c, opened++);
    c->next = size;
    ask(c, 1, now_ns());
  }
}

static void on_newcomer(struct connection *c, uint32_t events) {
  if (events & EPOLLOUT) flush(c);
  if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || !receive(c) || c->got < c->next) return;
  if (c->got > c->next) fail("the server sent more than it got");
  c->next += size;
  if (++answered == number("burst")) burst_ended = now_ns();
}

static void run_paced(bool burst) {
  struct epoll_event events[EVENTS];
  int64_t warmup = (int64_t)(atof(option("warmup")) * 1e9);
  int64_t length = (int64_t)(atof(option("seconds")) * 1e9);
  int64_t warm_at = process_ns(number("pid")) + warmup, progress;
  pace_ns = 1e9 / atof(option("rate"));
  pace_begun = progress = now_ns();
  if (burst) newcomers = calloc(number("burst"), sizeof *newcomers);
  for (;;) {
    send_due();
    if (burst && measuring) open_some();
    int n = epoll_wait(poller, events, EVENTS, 0);
    if (n < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      is_newcomer(c) ? on_newcomer(c, events[i].events) : on_paced(c, events[i].events);
    }
    int64_t time = now_ns();
    if (n > 0) progress = time;
    if (time - progress > STALL_MS * 1000000LL)
      fail("the server did not answer for %d seconds", STALL_MS / 1000);
    if (!measuring && (time - pace_begun >= warmup * WARMUP_PATIENCE ||
                       process_ns(number("pid")) >= warm_at)) {
      measuring = true;
      first = take();
      burst_begun = burst_ended = now_ns();
    } else if (measuring && done > first.done &&
               (burst ? answered == number("burst") : time >= first.time + length)) {
      last = take();
      return;
    }
  }
}

static void report(const char *extra) {
  double wall = last.time - first.time;
  double units = last.done - first.done;
  double server = last.server - first.server, own = last.own - first.own;
  double foreign = last.machine - first.machine - server - own - (last.other - first.other);
  /* /proc/stat counts in ticks: what is less than one for each CPU and end says nothing. */
  double blur = 2e9 / sysconf(_SC_CLK_TCK);
  foreign = foreign > blur ? foreign - blur : 0;
  printf("{\"units\": %.0f, \"bytes\": %.0f, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
         "\"load_busy\": %.4f, \"server_busy\": %.4f, \"foreign\": %.4f, \"queued\": %.4f",
         units, (double)(last.bytes - first.bytes), wall / 1e9, server / 1e9, own / wall,
         server / wall, foreign / wall, (last.queued - first.queued) / wall);
  if (longest)
    printf(", \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f",
           percentile_us(latencies, .5), percentile_us(latencies, .9),
           percentile_us(latencies, .99), percentile_us(latencies, .999),
           longest / 1000.0);
  printf("%s}\n", extra);
}

/* What the servers of `send` answer: a line with the number of bytes they got. */
static void check_received(void) {
  for (int i = 0; i < count; i++) {
    struct connection *c = connections + i;
    char text[32] = "";
    size_t length = 0;
    fcntl(c->fd, F_SETFL, 0);
    limit_wait(c->fd);
    shutdown(c->fd, SHUT_WR);
    while (!strchr(text, '\n')) {
      ssize_t n = recv(c->fd, text + length, sizeof text - 1 - length, 0);
      if (n <= 0) fail("the server did not tell how much it got");
      length += n;
    }
    if (strtoull(text, NULL, 10) != c->sent)
      fail("the server got %s bytes of %" PRIu64, text, c->sent);
  }
}

/* One request over a new connection: everybody who connected before has been accepted then. */
static void round_trip(void) {
  int fd = open_socket(0);
  size_t got = 0;
  limit_wait(fd);
  if (send(fd, pattern, LINE, MSG_NOSIGNAL) != LINE) fail("send: %s", strerror(errno));
  while (got < LINE) {
    ssize_t n = recv(fd, buffer + got, LINE - got, 0);
    if (n <= 0) fail("no answer: %s", n ? strerror(errno) : "closed");
    got += n;
  }
  if (memcmp(buffer, pattern, LINE)) fail("the server sent other bytes than it got");
  close(fd);
}

static void open_idle(long number_of) {
  for (long i = 0; i < number_of; i++) {
    open_socket(i); /* stays open until we end */
    if (i % 500 == 499) round_trip(); /* keeps the server's queue of connections short */
  }
  round_trip();
}

static void mode_idle(void) {
  long pid = number("pid");
  char extra[128];
  open_idle(200); /* what is loaded or allocated once is not counted */
  long before = resident_bytes(pid);
  first = take();
  open_idle(count);
  last = take();
  snprintf(extra, sizeof extra, ", \"each_bytes\": %.1f, \"rss_bytes\": %ld",
           (double)(resident_bytes(pid) - before) / count, resident_bytes(pid));
  report(extra);
}

/* Processes */

static void use_cpu(long cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < 0) return;
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set)) fail("CPU %ld: %s", cpu, strerror(errno));
}

static void pin(char **arguments) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  use_cpu(atol(arguments[0]));
  execvp(arguments[2], arguments + 2);
  fail("%s: %s", arguments[2], strerror(errno));
}

/* From fork() to the line that tells the port, and to the first answer; memory then. */
static void mode_start(char **command) {
  int out[2];
  char line[256] = "", port[16];
  size_t length = 0;
  if (pipe(out)) fail("pipe: %s", strerror(errno));
  int64_t began = now_ns();
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    use_cpu(number("cpu"));
    dup2(out[1], 1);
    execvp(command[0], command);
    fail("%s: %s", command[0], strerror(errno));
  }
  close(out[1]);
  while (!strchr(line, '\n')) {
    ssize_t n = read(out[0], line + length, sizeof line - 1 - length);
    if (n <= 0) fail("%s ended before it listened", command[0]);
    length += n;
  }
  int64_t listening = now_ns();
  double queued = (double)queued_ns(child) / (listening - began);
  long rss = resident_bytes(child);
  snprintf(port, sizeof port, "%d", atoi(line));
  values[0] = port;
  int64_t connecting = now_ns();
  round_trip();
  int64_t answered = now_ns();
  printf("{\"start_ms\": %.3f, \"answer_ms\": %.3f, \"cpu_ms\": %.3f, \"rss_bytes\": %ld, "
         "\"answered_rss_bytes\": %ld, \"queued\": %.4f}\n",
         (listening - began) / 1e6, (listening - began + answered - connecting) / 1e6,
         process_ns(child) / 1e6, rss, resident_bytes(child), queued);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
}

int main(int argc, char **argv) {
  if (argc < 2) fail("which mode?");
  const char *mode = argv[1];
  if (!strcmp(mode, "pin") && argc > 4) pin(argv + 2);
  char **command = NULL;
  for (int i = 2; i < argc && !command; i++) {
    char *equals = strchr(argv[i], '=');
    int known = -1;
    if (!strcmp(argv[i], "--") && i + 1 < argc) {
      command = argv + i + 1;
      break;
    }
    for (int o = 0; equals && o < OPTION_COUNT; o++)
      if (!strncmp(argv[i], OPTIONS[o].name, equals - argv[i]) &&
          strlen(OPTIONS[o].name) == (size_t)(equals - argv[i]))
        known = o;
    if (known < 0) fail("what is %s?", argv[i]);
    values[known] = equals + 1;
  }
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);

  bool echo = !strcmp(mode, "echo"), churn = !strcmp(mode, "churn");
  bool receiving = !strcmp(mode, "receive"), sending = !strcmp(mode, "send");
  bool broadcast = !strcmp(mode, "broadcast");
  bool burst = !strcmp(mode, "burst"), at_a_rate = burst || !strcmp(mode, "paced");
  size = number("size"), depth = number("depth"), count = number("connections");
  if (size < 1 || depth < 1 || count < 1) fail("size, depth and connections are above 0");
  if (number("text") && size % LINE) fail("text comes in lines of %d bytes", LINE);
  if (number("frame") && (number("frame") <= PREFIX || size % number("frame")))
    fail("a message is made of whole frames of more than %d bytes", PREFIX);
  if (size > BINARY_PERIOD) fail("size is at most %d", BINARY_PERIOD);
  buffer = malloc(READ_SIZE);
  make_pattern(receiving);
  if (!strcmp(mode, "start")) return mode_start(command), 0;
  if (!strcmp(mode, "idle")) return mode_idle(), 0;
  if (at_a_rate) {
    if (atof(option("rate")) <= 0) fail("a rate above 0 is needed");
    if (burst && number("burst") < 1) fail("a burst has connections");
    depth = BACKLOG_DEPTH;
  }
  if (!echo && !at_a_rate && !churn && !receiving && !sending && !broadcast) fail("what is %s?", mode);

  if ((echo || at_a_rate || churn) && number("check")) check_echo(churn);
  if (number("idle")) open_idle(number("idle"));
  poller = epoll_create1(EPOLL_CLOEXEC);
  connections = calloc(count, sizeof *connections);
  for (int i = 0; i < count; i++) {
    struct connection *c = connections + i;
    if (churn) {
      c->started = malloc(sizeof *c->started);
    } else {
      begin(c, i);
      if (receiving || broadcast) c->base = 0;
      c->next = size;
      if (sending) watch(c, true, EPOLL_CTL_MOD);
    }
  }
  for (int i = 0; i < count; i++) {
    if (churn) churn_begin(connections + i);
    if (echo) ask(connections + i, depth, now_ns());
  }
  publisher = connections + count - 1;
  if (broadcast) ask(publisher, depth, now_ns());
  if (at_a_rate) {
    char extra[128];
    run_paced(burst);
    snprintf(extra, sizeof extra, ", \"delay_p99_us\": %.1f, \"burst_ms\": %.3f",
             percentile_us(delays, .99), (burst_ended - burst_begun) / 1e6);
    report(extra);
    return 0;
  }
  run(echo ? on_echo : churn ? on_churn : receiving ? on_receive : sending ? on_send : on_broadcast);
  if (sending) check_received();
  report("");
  return 0;
}
