// A buffer from one process to another, without a copy. Needs a running zeropoold.

#include <cstdio>
#include <cstring>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <zeropool/zeropool.hpp>

int main() {
  int link[2];
  if (pipe(link) != 0) return 1;
  const pid_t child = fork();

  auto pool = zeropool::Pool::open("");  // the daemon's only pool
  if (!pool) {
    std::fprintf(stderr, "hello: %s\n", pool.error().sentence.c_str());
    return 1;
  }
  zeropool::Handle handle;
  if (child == 0) {
    close(link[1]);
    if (read(link[0], &handle, sizeof(handle)) != sizeof(handle)) return 1;
    zeropool::Buffer buffer = pool->adopt(handle);
    std::printf("%s\n", buffer ? buffer.as<char>() : buffer.error().sentence.c_str());
    return buffer ? 0 : 1;  // the buffer puts itself back
  }
  zeropool::Buffer buffer = pool->get(64 * 1024);
  if (!buffer) return 1;
  std::strcpy(buffer.as<char>(), "hello from another process");
  handle = std::move(buffer).release();
  if (write(link[1], &handle, sizeof(handle)) != sizeof(handle)) return 1;

  int status = 0;
  waitpid(child, &status, 0);
  return status == 0 ? 0 : 1;
}
