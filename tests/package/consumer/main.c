/* The same as main.cpp, from C. */
#define _POSIX_C_SOURCE 200809L /* setenv */

#include <stdio.h>
#include <stdlib.h>

#include <zeropool.h>

int main(int argc, char** argv) {
  zp_pool* pool = NULL;
  int code;
  if (argc != 2) {
    fprintf(stderr, "usage: consumer SOCKET\n");
    return 2;
  }
  if (setenv("ZEROPOOL_SOCKET", argv[1], 1) != 0) return 1;
  code = zp_open("frames", NULL, &pool);
  if (code == 0) {
    fprintf(stderr, "opened a pool where there is no daemon\n");
    return 1;
  }
  printf("%s\n", zp_strerror(code));
  return code == ZP_NO_DAEMON ? 0 : 1;
}
