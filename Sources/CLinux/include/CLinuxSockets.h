#ifndef SPOKE_CLINUX_SOCKETS_H
#define SPOKE_CLINUX_SOCKETS_H
#include <stddef.h>
#include <stdint.h>

// An Internet address without C's families of structures: 4 or 16 bytes in network order.
struct spoke_address {
  uint8_t bytes[16];
  uint32_t count;
  uint32_t scope;
  uint16_t port;
};

struct spoke_ready {
  uint64_t token;
  uint32_t events;
};

enum {
  spoke_event_readable = 1,   // EPOLLIN | EPOLLRDHUP
  spoke_event_writable = 2,   // EPOLLOUT
  spoke_event_hang_up = 4     // EPOLLHUP | EPOLLERR; reported without being asked for
};

int spoke_epoll_create(void);
int spoke_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token);
int spoke_epoll_modify(int epoll, int descriptor, uint32_t events, uint64_t token);
int spoke_epoll_remove(int epoll, int descriptor);
// Sleeps at most `nanoseconds`, without end when negative. 0 on a signal.
int spoke_epoll_wait(int epoll, struct spoke_ready *ready, int maximum, int64_t nanoseconds);

int spoke_eventfd(void);
int spoke_eventfd_signal(int descriptor);
int spoke_eventfd_drain(int descriptor);

// Every socket is non-blocking and close-on-exec.
int spoke_tcp_connect(const struct spoke_address *address);
int spoke_tcp_listen(const struct spoke_address *address, int backlog);
int spoke_unix_connect(const char *path);
// In place of a stale socket at `path`; with `mode` from the first moment.
int spoke_unix_listen(const char *path, unsigned mode, int backlog);
int spoke_accept(int listener);
int spoke_tcp_cork(int descriptor, int on); // holds small segments back while it is on
// The result of a connect: 0, or the errno.
int spoke_socket_error(int descriptor);
int spoke_local_address(int descriptor, struct spoke_address *address);
int spoke_shutdown_write(int descriptor);
// Both directions: whoever reads or writes it next finds its end.
int spoke_shutdown_both(int descriptor);
// Bytes that can be read without waiting.
int spoke_waiting_bytes(int descriptor);
int spoke_limit_receiving(int descriptor, int bytes); // what the kernel holds of it unread
// Without waiting; 0: the connection ended. `keep`: the next read brings the same.
int spoke_receive_now(int descriptor, void *bytes, int count, int keep);
int spoke_send_now(int descriptor, const void *bytes, int count);
// One datagram to a Unix socket; a path that starts with '@' is abstract.
int spoke_unix_send(const char *path, const void *bytes, size_t count);

// getaddrinfo for a stream socket; `result` is freed with spoke_addresses_free. 0 or an EAI code.
int spoke_resolve(const char *host, int numeric_only, void **result);
// 1 with the next address, 0 at the end.
int spoke_addresses_next(void **position, struct spoke_address *address);
void spoke_addresses_free(void *result);
const char *spoke_resolve_error(int code);
#endif
