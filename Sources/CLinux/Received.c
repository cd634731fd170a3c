// What a connection has received, and may. By itself: <linux/tcp.h>, whose tcp_info has the count, and
// <netinet/tcp.h>, whose has not, do not go together.

#include "CLinux.h"
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int spoke_limit_receiving(int descriptor, int bytes) {
  return setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) < 0 ? -errno : 0;
}
int spoke_peek(int descriptor, void *bytes, int count) {
  ssize_t seen = recv(descriptor, bytes, count, MSG_PEEK | MSG_DONTWAIT);
  return seen < 0 ? -errno : (int)seen;
}
int64_t spoke_tcp_consumed(int descriptor) {
  struct tcp_info info = {0};
  for (int attempt = 0; attempt < 100; attempt++) {
    socklen_t length = sizeof info;
    int before = 0, after = 0;
    if (ioctl(descriptor, FIONREAD, &before) < 0) return -errno;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) < 0) return -errno;
    if (length < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
      return -ENOSYS;
    if (ioctl(descriptor, FIONREAD, &after) < 0) return -errno;
    // Else something came in between, and the two numbers are not of one moment.
    if (before == after) return (int64_t)info.tcpi_bytes_received - after;
  }
  return -EAGAIN;
}
