"""The part of libuv that the core uses, in the order of uv.h.

Structs are opaque except for the fields that are read.  Statuses are negative ints; only
`errors` turns them into exceptions.
"""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #if defined(_WIN32)
    #  include <winsock2.h>
    #  include <ws2tcpip.h>
    #  define PYUVNET_WINDOWS 1
    #else
    #  include <sys/types.h>
    #  include <sys/socket.h>
    #  include <netinet/in.h>
    #  include <netdb.h>
    #  define PYUVNET_WINDOWS 0
    #endif
    """
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_in:
        unsigned short sin_port
        unsigned int sin_addr        # a struct of that size; only its address is taken
    struct sockaddr_in6:
        unsigned short sin6_port
        unsigned int sin6_addr
        unsigned int sin6_flowinfo
        unsigned int sin6_scope_id
    struct sockaddr_storage:
        unsigned short ss_family
    struct addrinfo:
        int ai_flags
        int ai_family
        int ai_socktype
        int ai_protocol
        sockaddr* ai_addr
        addrinfo* ai_next
    const int AF_UNSPEC
    const int AF_INET
    const int AF_INET6
    const int SOCK_STREAM
    const int AI_ADDRCONFIG
    const int AI_V4MAPPED
    const int AI_ALL
    const int NI_MAXHOST
    const bint WINDOWS "PYUVNET_WINDOWS"

cdef extern from "uv.h" nogil:
    const int UV_EOF
    const int UV_EAGAIN
    const int UV_EBUSY
    const int UV_ECANCELED
    const int UV_EADDRINUSE
    const int UV_EINVAL
    const int UV_EISCONN
    const int UV_EALREADY
    const int UV_ENOTCONN
    const int UV_ENOTSOCK
    const int UV_EMFILE
    const int UV_ENFILE
    const int UV_ENOBUFS
    const int UV_ENOMEM
    const int UV_ENOTSUP
    const int UV_EBADF
    const int UV_EEXIST
    const int UV_ETIMEDOUT
    const int UV_EPIPE
    const int UV_ECONNRESET
    const int UV_EPROTO

    ctypedef int uv_file
    ctypedef int uv_os_sock_t

    ctypedef struct uv_loop_t:
        void* data

    ctypedef enum uv_run_mode:
        UV_RUN_DEFAULT
        UV_RUN_NOWAIT

    ctypedef enum uv_handle_type:
        UV_NAMED_PIPE
        UV_TCP
        UV_HANDLE_TYPE_MAX
        UV_TTY
        UV_UDP
        UV_FILE

    ctypedef struct uv_handle_t:
        void* data
        uv_loop_t* loop
        uv_handle_type type
    ctypedef struct uv_buf_t:
        char* base
        size_t len
    ctypedef void (*uv_alloc_cb)(uv_handle_t*, size_t, uv_buf_t*) noexcept nogil
    ctypedef struct uv_stream_t:
        void* data
        uv_loop_t* loop
        size_t write_queue_size
        uv_alloc_cb alloc_cb
    ctypedef struct uv_tcp_t:
        void* data
    ctypedef struct uv_pipe_t:
        void* data
    ctypedef struct uv_timer_t:
        void* data
    ctypedef struct uv_prepare_t:
        void* data
    ctypedef struct uv_check_t:
        void* data
        uv_loop_t* loop
    ctypedef struct uv_metrics_t:
        uint64_t loop_count
        uint64_t events
        uint64_t events_waiting

    ctypedef struct uv_idle_t:
        void* data
    ctypedef struct uv_async_t:
        void* data
        uv_loop_t* loop
    ctypedef struct uv_poll_t:
        void* data
        uv_loop_t* loop

    ctypedef struct uv_req_t:
        void* data
    ctypedef struct uv_write_t:
        void* data
        uv_stream_t* handle
    ctypedef struct uv_connect_t:
        void* data
        uv_stream_t* handle
    ctypedef struct uv_shutdown_t:
        void* data
        uv_stream_t* handle
    ctypedef struct uv_getaddrinfo_t:
        void* data
        uv_loop_t* loop

    ctypedef void (*uv_close_cb)(uv_handle_t*) noexcept nogil
    ctypedef void (*uv_walk_cb)(uv_handle_t*, void*) noexcept nogil
    ctypedef void (*uv_read_cb)(uv_stream_t*, ssize_t, const uv_buf_t*) noexcept nogil
    ctypedef void (*uv_write_cb)(uv_write_t*, int) noexcept nogil
    ctypedef void (*uv_connect_cb)(uv_connect_t*, int) noexcept nogil
    ctypedef void (*uv_shutdown_cb)(uv_shutdown_t*, int) noexcept nogil
    ctypedef void (*uv_connection_cb)(uv_stream_t*, int) noexcept nogil
    ctypedef void (*uv_timer_cb)(uv_timer_t*) noexcept nogil
    ctypedef void (*uv_prepare_cb)(uv_prepare_t*) noexcept nogil
    ctypedef void (*uv_check_cb)(uv_check_t*) noexcept nogil
    ctypedef void (*uv_idle_cb)(uv_idle_t*) noexcept nogil
    ctypedef void (*uv_async_cb)(uv_async_t*) noexcept nogil
    ctypedef void (*uv_poll_cb)(uv_poll_t*, int, int) noexcept nogil
    ctypedef void (*uv_getaddrinfo_cb)(uv_getaddrinfo_t*, int, addrinfo*) noexcept nogil

    ctypedef struct uv_lib_t:
        pass

    int uv_dlopen(const char* filename, uv_lib_t*)
    int uv_dlsym(uv_lib_t*, const char* name, void** pointer)

    const char* uv_version_string()
    const char* uv_strerror(int)
    const char* uv_err_name(int)

    int uv_loop_init(uv_loop_t*)
    int uv_loop_close(uv_loop_t*)
    int uv_run(uv_loop_t*, uv_run_mode)
    void uv_stop(uv_loop_t*)
    int uv_loop_alive(const uv_loop_t*)
    int uv_backend_fd(const uv_loop_t*)
    int uv_backend_timeout(const uv_loop_t*)
    uint64_t uv_now(const uv_loop_t*)
    uint64_t uv_hrtime()
    void uv_update_time(uv_loop_t*)
    void uv_walk(uv_loop_t*, uv_walk_cb, void*)

    void uv_ref(uv_handle_t*)
    void uv_unref(uv_handle_t*)
    int uv_has_ref(const uv_handle_t*)
    int uv_is_active(const uv_handle_t*)
    int uv_is_closing(const uv_handle_t*)
    ctypedef struct uv_metrics_t:
        unsigned long long loop_count
    int uv_metrics_info(uv_loop_t*, uv_metrics_t*)
    void uv_close(uv_handle_t*, uv_close_cb)
    const char* uv_handle_type_name(uv_handle_type)
    uv_handle_type uv_guess_handle(uv_file)

    int uv_listen(uv_stream_t*, int, uv_connection_cb)
    int uv_accept(uv_stream_t*, uv_stream_t*)
    int uv_read_start(uv_stream_t*, uv_alloc_cb, uv_read_cb)
    int uv_read_stop(uv_stream_t*)
    int uv_write(uv_write_t*, uv_stream_t*, const uv_buf_t*, unsigned int, uv_write_cb)
    int uv_try_write(uv_stream_t*, const uv_buf_t*, unsigned int)
    int uv_try_write2(uv_stream_t*, const uv_buf_t*, unsigned int, uv_stream_t*)
    int uv_shutdown(uv_shutdown_t*, uv_stream_t*, uv_shutdown_cb)

    const unsigned int UV_TCP_IPV6ONLY
    const unsigned int UV_TCP_REUSEPORT
    int uv_tcp_init(uv_loop_t*, uv_tcp_t*)
    int uv_tcp_init_ex(uv_loop_t*, uv_tcp_t*, unsigned int)
    int uv_tcp_open(uv_tcp_t*, uv_os_sock_t)
    int uv_tcp_nodelay(uv_tcp_t*, int)
    int uv_tcp_keepalive_ex(uv_tcp_t*, int, unsigned int, unsigned int, unsigned int)
    int uv_tcp_bind(uv_tcp_t*, const sockaddr*, unsigned int)
    int uv_tcp_getsockname(const uv_tcp_t*, sockaddr*, int*)
    int uv_tcp_getpeername(const uv_tcp_t*, sockaddr*, int*)
    int uv_tcp_close_reset(uv_tcp_t*, uv_close_cb)
    int uv_tcp_connect(uv_connect_t*, uv_tcp_t*, const sockaddr*, uv_connect_cb)

    const unsigned int UV_PIPE_NO_TRUNCATE
    int uv_pipe_init(uv_loop_t*, uv_pipe_t*, int)
    int uv_pipe_open(uv_pipe_t*, uv_file)
    int uv_pipe_pending_count(uv_pipe_t*)
    int uv_pipe_bind2(uv_pipe_t*, const char*, size_t, unsigned int)
    int uv_pipe_connect2(uv_connect_t*, uv_pipe_t*, const char*, size_t, unsigned int,
                         uv_connect_cb)
    int uv_pipe_chmod(uv_pipe_t*, int)

    int uv_timer_init(uv_loop_t*, uv_timer_t*)
    int uv_timer_start(uv_timer_t*, uv_timer_cb, uint64_t, uint64_t)
    int uv_timer_stop(uv_timer_t*)
    int uv_prepare_init(uv_loop_t*, uv_prepare_t*)
    int uv_prepare_start(uv_prepare_t*, uv_prepare_cb)
    int uv_check_init(uv_loop_t*, uv_check_t*)
    int uv_check_start(uv_check_t*, uv_check_cb)
    int uv_check_stop(uv_check_t*)
    ctypedef enum uv_loop_option:
        UV_METRICS_IDLE_TIME

    int uv_loop_configure(uv_loop_t*, uv_loop_option, ...)
    int uv_metrics_info(uv_loop_t*, uv_metrics_t*)
    uint64_t uv_metrics_idle_time(uv_loop_t*)

    int uv_idle_init(uv_loop_t*, uv_idle_t*)
    int uv_idle_start(uv_idle_t*, uv_idle_cb)
    int uv_idle_stop(uv_idle_t*)
    int uv_async_init(uv_loop_t*, uv_async_t*, uv_async_cb)
    int uv_async_send(uv_async_t*)

    const int UV_READABLE
    const int UV_WRITABLE
    int uv_poll_init(uv_loop_t*, uv_poll_t*, int)
    int uv_poll_init_socket(uv_loop_t*, uv_poll_t*, uv_os_sock_t)
    int uv_poll_start(uv_poll_t*, int, uv_poll_cb)
    int uv_poll_stop(uv_poll_t*)

    int uv_getaddrinfo(uv_loop_t*, uv_getaddrinfo_t*, uv_getaddrinfo_cb, const char*, const char*,
                       const addrinfo*)
    void uv_freeaddrinfo(addrinfo*)
    int uv_cancel(uv_req_t*)

cdef extern from *:
    """
    #include <uv.h>
    /* The descriptor of a handle; -1 without one, and on Windows, where none is an int. */
    static inline int pyuvnet_descriptor(const uv_handle_t* handle) {
    #if defined(_WIN32)
      (void) handle;
      return -1;
    #else
      uv_os_fd_t fd;
      return uv_fileno(handle, &fd) == 0 ? fd : -1;
    #endif
    }
    """
    int pyuvnet_descriptor(const uv_handle_t*) nogil
