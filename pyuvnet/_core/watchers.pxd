"""What libuv does wrong without memory, done before or after it; see watchers.pyx."""

from . cimport uv

cdef int watch_room(uv.uv_loop_t* loop, int fd) noexcept nogil
cdef int watch_room_for_next(uv.uv_loop_t* loop) noexcept nogil
cdef int submit_write(uv.uv_write_t* request, uv.uv_stream_t* stream, const uv.uv_buf_t* bufs,
                      unsigned int count, uv.uv_stream_t* carried,
                      uv.uv_write_cb done) noexcept nogil
