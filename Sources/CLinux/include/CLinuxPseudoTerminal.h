#ifndef SPOKE_CLINUX_PSEUDO_TERMINAL_H
#define SPOKE_CLINUX_PSEUDO_TERMINAL_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// Opens a pair, both ends non-blocking, the slave raw, and puts the slave's path into `path`.
// Answers the master's descriptor; `*slave` is the slave's.
int spoke_pty_open(char *path, size_t size, int *slave);
// Bytes that the line discipline holds and nobody has read from the slave yet.
int spoke_pty_unread(int slave);
// Takes back the exclusive use that a reader claimed and left behind when it was killed.
int spoke_pty_end_exclusive(int slave);
// A descriptor that reports who opens and closes the slave from now on.
int spoke_pty_watch(const char *path);
// Adds to `*opens` and `*closes` what has happened since the last call.
int spoke_pty_watched(int watch, uint32_t *opens, uint32_t *closes);

// Waits until a descriptor is readable, for `nanoseconds` at most.
int spoke_wait_readable(const int *descriptors, int count, int64_t nanoseconds);

// Points a symbolic link at `target` in one step; -EEXIST when `path` is something else than a link.
int spoke_link_replace(const char *target, const char *path);
// Removes a symbolic link if it still points at `target`.
int spoke_link_remove(const char *target, const char *path);
#endif
