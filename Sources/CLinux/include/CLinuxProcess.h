#ifndef SPOKE_CLINUX_PROCESS_H
#define SPOKE_CLINUX_PROCESS_H
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

const char *spoke_error_text(int code);
// For a library that leaves its failure in errno.
int spoke_errno(void);

// Nanoseconds.
int64_t spoke_clock_monotonic(void);
int64_t spoke_clock_wall(void);
// 1 disciplined, 0 not, or the errno when the kernel does not say (a seccomp filter).
int spoke_clock_synced(void);

// Blocks the signals of `mask` for the process and answers a descriptor that reads them.
// Bit n of `mask` is signal n.
int spoke_signal_descriptor(uint64_t mask);
// The number of the next pending signal, or -EAGAIN.
int spoke_signal_next(int descriptor);
int spoke_ignore_sigpipe(void);
// For a thread that must leave every signal to the main one.
int spoke_block_all_signals(void);

int spoke_random(void *bytes, size_t count);
int spoke_is_terminal(int descriptor);
const char *spoke_environment(const char *name);
int spoke_process_id(void);
int64_t spoke_page_size(void);
// One allocation arena, and free memory back to the system early.
void spoke_tune_memory(void);
// A detached thread with a small stack.
int spoke_thread_start(size_t stack, void *(*body)(void *), void *context);
_Noreturn void spoke_exit(int status);
#endif
