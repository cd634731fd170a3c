// Counts what a program allocates, where a test can see it: preloaded with LD_PRELOAD, it maps the file
// that SPOKE_ALLOCATIONS names and keeps three numbers in it: calls, bytes, and the calls that the
// program's own code made, as distinct from a library's.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static uint64_t nowhere[3], *counts = nowhere;
static uintptr_t program_start, program_end;

// The first object is the program itself.
static int find_program(struct dl_phdr_info *object, size_t size, void *unused) {
  (void)size, (void)unused;
  program_start = object->dlpi_addr;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &object->dlpi_phdr[i];
    uintptr_t end = object->dlpi_addr + part->p_vaddr + part->p_memsz;
    if (part->p_type == PT_LOAD && end > program_end) program_end = end;
  }
  return 1;
}

__attribute__((constructor)) static void map_counts(void) {
  dl_iterate_phdr(find_program, 0);
  const char *path = getenv("SPOKE_ALLOCATIONS");
  int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *map = mmap(0, sizeof nowhere, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (map != MAP_FAILED) counts = map;
}

static void count(size_t size, void *caller) {
  uintptr_t from = (uintptr_t)caller;
  __atomic_fetch_add(&counts[0], 1, __ATOMIC_RELAXED);
  __atomic_fetch_add(&counts[1], size, __ATOMIC_RELAXED);
  if (from >= program_start && from < program_end) __atomic_fetch_add(&counts[2], 1, __ATOMIC_RELAXED);
}

#define COUNT(size) count(size, __builtin_return_address(0))

void *malloc(size_t size) { COUNT(size); return __libc_malloc(size); }
void *calloc(size_t n, size_t size) { COUNT(n * size); return __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { COUNT(size); return __libc_realloc(old, size); }
void *aligned_alloc(size_t alignment, size_t size) { COUNT(size); return __libc_memalign(alignment, size); }
int posix_memalign(void **out, size_t alignment, size_t size) {
  COUNT(size);
  *out = __libc_memalign(alignment, size);
  return *out ? 0 : ENOMEM;
}
