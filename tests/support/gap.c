/* Acts in the gap between looking at a path and removing what is there: loaded before the C library
 * (LD_PRELOAD) by test_ipc_races.py.
 *
 * gap_arm(from, to) makes the next lstat() or fstatat() of a path that ends like `to` rename `from`
 * to `to`, after the kernel has answered and before the caller knows the answer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char source[256], target[256];
static int fired;

void gap_arm(const char* from, const char* to) {
  snprintf(source, sizeof(source), "%s", from);
  snprintf(target, sizeof(target), "%s", to);
  fired = 0;
}

int gap_fired(void) { return fired; }

static void act(const char* path) {
  const char* slash = strrchr(target, '/');
  const char* name = slash ? slash + 1 : target;
  size_t length = strlen(path);

  if (!*source || length < strlen(name) || strcmp(path + length - strlen(name), name)) return;
  fired = rename(source, target) == 0 ? 1 : -1;
  *source = 0;
}

/* By both names that a program may have been compiled to call. */
#define LOOK(name, parameters, arguments)                                   \
  int name parameters {                                                     \
    static int(*real) parameters;                                           \
    int answer;                                                             \
    if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, #name);             \
    answer = real arguments;                                                \
    act(path);                                                              \
    return answer;                                                          \
  }

LOOK(lstat, (const char* path, struct stat* status), (path, status))
LOOK(lstat64, (const char* path, struct stat64* status), (path, status))
LOOK(fstatat, (int folder, const char* path, struct stat* status, int flags),
     (folder, path, status, flags))
LOOK(fstatat64, (int folder, const char* path, struct stat64* status, int flags),
     (folder, path, status, flags))
