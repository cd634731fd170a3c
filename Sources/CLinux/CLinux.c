// Time, signals, threads and the process.
#define _GNU_SOURCE 1
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#include "CLinux.h"
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

// What every empty array of Embedded Swift is. Its own is weak and has the alignment of an Int: an empty
// array's span of elements that want more, on 32 bits, ends the program, wherever the linker puts it so.
__attribute__((aligned(16), visibility("hidden"))) intptr_t spoke_empty_array[4] __asm__(
    "$es23_swiftEmptyArrayStorageSi_S3itvp") = {0, -1, 0, 1};

// strerror is safe between threads since glibc 2.32.
const char *spoke_error_text(int code) { return strerror(code); }

int spoke_errno(void) { return errno; }

static int64_t nanoseconds(clockid_t clock) {
  struct timespec time;
  if (clock_gettime(clock, &time) != 0) return 0;
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t spoke_clock_monotonic(void) { return nanoseconds(CLOCK_MONOTONIC); }
int64_t spoke_clock_wall(void) { return nanoseconds(CLOCK_REALTIME); }

int spoke_clock_synced(void) {
  struct timex state;
  memset(&state, 0, sizeof state);
  if (adjtimex(&state) < 0) return -errno;
  return (state.status & STA_UNSYNC) == 0;
}

int spoke_signal_descriptor(uint64_t mask) {
  sigset_t set;
  sigemptyset(&set);
  for (int number = 1; number < 64; number++)
    if (mask >> number & 1) sigaddset(&set, number);
  if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return -errno;
  int descriptor = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  return descriptor < 0 ? -errno : descriptor;
}

int spoke_signal_next(int descriptor) {
  struct signalfd_siginfo information;
  ssize_t count;
  do count = read(descriptor, &information, sizeof information);
  while (count < 0 && errno == EINTR);
  if (count < 0) return -errno;
  return count == sizeof information ? (int)information.ssi_signo : -EIO;
}

int spoke_ignore_sigpipe(void) { return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -errno : 0; }

int spoke_block_all_signals(void) {
  sigset_t set;
  sigfillset(&set);
  return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int spoke_random(void *bytes, size_t count) {
  ssize_t got;
  do got = getrandom(bytes, count, 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) return -errno;
  return (size_t)got == count ? 0 : -EIO;
}

int spoke_is_terminal(int descriptor) { return isatty(descriptor); }
const char *spoke_environment(const char *name) { return getenv(name); }
int spoke_process_id(void) { return (int)getpid(); }
int64_t spoke_page_size(void) { return sysconf(_SC_PAGESIZE); }

void spoke_tune_memory(void) {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 64 * 1024);
  mallopt(M_MMAP_THRESHOLD, 64 * 1024);
  mallopt(M_TOP_PAD, 16 * 1024);
}

int spoke_thread_start(size_t stack, void *(*body)(void *), void *context) {
  pthread_attr_t attributes;
  pthread_t thread;
  int failure = pthread_attr_init(&attributes);
  if (failure != 0) return -failure;
  failure = pthread_attr_setstacksize(&attributes, stack);
  if (failure == 0) failure = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (failure == 0) failure = pthread_create(&thread, &attributes, body, context);
  pthread_attr_destroy(&attributes);
  return -failure;
}

_Noreturn void spoke_exit(int status) { exit(status); }
