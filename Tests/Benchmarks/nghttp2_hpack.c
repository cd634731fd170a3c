// The same work as `probe hpack-speed`, done by libnghttp2: hpack encode|both ROUNDS < lists
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { lists_max = 4096, fields_max = 64 };

struct list {
  nghttp2_nv fields[fields_max];
  size_t count;
};

static struct list lists[lists_max];
static size_t list_count;

static void die(const char *why) {
  fprintf(stderr, "%s\n", why);
  exit(1);
}

static void read_lists(void) {
  char line[4096];
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    struct list *list = &lists[list_count];
    char *space = strchr(line, ' ');
    if (space) {
      if (list->count == fields_max) die("too many fields");
      *space = 0;
      nghttp2_nv *field = &list->fields[list->count++];
      field->name = (uint8_t *)strdup(line);
      field->namelen = strlen(line);
      field->value = (uint8_t *)strdup(space + 1);
      field->valuelen = strlen(space + 1);
    } else if (list->count > 0 && ++list_count == lists_max) {
      die("too many lists");
    }
  }
}

static size_t decode(nghttp2_hd_inflater *inflater, const uint8_t *block, size_t left) {
  size_t fields = 0;
  for (;;) {
    nghttp2_nv field;
    int flags = 0;
    ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, block, left, 1);
    if (used < 0) die("a block cannot be decoded");
    block += used;
    left -= (size_t)used;
    if (flags & NGHTTP2_HD_INFLATE_EMIT) fields++;
    if (flags & NGHTTP2_HD_INFLATE_FINAL) break;
  }
  nghttp2_hd_inflate_end_headers(inflater);
  return fields;
}

int main(int count, char **arguments) {
  if (count != 3) die("usage: hpack encode|both ROUNDS");
  int both = !strcmp(arguments[1], "both");
  long rounds = atol(arguments[2]);
  read_lists();
  nghttp2_hd_deflater *deflater;
  nghttp2_hd_inflater *inflater;
  if (nghttp2_hd_deflate_new(&deflater, 4096) || nghttp2_hd_inflate_new(&inflater)) die("no memory");
  static uint8_t block[1 << 16];
  size_t bytes = 0, fields = 0;
  for (long round = 0; round < rounds; round++) {
    for (size_t index = 0; index < list_count; index++) {
      struct list *list = &lists[index];
      ssize_t length = nghttp2_hd_deflate_hd(deflater, block, sizeof block, list->fields, list->count);
      if (length < 0) die("a list cannot be encoded");
      bytes += (size_t)length;
      if (both) fields += decode(inflater, block, (size_t)length);
    }
  }
  printf("%zu bytes, %zu fields\n", bytes, fields);
  return 0;
}
