// epoll, eventfd, sockets and the resolver.
#define _GNU_SOURCE 1
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#include "CLinux.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define READY_MAX 64

int spoke_epoll_create(void) {
  int descriptor = epoll_create1(EPOLL_CLOEXEC);
  return descriptor < 0 ? -errno : descriptor;
}

static int control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token) {
  struct epoll_event event = {0};
  if (events & spoke_event_readable) event.events |= EPOLLIN | EPOLLRDHUP;
  if (events & spoke_event_writable) event.events |= EPOLLOUT;
  event.data.u64 = token;
  return epoll_ctl(epoll, operation, descriptor, &event) == 0 ? 0 : -errno;
}
int spoke_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token) {
  return control(epoll, EPOLL_CTL_ADD, descriptor, events, token);
}
int spoke_epoll_modify(int epoll, int descriptor, uint32_t events, uint64_t token) {
  return control(epoll, EPOLL_CTL_MOD, descriptor, events, token);
}
int spoke_epoll_remove(int epoll, int descriptor) {
  return control(epoll, EPOLL_CTL_DEL, descriptor, 0, 0);
}

// epoll_pwait2 came with Linux 5.11; before it, and where a filter refuses it, whole milliseconds
// are rounded up, so that a deadline is never met early.
static int wait_for(int epoll, struct epoll_event *events, int maximum, int64_t nanoseconds) {
  static int has_pwait2 = 1;
  if (has_pwait2) {
    struct timespec timeout = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    int count = epoll_pwait2(epoll, events, maximum, nanoseconds < 0 ? NULL : &timeout, NULL);
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    has_pwait2 = 0;
  }
  int64_t milliseconds = nanoseconds < 0 ? -1 : (nanoseconds + 999999) / 1000000;
  return epoll_wait(epoll, events, maximum, milliseconds > 3600000 ? 3600000 : (int)milliseconds);
}

int spoke_epoll_wait(int epoll, struct spoke_ready *ready, int maximum, int64_t nanoseconds) {
  struct epoll_event events[READY_MAX];
  int count = wait_for(epoll, events, maximum < READY_MAX ? maximum : READY_MAX, nanoseconds);
  if (count < 0) return errno == EINTR ? 0 : -errno;
  for (int index = 0; index < count; index++) {
    uint32_t got = events[index].events;
    ready[index].token = events[index].data.u64;
    ready[index].events = (got & (EPOLLIN | EPOLLRDHUP) ? spoke_event_readable : 0) |
                          (got & EPOLLOUT ? spoke_event_writable : 0) |
                          (got & (EPOLLHUP | EPOLLERR) ? spoke_event_hang_up : 0);
  }
  return count;
}

int spoke_eventfd(void) {
  int descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return descriptor < 0 ? -errno : descriptor;
}
int spoke_eventfd_signal(int descriptor) {
  return eventfd_write(descriptor, 1) == 0 || errno == EAGAIN ? 0 : -errno;
}
int spoke_eventfd_drain(int descriptor) {
  eventfd_t count;
  return eventfd_read(descriptor, &count) == 0 || errno == EAGAIN ? 0 : -errno;
}

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  struct sockaddr_un local;
};

static socklen_t encode(const struct spoke_address *from, union address *to) {
  memset(to, 0, sizeof *to);
  if (from->count == 4) {
    to->v4.sin_family = AF_INET;
    to->v4.sin_port = htons(from->port);
    memcpy(&to->v4.sin_addr, from->bytes, 4);
    return sizeof to->v4;
  }
  to->v6.sin6_family = AF_INET6;
  to->v6.sin6_port = htons(from->port);
  to->v6.sin6_scope_id = from->scope;
  memcpy(&to->v6.sin6_addr, from->bytes, 16);
  return sizeof to->v6;
}

static int decode(const struct sockaddr *from, struct spoke_address *to) {
  memset(to, 0, sizeof *to);
  if (from->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const void *)from;
    to->count = 4;
    to->port = ntohs(v4->sin_port);
    memcpy(to->bytes, &v4->sin_addr, 4);
    return 0;
  }
  if (from->sa_family != AF_INET6) return -EAFNOSUPPORT;
  const struct sockaddr_in6 *v6 = (const void *)from;
  to->count = 16;
  to->port = ntohs(v6->sin6_port);
  to->scope = v6->sin6_scope_id;
  memcpy(to->bytes, &v6->sin6_addr, 16);
  return 0;
}

static int new_socket(int family, int kind) {
  int descriptor = socket(family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return descriptor < 0 ? -errno : descriptor;
}

static int give_up(int descriptor) {
  int failure = -errno;
  close(descriptor);
  return failure;
}

static int set_tcp(int descriptor, int option, int value) {
  return setsockopt(descriptor, IPPROTO_TCP, option, &value, sizeof value) == 0 ? 0 : -errno;
}

int spoke_tcp_cork(int descriptor, int on) { return set_tcp(descriptor, TCP_CORK, on); }

int spoke_limit_receiving(int descriptor, int bytes) {
  return setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) < 0 ? -errno : 0;
}
int spoke_receive_now(int descriptor, void *bytes, int count, int keep) {
  ssize_t read = recv(descriptor, bytes, count, MSG_DONTWAIT | (keep ? MSG_PEEK : 0));
  return read < 0 ? -errno : (int)read;
}
int spoke_send_now(int descriptor, const void *bytes, int count) {
  ssize_t sent = send(descriptor, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -errno : (int)sent;
}

int spoke_tcp_connect(const struct spoke_address *address) {
  union address target;
  socklen_t length = encode(address, &target);
  int descriptor = new_socket(target.any.sa_family, SOCK_STREAM);
  if (descriptor < 0) return descriptor;
  set_tcp(descriptor, TCP_NODELAY, 1);
  // What waits in the kernel is not seen from here: on a slow link longer than an answer may take.
  set_tcp(descriptor, TCP_NOTSENT_LOWAT, 16384);
  // EINTR too: the connect goes on by itself and its result is read when it is writable.
  if (connect(descriptor, &target.any, length) == 0 || errno == EINPROGRESS || errno == EINTR)
    return descriptor;
  return give_up(descriptor);
}

int spoke_tcp_listen(const struct spoke_address *address, int backlog) {
  union address target;
  socklen_t length = encode(address, &target);
  int descriptor = new_socket(target.any.sa_family, SOCK_STREAM);
  if (descriptor < 0) return descriptor;
  int on = 1;
  setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (target.any.sa_family == AF_INET6)
    setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(descriptor, &target.any, length) != 0 || listen(descriptor, backlog) != 0)
    return give_up(descriptor);
  return descriptor;
}

