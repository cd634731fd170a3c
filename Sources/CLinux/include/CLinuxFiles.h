#ifndef SPOKE_CLINUX_FILES_H
#define SPOKE_CLINUX_FILES_H
#include <stddef.h>
#include <stdint.h>

int spoke_close(int descriptor);
int64_t spoke_read(int descriptor, void *bytes, size_t count);
int64_t spoke_write(int descriptor, const void *bytes, size_t count);

// Paths. `spoke_open_*` set O_CLOEXEC; the ones that take a directory also O_NOFOLLOW. `create`: -1 opens to read.
int spoke_open_read(const char *path);
int spoke_open_directory(const char *path);
int spoke_open_at(int directory, const char *name, int create, int exclusive);
int spoke_create_directory(const char *path, unsigned mode);
int spoke_create_directory_at(int directory, const char *name, unsigned mode);
int spoke_open_directory_at(int directory, const char *name);
int spoke_unlink_at(int directory, const char *name);
int spoke_rename_at(int from_directory, const char *from, int to_directory, const char *to);

// Bytes at an offset, whole or with the errno of the failure; a read answers how many there were.
int64_t spoke_read_at(int descriptor, void *bytes, size_t count, uint64_t offset);
int spoke_write_at(int descriptor, const void *bytes, size_t count, uint64_t offset);
int64_t spoke_file_size(int descriptor);
int spoke_is_regular_file(int descriptor);
// Whether it still has a name: 0 once it was deleted.
int spoke_is_linked(int descriptor);
int spoke_truncate(int descriptor, uint64_t bytes);
// Room for `bytes` without changing the size; 0 also where the file system cannot.
int spoke_reserve(int descriptor, uint64_t bytes);
int spoke_sync_data(int descriptor);
int spoke_sync(int descriptor);
// 0, or -EWOULDBLOCK when another process holds it.
int spoke_lock_exclusive(int descriptor);
int64_t spoke_free_bytes(int directory);

// A directory's names, one a call: 1 with a name, 0 at the end. The stream is opaque.
int spoke_list_open(int directory, void **stream);
int spoke_list_next(void *stream, char *name, size_t size);
void spoke_list_close(void *stream);

// The length of a symbolic link's target, which is not NUL-terminated.
int64_t spoke_read_link(const char *path, char *target, size_t size);

int spoke_inotify(void);
// New names, and new attributes of names, in a directory.
int spoke_watch_directory(int inotify, const char *path);
#endif
