#ifndef SPOKE_UNIX_CLIENT_H
#define SPOKE_UNIX_CLIENT_H
// What a client that blocks needs beside CLinuxSockets.h: a wait with an end.
#include <errno.h>
#include <poll.h>

/// 1: ready, or hung up, which the next call tells; 0: the time is over; or a negative errno.
static inline int spoke_client_wait(int descriptor, int for_writing, int milliseconds) {
  struct pollfd entry = {descriptor, for_writing ? POLLOUT : POLLIN, 0};
  int count = poll(&entry, 1, milliseconds);
  return count < 0 ? -errno : count;
}
#endif
