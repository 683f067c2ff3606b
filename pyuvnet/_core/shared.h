/* What the threads of a process share, where no GIL keeps them apart.
 *
 * In a build with a GIL a lock is nothing, and an atomic access is an ordinary one: there the
 * holder of the GIL is alone. No code of a program may run under a lock, since it could come back to
 * it. */
#ifndef PYUVNET_SHARED_H
#define PYUVNET_SHARED_H

#include <Python.h>

#ifdef Py_GIL_DISABLED

#define PYUVNET_GIL_DISABLED 1

typedef PyMutex pyuvnet_mutex;
#define pyuvnet_lock(mutex) PyMutex_Lock(mutex)
#define pyuvnet_unlock(mutex) PyMutex_Unlock(mutex)

static inline Py_ssize_t pyuvnet_load(Py_ssize_t* number) {
  return _Py_atomic_load_ssize_relaxed(number);
}
static inline void pyuvnet_store(Py_ssize_t* number, Py_ssize_t value) {
  _Py_atomic_store_ssize_relaxed(number, value);
}
static inline Py_ssize_t pyuvnet_add(Py_ssize_t* number, Py_ssize_t change) {
  return _Py_atomic_add_ssize(number, change) + change;
}
static inline unsigned int pyuvnet_load_bits(unsigned int* bits) {
  return _Py_atomic_load_uint_relaxed(bits);
}
static inline void pyuvnet_store_bits(unsigned int* bits, unsigned int value) {
  _Py_atomic_store_uint_relaxed(bits, value);
}

/* An object that is made when first needed, and stays: what stands there, borrowed; NULL: nothing. */
static inline PyObject* pyuvnet_made(PyObject** place) {
  return (PyObject*)_Py_atomic_load_ptr_acquire(place);
}
/* Puts an object there, unless another thread was faster; what stands there now, borrowed. */
static inline PyObject* pyuvnet_make(PyObject** place, PyObject* made) {
  void* before = NULL;
  Py_INCREF(made);
  if (_Py_atomic_compare_exchange_ptr(place, &before, made)) return made;
  Py_DECREF(made);
  return (PyObject*)before;
}

#if defined(_MSC_VER)
#define PYUVNET_PER_THREAD __declspec(thread)
#else
#define PYUVNET_PER_THREAD _Thread_local
#endif

#else

#define PYUVNET_GIL_DISABLED 0

typedef char pyuvnet_mutex;
#define pyuvnet_lock(mutex) ((void)(mutex))
#define pyuvnet_unlock(mutex) ((void)(mutex))

static inline Py_ssize_t pyuvnet_load(Py_ssize_t* number) { return *number; }
static inline void pyuvnet_store(Py_ssize_t* number, Py_ssize_t value) { *number = value; }
static inline Py_ssize_t pyuvnet_add(Py_ssize_t* number, Py_ssize_t change) {
  return *number += change;
}
static inline unsigned int pyuvnet_load_bits(unsigned int* bits) { return *bits; }
static inline void pyuvnet_store_bits(unsigned int* bits, unsigned int value) { *bits = value; }
static inline PyObject* pyuvnet_made(PyObject** place) { return *place; }
static inline PyObject* pyuvnet_make(PyObject** place, PyObject* made) {
  if (*place == NULL) {
    Py_INCREF(made);
    *place = made;
  }
  return *place;
}
#define PYUVNET_PER_THREAD

#endif
#endif
