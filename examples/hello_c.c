/* hello.cpp in C. Needs a running zeropoold. */

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zeropool.h>

static int failed(const char* what) {
  fprintf(stderr, "hello_c: %s: %s\n", what, zp_last_error());
  return 1;
}

static int receive(zp_pool* pool, int link) {
  zp_handle handle;
  zp_buffer buffer;
  if (read(link, &handle, sizeof(handle)) != sizeof(handle)) return 1;
  if (zp_adopt(pool, handle, &buffer) != 0) return failed("adopt");
  printf("%s\n", (const char*)buffer.data);
  return zp_put(&buffer);
}

static int send(zp_pool* pool, int link) {
  zp_handle handle;
  zp_buffer buffer;
  if (zp_get(pool, 64 * 1024, &buffer) != 0) return failed("get");
  strcpy(buffer.data, "hello from another process");
  if (zp_release(&buffer, 0, &handle) != 0) return failed("release");
  return write(link, &handle, sizeof(handle)) == sizeof(handle) ? 0 : 1;
}

int main(void) {
  int link[2];
  if (pipe(link) != 0) return 1;
  const pid_t child = fork();
  if (child == 0) close(link[1]);

  zp_pool* pool = NULL;
  if (zp_open("", NULL, &pool) != 0) return failed("open"); /* the daemon's only pool */
  int status = child == 0 ? receive(pool, link[0]) : send(pool, link[1]);
  zp_close(pool);
  if (child != 0) {
    int childs = 0;
    waitpid(child, &childs, 0);
    status |= childs;
  }
  return status == 0 ? 0 : 1;
}
