/* The gate between libuv and the interpreter.
 *
 * The loop holds the GIL while callbacks run and opens the gate (gives the GIL away) only just
 * before it waits in the poll.  The first callback of a batch that needs Python closes the gate
 * again; those after it find it closed and pay one comparison.  An alloc callback, and whatever
 * moves bytes without Python, never touches it. */
#ifndef PYUVNET_GATE_H
#define PYUVNET_GATE_H

#include <Python.h>

typedef struct pyuvnet_gate {
  PyThreadState* away; /* Our thread state while the GIL is given away, otherwise NULL. */
  PyObject* loop;      /* The Loop that owns it, borrowed; uv_loop_t.data points to the gate. */
  char* read_buffer;   /* Where every read of the loop lands; alloc callbacks hand it out. */
  size_t read_size;
  char* large;         /* Where a large read lands, in an object of the loop; NULL without one. */
  size_t large_size;
  int keep;            /* The poll will not wait: keep the GIL over it. */
} pyuvnet_gate;

static inline void gate_open(pyuvnet_gate* gate) {
  if (gate->away == NULL) gate->away = PyEval_SaveThread();
}

static inline void gate_close(pyuvnet_gate* gate) {
  PyThreadState* state = gate->away;
  if (state != NULL) {
    gate->away = NULL;
    PyEval_RestoreThread(state);
  }
}

#endif
