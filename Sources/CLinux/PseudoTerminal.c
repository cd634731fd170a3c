// Pseudo-terminals for the emulated board, and the link that names them.
#define _GNU_SOURCE 1
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static int open_slave(int master, char *path, size_t size) {
  if (grantpt(master) != 0 || unlockpt(master) != 0) return -errno;
  int failure = ptsname_r(master, path, size);
  if (failure != 0) return -failure;
  int slave = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (slave < 0) return -errno;
  struct termios line;
  if (tcgetattr(slave, &line) == 0) {
    cfmakeraw(&line);
    if (tcsetattr(slave, TCSANOW, &line) == 0) return slave;
  }
  failure = errno;
  close(slave);
  return -failure;
}

int spoke_pty_open(char *path, size_t size, int *slave) {
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (master < 0) return -errno;
  *slave = open_slave(master, path, size);
  if (*slave >= 0) return master;
  close(master);
  return *slave;
}

int spoke_pty_unread(int slave) {
  int count = 0;
  return ioctl(slave, FIONREAD, &count) == 0 ? count : -errno;
}

int spoke_pty_end_exclusive(int slave) { return ioctl(slave, TIOCNXCL) == 0 ? 0 : -errno; }

int spoke_pty_watch(const char *path) {
  int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (watch < 0) return -errno;
  if (inotify_add_watch(watch, path, IN_OPEN | IN_CLOSE) >= 0) return watch;
  int failure = errno;
  close(watch);
  return -failure;
}

int spoke_pty_watched(int watch, uint32_t *opens, uint32_t *closes) {
  _Alignas(struct inotify_event) char events[4096];
  for (;;) {
    ssize_t count = read(watch, events, sizeof events);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN ? 0 : -errno;
    for (ssize_t place = 0; place < count;) {
      const struct inotify_event *event = (const void *)(events + place);
      if (event->mask & IN_OPEN) *opens += 1;
      if (event->mask & IN_CLOSE) *closes += 1;
      place += (ssize_t)(sizeof *event + event->len);
    }
  }
}

int spoke_wait_readable(const int *descriptors, int count, int64_t nanoseconds) {
  struct pollfd polled[4];
  if (count > 4) return -EINVAL;
  for (int index = 0; index < count; index++)
    polled[index] = (struct pollfd){.fd = descriptors[index], .events = POLLIN};
  struct timespec time = {.tv_sec = (time_t)(nanoseconds / 1000000000),
                          .tv_nsec = (long)(nanoseconds % 1000000000)};
  int ready = ppoll(polled, (nfds_t)count, &time, NULL);
  return ready >= 0 || errno == EINTR ? 0 : -errno;
}

int spoke_link_replace(const char *target, const char *path) {
  struct stat state;
  if (lstat(path, &state) == 0 && !S_ISLNK(state.st_mode)) return -EEXIST;
  char next[PATH_MAX];
  int length = snprintf(next, sizeof next, "%s.%d", path, (int)getpid());
  if (length < 0 || (size_t)length >= sizeof next) return -ENAMETOOLONG;
  if (symlink(target, next) != 0) return -errno;
  if (rename(next, path) == 0) return 0;
  int failure = errno;
  unlink(next);
  return -failure;
}

int spoke_link_remove(const char *target, const char *path) {
  char points[PATH_MAX];
  ssize_t length = readlink(path, points, sizeof points - 1);
  if (length < 0) return -errno;
  points[length] = 0;
  if (strcmp(points, target) != 0) return -ENOENT;
  return unlink(path) == 0 ? 0 : -errno;
}
