/* Peer: servers in plain C on libuv, the practical ceiling for whatever is built on it.
 *
 *     libuv MODE [PATH] [N]     MODE: echo, writes, lines, read_lines, read_line, frames, pipe,
 *                                     proxy, timed_proxy, send, receive, broadcast,
 *                                     broadcast_text
 *
 * Everything is written with uv_try_write() first; what the kernel does not take is copied into a
 * request, and reading stops until it has left. N: pieces of an answer, or the port behind a proxy.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { READ_SIZE = 128 * 1024, BACKLOG = 4096, MAX_BUFS = 1024, CHUNK = 65536, CHUNKS_PER_TURN = 32,
       IDLE_MS = 60000 };

typedef struct connection {
  union { uv_stream_t stream; uv_tcp_t tcp; uv_pipe_t pipe; } handle; /* first: it is cast */
  struct connection *other;  /* of a proxy */
  struct connection *next, *previous; /* of a broadcast */
  char *line;                /* the beginning of a line or frame whose end has not come */
  size_t line_length;
  unsigned long long received;
  uv_timer_t *timer;         /* of a connection with an idle timeout */
  unsigned long long last;   /* when it was last active, in ms of the loop */
} connection;

typedef struct { uv_write_t request; connection *to, *from; uv_buf_t buf; char data[]; } pending;

static uv_loop_t *loop;
static char read_buffer[READ_SIZE], chunk[CHUNK];
static const char *path;
static int pieces, is_proxy, is_timed;
static uv_read_cb on_data;
static connection clients; /* the ring of all, for a broadcast */

static void check(int status, const char *what) {
  if (status >= 0) return;
  fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
  exit(1);
}

static void on_closed(uv_handle_t *handle) {
  connection *c = (connection *)handle;
  free(c->line);
  free(c);
}

static void on_pair_closed(uv_handle_t *handle) {
  connection *c = (connection *)handle;
  if (c->other) c->other->other = NULL;
  on_closed(handle);
}

static void on_timer_closed(uv_handle_t *timer) { free(timer); }

static void stop_timer(connection *c) {
  if (c->timer) uv_close((uv_handle_t *)c->timer, on_timer_closed);
  c->timer = NULL;
}

static void finish(connection *c) {
  uv_handle_t *handle = (uv_handle_t *)c;
  if (uv_is_closing(handle)) return;
  stop_timer(c);
  if (c->other) stop_timer(c->other);
  c->next->previous = c->previous;
  c->previous->next = c->next;
  if (c->other && !uv_is_closing((uv_handle_t *)c->other)) {
    uv_close((uv_handle_t *)c->other, on_pair_closed);
  }
  uv_close(handle, c->other ? on_pair_closed : on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)handle, (void)suggested;
  *buf = uv_buf_init(read_buffer, READ_SIZE);
}

static void on_rest_written(uv_write_t *request, int status) {
  pending *rest = (pending *)request;
  connection *from = rest->from;
  if (status == 0 && from && !uv_is_closing((uv_handle_t *)from))
    uv_read_start(&from->handle.stream, on_alloc, on_data);
  free(rest);
}

/* Writes; `from` stops reading until all is gone. */
static void answer(connection *to, connection *from, uv_buf_t *bufs, unsigned count) {
  size_t total = 0, sent = 0;
  unsigned i;
  int n = uv_try_write(&to->handle.stream, bufs, count);
  if (n < 0 && n != UV_EAGAIN) {
    finish(to);
    return;
  }
  for (i = 0; i < count; i++) total += bufs[i].len;
  if (n > 0) sent = n;
  if (sent == total) return;
  pending *rest = malloc(sizeof *rest + total - sent);
  char *out = rest->data;
  for (i = 0; i < count; i++) {
    size_t skip = sent < bufs[i].len ? sent : bufs[i].len;
    memcpy(out, bufs[i].base + skip, bufs[i].len - skip);
    out += bufs[i].len - skip;
    sent -= skip;
  }
  rest->buf = uv_buf_init(rest->data, out - rest->data);
  rest->to = to;
  rest->from = from;
  if (from) uv_read_stop(&from->handle.stream);
  if (uv_write(&rest->request, &to->handle.stream, &rest->buf, 1, on_rest_written)) {
    free(rest);
    finish(to);
  }
}

static void on_echo(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  connection *c = (connection *)stream;
  if (n > 0) {
    uv_buf_t out = uv_buf_init(buf->base, n);
    answer(c, c, &out, 1);
  } else if (n < 0) {
    finish(c);
  }
}

static void on_writes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  connection *c = (connection *)stream;
  uv_buf_t bufs[MAX_BUFS];
  unsigned count = 0;
  ssize_t at = 0, length = (n + pieces - 1) / pieces;
  for (; at < n; at += length)
    bufs[count++] = uv_buf_init(buf->base + at, n - at < length ? n - at : length);
  if (n > 0) answer(c, c, bufs, count);
  if (n < 0) finish(c);
}

