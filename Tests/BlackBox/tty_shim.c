// Preloaded into spoked: gives pseudo-terminals what they lack. Each part is on while its file is in
// the folder $TTY_SHIM; what was asked for is appended to the file `log` there.
//   rs485      TIOCSRS485 and TIOCGRS485 are known; what it holds is a mask of the flags it takes
//   icount     TIOCGICOUNT answers its numbers: frame overrun parity brk buf_overrun
//   latency    TIOCGSERIAL and TIOCSSERIAL are known
//   marks      the marks of PARMRK are written by the far end: FF FF is read as the FF that it was
//   deny       to open the path in it fails with EACCES
#define _GNU_SOURCE 1
#include <asm/ioctls.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct serial_rs485 bus;
static int serial_flags;

// The text of a file of the folder; 0 when there is none.
static int setting(const char *name, char *text, size_t size) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", getenv("TTY_SHIM"), name);
  FILE *file = fopen(path, "re");
  if (file == NULL) return 0;
  size_t count = fread(text, 1, size - 1, file);
  text[count] = 0;
  fclose(file);
  return 1;
}

static void say(const char *format, ...) {
  char path[512];
  snprintf(path, sizeof path, "%s/log", getenv("TTY_SHIM"));
  FILE *file = fopen(path, "ae");
  if (file == NULL) return;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(file, format, arguments);
  va_end(arguments);
  fclose(file);
}

int ioctl(int descriptor, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  char text[128];
  if ((request == TIOCSRS485 || request == TIOCGRS485) && setting("rs485", text, sizeof text)) {
    struct serial_rs485 *wanted = argument;
    if (request == TIOCGRS485) return *wanted = bus, 0;
    say("TIOCSRS485 %u %u %u\n", wanted->flags, wanted->delay_rts_before_send,
        wanted->delay_rts_after_send);
    bus = *wanted;
    bus.flags &= (unsigned)strtoul(text, NULL, 0);
    return 0;
  }
  if (request == TIOCGICOUNT && setting("icount", text, sizeof text)) {
    struct serial_icounter_struct *counts = argument;
    memset(counts, 0, sizeof *counts);
    sscanf(text, "%d %d %d %d %d", &counts->frame, &counts->overrun, &counts->parity, &counts->brk,
           &counts->buf_overrun);
    return 0;
  }
  if ((request == TIOCGSERIAL || request == TIOCSSERIAL) && setting("latency", text, sizeof text)) {
    struct serial_struct *settings = argument;
    if (request == TIOCGSERIAL) return settings->flags = serial_flags, 0;
    serial_flags = settings->flags;
    say("TIOCSSERIAL %d\n", settings->flags & ASYNC_LOW_LATENCY);
    return 0;
  }
  int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
  return real(descriptor, request, argument);
}

ssize_t read(int descriptor, void *buffer, size_t size) {
  static int half;
  ssize_t (*real)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
  char text[8];
  ssize_t count = real(descriptor, buffer, size);
  if (count <= 0 || !isatty(descriptor) || !setting("marks", text, sizeof text)) return count;
  unsigned char *bytes = buffer;
  ssize_t kept = 0;
  for (ssize_t index = 0; index < count; index++) {
    int second = half && bytes[index] == 0xFF;
    half = !second && bytes[index] == 0xFF;
    if (!second) bytes[kept++] = bytes[index];
  }
  if (kept > 0) return kept;
  errno = EAGAIN;
  return -1;
}

static int denied(const char *path) {
  char text[512];
  if (!setting("deny", text, sizeof text) || strcmp(path, text) != 0) return 0;
  errno = EACCES;
  return 1;
}

int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  int mode = va_arg(arguments, int);
  va_end(arguments);
  if (denied(path)) return -1;
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
  return real(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  int mode = va_arg(arguments, int);
  va_end(arguments);
  if (denied(path)) return -1;
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
  return real(path, flags, mode);
}
