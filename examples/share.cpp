// One buffer, read by four processes at once, without a copy. Needs a running zeropoold.

#include <cstdio>
#include <cstring>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <zeropool/zeropool.hpp>

namespace {

constexpr int kReaders = 4;
constexpr char kText[] = "one buffer, read by four processes";

int read_it(int link, int number) {
  auto pool = zeropool::Pool::open("");
  zeropool::Handle handle;
  if (!pool || read(link, &handle, sizeof(handle)) != sizeof(handle)) return 1;
  const zeropool::SharedBuffer shared = pool->adopt_shared(handle);
  if (!shared) {
    std::fprintf(stderr, "share: %s\n", shared.error().sentence.c_str());
    return 1;
  }
  std::printf("reader %d: %s\n", number, shared.as<char>());
  return std::strcmp(shared.as<char>(), kText) == 0 ? 0 : 1;
}  // the last one to come here gives the buffer back

}  // namespace

int main() {
  int link[2];
  if (pipe(link) != 0) return 1;
  for (int number = 1; number <= kReaders; ++number) {
    if (fork() == 0) return read_it(link[0], number);
  }
  auto pool = zeropool::Pool::open("");  // the daemon's only pool
  if (!pool) {
    std::fprintf(stderr, "share: %s\n", pool.error().sentence.c_str());
    return 1;
  }
  zeropool::Buffer buffer = pool->get(64 * 1024);
  if (!buffer) return 1;
  std::memcpy(buffer.as<char>(), kText, sizeof(kText));

  zeropool::SharedBuffer shared = std::move(buffer).share();  // from here on read-only
  const zeropool::Handle handle = shared.handle(kReaders);    // good for so many adoptions
  shared.reset();                                             // the handle keeps it for its lease
  for (int number = 1; number <= kReaders; ++number) {
    if (write(link[1], &handle, sizeof(handle)) != sizeof(handle)) return 1;
  }
  close(link[1]);

  bool well = true;
  int status = 0;
  while (wait(&status) > 0) well = well && status == 0;
  return well ? 0 : 1;
}