/* Each whole line is a piece of its own; what is begun waits for its end. */
static void on_lines(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  connection *c = (connection *)stream;
  uv_buf_t bufs[MAX_BUFS];
  unsigned count = 0;
  char *at = buf->base, *end = buf->base + n, *newline, *held = c->line;
  if (n < 0) {
    finish(c);
    return;
  }
  while (at < end && (newline = memchr(at, '\n', end - at))) {
    if (c->line_length) {
      bufs[count++] = uv_buf_init(held, c->line_length);
      c->line_length = 0;
      c->line = NULL;
    }
    bufs[count++] = uv_buf_init(at, newline + 1 - at);
    at = newline + 1;
    if (count > MAX_BUFS - 2) {
      answer(c, c, bufs, count);
      count = 0;
    }
  }
  if (count) answer(c, c, bufs, count);
  if (!c->line) free(held);
  if (at == end || uv_is_closing((uv_handle_t *)c)) return;
  c->line = realloc(c->line, c->line_length + (end - at));
  memcpy(c->line + c->line_length, at, end - at);
  c->line_length += end - at;
}

/* How long the frame is that begins here: four bytes of length and the rest; 0 if it is not whole. */
static size_t frame_at(const char *at, size_t left) {
  const unsigned char *data = (const unsigned char *)at;
  size_t size;
  if (left < 4) return 0;
  size = 4 + ((size_t)data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3]);
  return size <= left ? size : 0;
}

/* Each whole frame is a piece of its own; what is begun waits for the rest. */
static void on_frames(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  connection *c = (connection *)stream;
  uv_buf_t bufs[MAX_BUFS];
  unsigned count = 0;
  char *at = buf->base, *held = NULL;
  size_t left = n, size;
  if (n < 0) {
    finish(c);
    return;
  }
  if (c->line_length) {
    at = held = realloc(c->line, c->line_length + n);
    memcpy(held + c->line_length, buf->base, n);
    left += c->line_length;
    c->line = NULL;
    c->line_length = 0;
  }
  for (; (size = frame_at(at, left)); at += size, left -= size) {
    bufs[count++] = uv_buf_init(at, size);
    if (count == MAX_BUFS) {
      answer(c, c, bufs, count);
      count = 0;
    }
  }
  if (count) answer(c, c, bufs, count);
  if (left && !uv_is_closing((uv_handle_t *)c)) {
    c->line = malloc(left);
    memcpy(c->line, at, left);
    c->line_length = left;
  }
  free(held);
}

static void on_broadcast(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  if (n > 0) {
    connection *c = clients.next, *next;
    for (; c != &clients; c = next) {
      uv_buf_t out = uv_buf_init(buf->base, n);
      next = c->next;
      answer(c, NULL, &out, 1);
    }
  } else if (n < 0) {
    finish((connection *)stream);
  }
}

static void on_told(uv_write_t *request, int status) {
  (void)status;
  finish(((pending *)request)->to);
  free(request);
}

static void on_receive(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  connection *c = (connection *)stream;
  (void)buf;
  if (n > 0) {
    c->received += n;
  } else if (n == UV_EOF) {
    pending *told = malloc(sizeof *told + 32);
    told->to = c;
    told->buf = uv_buf_init(told->data, snprintf(told->data, 32, "%llu\n", c->received));
    check(uv_write(&told->request, stream, &told->buf, 1, on_told), "write");
  } else if (n < 0) {
    finish(c);
  }
}

static void send_chunks(connection *c);

static void on_chunk_written(uv_write_t *request, int status) {
  connection *c = ((pending *)request)->to;
  free(request);
  if (status == 0) send_chunks(c);
  else if (status != UV_ECANCELED) finish(c);
}

static void send_chunks(connection *c) {
  int i, n = CHUNK;
  for (i = 0; i < CHUNKS_PER_TURN && n == CHUNK; i++) {
    uv_buf_t out = uv_buf_init(chunk, CHUNK);
    n = uv_try_write(&c->handle.stream, &out, 1);
    if (n < 0 && n != UV_EAGAIN) {
      finish(c);
      return;
    }
  }
  pending *rest = malloc(sizeof *rest);
  rest->to = c;
  n = n > 0 && n < CHUNK ? n : 0;
  rest->buf = uv_buf_init(chunk + n, CHUNK - n);
  if (uv_write(&rest->request, &c->handle.stream, &rest->buf, 1, on_chunk_written)) finish(c);
}

static void on_send(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  if (n < 0) finish((connection *)stream);
}

/* Activity only notes the time; the timer is set anew when it fires. */
static void on_idle(uv_timer_t *timer) {
  connection *c = timer->data;
  unsigned long long due = c->last + IDLE_MS, now = uv_now(loop);
  if (due > now) uv_timer_start(timer, on_idle, due - now, 0);
  else finish(c);
}

