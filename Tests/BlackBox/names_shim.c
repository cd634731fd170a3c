// Preloaded into spoked: a name that ends in .test is 127.0.0.1. Its lookup takes as long as a file of
// that name is in the folder $SLOW_NAMES; a file NAME.asked there says that it has begun.
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
  int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
      dlsym(RTLD_NEXT, "getaddrinfo");
  const char *end = strrchr(name, '.');
  int is_number = hints != NULL && hints->ai_flags & AI_NUMERICHOST;
  if (is_number || end == NULL || strcmp(end, ".test") != 0)
    return real(name, service, hints, found);
  char path[512];
  snprintf(path, sizeof path, "%s/%s.asked", getenv("SLOW_NAMES"), name);
  close(creat(path, 0600));
  *strrchr(path, '.') = 0;
  while (access(path, F_OK) == 0) usleep(10000);
  return real("127.0.0.1", service, hints, found);
}
