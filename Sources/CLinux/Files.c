// Files, directories and inotify.
#define _GNU_SOURCE 1
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#include "CLinux.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

// The value of `call`, or the negative errno; again when a signal came between.
#define ANSWER(type, call)                       \
  type answer;                                   \
  do answer = (call);                            \
  while (answer < 0 && errno == EINTR);          \
  return answer < 0 ? (type)-errno : answer

// Not repeated on EINTR: Linux has let go of the descriptor by then.
int spoke_close(int descriptor) { return close(descriptor) == 0 || errno == EINTR ? 0 : -errno; }

int64_t spoke_read(int descriptor, void *bytes, size_t count) {
  ANSWER(int64_t, read(descriptor, bytes, count));
}
int64_t spoke_write(int descriptor, const void *bytes, size_t count) {
  ANSWER(int64_t, write(descriptor, bytes, count));
}

// Does not wait for a pipe's writer.
int spoke_open_read(const char *path) {
  ANSWER(int, open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
}
int spoke_open_directory(const char *path) {
  ANSWER(int, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}
int spoke_open_at(int directory, const char *name, int create, int exclusive) {
  int flags = (create < 0 ? O_RDONLY : O_RDWR) | (create > 0 ? O_CREAT : 0);
  ANSWER(int, openat(directory, name, flags | (exclusive ? O_EXCL : 0) | O_CLOEXEC | O_NOFOLLOW, 0600));
}
int spoke_create_directory(const char *path, unsigned mode) { ANSWER(int, mkdir(path, mode)); }
int spoke_create_directory_at(int directory, const char *name, unsigned mode) {
  ANSWER(int, mkdirat(directory, name, mode));
}
int spoke_open_directory_at(int directory, const char *name) {
  ANSWER(int, openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}
int spoke_unlink_at(int directory, const char *name) { ANSWER(int, unlinkat(directory, name, 0)); }
int spoke_rename_at(int from_directory, const char *from, int to_directory, const char *to) {
  ANSWER(int, renameat(from_directory, from, to_directory, to));
}

int64_t spoke_read_at(int descriptor, void *bytes, size_t count, uint64_t offset) {
  size_t done = 0;
  while (done < count) {
    ssize_t got = pread(descriptor, (char *)bytes + done, count - done, (off_t)(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -errno;
    if (got == 0) break;
    done += (size_t)got;
  }
  return (int64_t)done;
}

int spoke_write_at(int descriptor, const void *bytes, size_t count, uint64_t offset) {
  size_t done = 0;
  while (done < count) {
    ssize_t put =
        pwrite(descriptor, (const char *)bytes + done, count - done, (off_t)(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return -errno;
    // A regular file takes nothing only when there is no room.
    if (put == 0) return -ENOSPC;
    done += (size_t)put;
  }
  return 0;
}

int64_t spoke_file_size(int descriptor) {
  struct stat status;
  return fstat(descriptor, &status) == 0 ? (int64_t)status.st_size : -errno;
}
int spoke_is_linked(int descriptor) {
  struct stat status;
  return fstat(descriptor, &status) == 0 && status.st_nlink > 0;
}
int spoke_is_regular_file(int descriptor) {
  struct stat status;
  return fstat(descriptor, &status) == 0 ? S_ISREG(status.st_mode) : -errno;
}
int spoke_truncate(int descriptor, uint64_t bytes) {
  ANSWER(int, ftruncate(descriptor, (off_t)bytes));
}

int spoke_reserve(int descriptor, uint64_t bytes) {
  int answer;
  do answer = fallocate(descriptor, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes);
  while (answer < 0 && errno == EINTR);
  if (answer == 0 || errno == EOPNOTSUPP || errno == ENOSYS) return 0;
  return -errno;
}

int spoke_sync_data(int descriptor) { ANSWER(int, fdatasync(descriptor)); }
int spoke_sync(int descriptor) { ANSWER(int, fsync(descriptor)); }
int spoke_lock_exclusive(int descriptor) { ANSWER(int, flock(descriptor, LOCK_EX | LOCK_NB)); }

int64_t spoke_free_bytes(int directory) {
  struct statvfs state;
  int answer;
  do answer = fstatvfs(directory, &state);
  while (answer < 0 && errno == EINTR);
  if (answer < 0) return -errno;
  return (int64_t)((uint64_t)state.f_bavail * (uint64_t)state.f_frsize);
}

int spoke_list_open(int directory, void **stream) {
  // A descriptor of its own: closing the stream closes it, and each listing starts at the front.
  int own = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (own < 0) return -errno;
  *stream = fdopendir(own);
  if (*stream != NULL) return 0;
  int failure = -errno;
  close(own);
  return failure;
}

int spoke_list_next(void *stream, char *name, size_t size) {
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(stream);
    if (entry == NULL) return -errno;
    size_t length = strlen(entry->d_name);
    if (length >= size) continue;
    memcpy(name, entry->d_name, length + 1);
    return 1;
  }
}
void spoke_list_close(void *stream) { closedir(stream); }

int64_t spoke_read_link(const char *path, char *target, size_t size) {
  ANSWER(int64_t, readlink(path, target, size));
}

int spoke_inotify(void) { ANSWER(int, inotify_init1(IN_NONBLOCK | IN_CLOEXEC)); }
int spoke_watch_directory(int inotify, const char *path) {
  // Attributes too: udev creates a node first and gives it its group afterwards.
  ANSWER(int, inotify_add_watch(inotify, path, IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR));
}