static void start_timer(connection *c) {
  c->timer = malloc(sizeof *c->timer);
  c->timer->data = c;
  c->last = uv_now(loop);
  uv_timer_init(loop, c->timer);
  uv_timer_start(c->timer, on_idle, IDLE_MS, 0);
}

static void on_proxy(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  connection *c = (connection *)stream;
  if (is_timed) {
    c->last = uv_now(loop);
    if (c->other) c->other->last = c->last;
  }
  if (n > 0 && c->other) {
    uv_buf_t out = uv_buf_init(buf->base, n);
    answer(c->other, c, &out, 1);
  } else if (n == UV_EOF && c->other) {
    /* The end travels on; both close when it comes back. */
    uv_shutdown_t *request = c->received++ ? NULL : malloc(sizeof *request);
    uv_read_stop(stream);
    if (c->other->received) finish(c);
    else if (!request || uv_shutdown(request, &c->other->handle.stream, NULL)) finish(c);
  } else if (n < 0) {
    finish(c);
  }
}

static connection *make(void) {
  connection *c = calloc(1, sizeof *c);
  if (path && !is_proxy) check(uv_pipe_init(loop, &c->handle.pipe, 0), "pipe");
  else check(uv_tcp_init(loop, &c->handle.tcp), "tcp");
  c->next = clients.next;
  c->previous = &clients;
  clients.next->previous = c;
  clients.next = c;
  return c;
}

static void on_behind(uv_connect_t *request, int status) {
  connection *c = (connection *)request->handle;
  free(request);
  if (status < 0 || !c->other) {
    finish(c);
    return;
  }
  uv_tcp_nodelay(&c->handle.tcp, 1);
  uv_read_start(&c->handle.stream, on_alloc, on_data);
  uv_read_start(&c->other->handle.stream, on_alloc, on_data);
}

static void connect_behind(connection *c) {
  struct sockaddr_in address;
  uv_connect_t *request = malloc(sizeof *request);
  c->other = make();
  c->other->other = c;
  if (is_timed) {
    start_timer(c);
    start_timer(c->other);
  }
  uv_ip4_addr("127.0.0.1", pieces, &address);
  check(uv_tcp_connect(request, &c->other->handle.tcp, (struct sockaddr *)&address, on_behind),
        "connect");
}

static void on_connection(uv_stream_t *server, int status) {
  connection *c = make();
  check(status, "listen");
  if (uv_accept(server, &c->handle.stream)) {
    finish(c);
    return;
  }
  if (!path) uv_tcp_nodelay(&c->handle.tcp, 1);
  if (is_proxy) {
    connect_behind(c);
    return;
  }
  uv_read_start(&c->handle.stream, on_alloc, on_data);
  if (on_data == on_send) send_chunks(c);
}

int main(int argc, char **argv) {
  static const struct { const char *name; uv_read_cb on_data; } modes[] = {
      {"echo", on_echo},           {"pipe", on_echo}, {"writes", on_writes},
      {"lines", on_lines},         {"send", on_send}, {"receive", on_receive},
      {"broadcast", on_broadcast}, {"proxy", on_proxy}, {"timed_proxy", on_proxy},
      {"read_lines", on_lines},    {"read_line", on_lines}, {"frames", on_frames},
      {"broadcast_text", on_broadcast},
  };
  static union { uv_stream_t stream; uv_tcp_t tcp; uv_pipe_t pipe; } server;
  struct sockaddr_in address;
  int length = sizeof address;
  unsigned i;
  if (argc > 1)
    for (i = 0; i < sizeof modes / sizeof *modes; i++)
      if (!strcmp(argv[1], modes[i].name)) on_data = modes[i].on_data;
  if (!on_data) {
    printf("unsupported: no such mode\n");
    return 3;
  }
  signal(SIGPIPE, SIG_IGN);
  is_proxy = on_data == on_proxy;
  is_timed = is_proxy && !strcmp(argv[1], "timed_proxy");
  path = argc > 2 && *argv[2] ? argv[2] : NULL;
  pieces = argc > 3 ? atoi(argv[3]) : 1;
  clients.next = clients.previous = &clients;
  for (i = 0; i < CHUNK; i++) chunk[i] = (char)((i * 31 + (i >> 8)) & 255);
  loop = uv_default_loop();
  if (path) {
    check(uv_pipe_init(loop, &server.pipe, 0), "pipe");
    check(uv_pipe_bind(&server.pipe, path), "bind");
  } else {
    check(uv_tcp_init(loop, &server.tcp), "tcp");
    uv_ip4_addr("127.0.0.1", 0, &address);
    check(uv_tcp_bind(&server.tcp, (struct sockaddr *)&address, 0), "bind");
  }
  check(uv_listen(&server.stream, BACKLOG, on_connection), "listen");
  memset(&address, 0, sizeof address);
  if (!path) uv_tcp_getsockname(&server.tcp, (struct sockaddr *)&address, &length);
  printf("%d\n", path ? 0 : ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}