// The length of the address, or 0 when the path is too long. '@' stands for the abstract NUL.
static socklen_t encode_path(const char *path, union address *to) {
  size_t length = strlen(path);
  if (length == 0 || length >= sizeof to->local.sun_path) return 0;
  memset(to, 0, sizeof *to);
  to->local.sun_family = AF_UNIX;
  memcpy(to->local.sun_path, path, length);
  if (path[0] != '@') return sizeof to->local;
  to->local.sun_path[0] = 0;
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

int spoke_unix_connect(const char *path) {
  union address target;
  socklen_t length = encode_path(path, &target);
  if (length == 0) return -ENAMETOOLONG;
  int descriptor = new_socket(AF_UNIX, SOCK_STREAM);
  if (descriptor < 0) return descriptor;
  int answer;
  do answer = connect(descriptor, &target.any, length);
  while (answer != 0 && errno == EINTR);
  return answer == 0 ? descriptor : give_up(descriptor);
}

// 0 when the path is free or a dead socket's; -EADDRINUSE when someone answers there; -EEXIST when
// it is not a socket at all and must not be touched.
static int may_replace(const char *path) {
  struct stat status;
  if (lstat(path, &status) != 0) return errno == ENOENT ? 0 : -errno;
  if (!S_ISSOCK(status.st_mode)) return -EEXIST;
  int peer = spoke_unix_connect(path);
  if (peer >= 0) close(peer);
  return peer >= 0 || peer == -EAGAIN ? -EADDRINUSE : 0;
}

int spoke_unix_listen(const char *path, unsigned mode, int backlog) {
  union address target;
  socklen_t length = encode_path(path, &target);
  if (length == 0) return -ENAMETOOLONG;
  int refusal = may_replace(path);
  if (refusal < 0) return refusal;
  int descriptor = new_socket(AF_UNIX, SOCK_STREAM);
  if (descriptor < 0) return descriptor;
  unlink(path);
  // The mode from the first moment; who connects before the socket listens is refused.
  mode_t before = umask(~mode & 0777);
  int answer = bind(descriptor, &target.any, length);
  umask(before);
  if (answer != 0) return give_up(descriptor);
  if (listen(descriptor, backlog) == 0) return descriptor;
  int failure = give_up(descriptor);
  unlink(path);
  return failure;
}

int spoke_accept(int listener) {
  int descriptor;
  // ECONNABORTED: that one client is gone again; the next may be there.
  do descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  while (descriptor < 0 && (errno == EINTR || errno == ECONNABORTED));
  return descriptor < 0 ? -errno : descriptor;
}

int spoke_socket_error(int descriptor) {
  int code = 0;
  socklen_t length = sizeof code;
  if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) != 0) return errno;
  return code;
}

int spoke_local_address(int descriptor, struct spoke_address *address) {
  union address local;
  socklen_t length = sizeof local;
  if (getsockname(descriptor, &local.any, &length) != 0) return -errno;
  return decode(&local.any, address);
}

int spoke_shutdown_write(int descriptor) { return shutdown(descriptor, SHUT_WR) == 0 ? 0 : -errno; }

int spoke_shutdown_both(int descriptor) { return shutdown(descriptor, SHUT_RDWR) == 0 ? 0 : -errno; }

int spoke_waiting_bytes(int descriptor) {
  int count = 0;
  return ioctl(descriptor, FIONREAD, &count) == 0 ? count : -errno;
}

int spoke_unix_send(const char *path, const void *bytes, size_t count) {
  union address target;
  socklen_t length = encode_path(path, &target);
  if (length == 0) return -ENAMETOOLONG;
  if (path[0] != '@') length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
  int descriptor = new_socket(AF_UNIX, SOCK_DGRAM);
  if (descriptor < 0) return descriptor;
  ssize_t sent;
  do sent = sendto(descriptor, bytes, count, MSG_NOSIGNAL, &target.any, length);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return give_up(descriptor);
  close(descriptor);
  return 0;
}

int spoke_resolve(const char *host, int numeric_only, void **result) {
  struct addrinfo hints = {0};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = numeric_only ? AI_NUMERICHOST : AI_ADDRCONFIG;
  struct addrinfo *list = NULL;
  int code = getaddrinfo(host, NULL, &hints, &list);
  *result = list;
  return code;
}

int spoke_addresses_next(void **position, struct spoke_address *address) {
  for (struct addrinfo *entry = *position; entry != NULL; entry = entry->ai_next) {
    if (decode(entry->ai_addr, address) != 0) continue;
    *position = entry->ai_next;
    return 1;
  }
  *position = NULL;
  return 0;
}
void spoke_addresses_free(void *result) {
  if (result != NULL) freeaddrinfo(result);
}
const char *spoke_resolve_error(int code) { return gai_strerror(code); }
