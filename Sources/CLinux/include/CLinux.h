#ifndef SPOKE_CLINUX_H
#define SPOKE_CLINUX_H
// The C library and kernel headers that the platform layer uses, in both build modes. C variadics
// and macros are wrapped as inline functions, because Swift imports neither. No feature macro is
// set here: the C library's headers must look the same from every module.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static inline int spoke_errno(void) { return errno; }
static inline int spoke_open(const char *path, int flags, unsigned mode) {
  return open(path, flags, mode);
}
#endif
