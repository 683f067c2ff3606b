"""Node's spelling of every public name, and one class's methods for another; see names.pyx."""

cdef int share_face(type source, type target) except -1
