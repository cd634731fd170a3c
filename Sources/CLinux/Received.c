// What a connection has received. By itself: <linux/tcp.h>, whose tcp_info has the count, and
// <netinet/tcp.h>, whose has not, do not go together.

#include "CLinux.h"
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int64_t spoke_tcp_consumed(int descriptor) {
  struct tcp_info info = {0};
  socklen_t length = sizeof info;
  int waiting = 0;
  if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) < 0) return -errno;
  if (length < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
    return -ENOSYS;
  if (ioctl(descriptor, FIONREAD, &waiting) < 0) return -errno;
  return (int64_t)info.tcpi_bytes_received - waiting;
}
