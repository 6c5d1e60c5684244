// An object in shared memory from one process to another, without a copy, by its type. Needs a running zeropoold.

#include <cstdio>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <zeropool/zeropool.hpp>

struct Quote {
  char symbol[8];
  double bid;
  double ask;
};
struct Trade {
  char symbol[8];
  double price;
  double amount;
};

// What may travel says so, with a name and a version that both processes know it by.
template <>
struct zeropool::HandOff<Quote> {
  static constexpr const char* name = "example.Quote";
  static constexpr std::uint32_t version = 1;
};
template <>
struct zeropool::HandOff<Trade> {
  static constexpr const char* name = "example.Trade";
  static constexpr std::uint32_t version = 1;
};

namespace {

int receive(int from, const zeropool::Pool& pool) {
  zeropool::Handle handle;
  if (read(from, &handle, sizeof(handle)) != sizeof(handle)) return 1;
  // The wrong type is refused, and the handle stays good.
  zeropool::TypedPool<Trade> trades{pool};
  std::printf("as a Trade: %s\n", trades.adopt(handle).error().name());
  zeropool::TypedPool<Quote> quotes{pool};
  const zeropool::TypedBuffer<Quote> quote = quotes.adopt(handle);
  if (!quote) return 1;
  std::printf("as a Quote: %s %.2f %.2f\n", quote->symbol, quote->bid, quote->ask);
  return 0;
}

int send(int to, const zeropool::Pool& pool) {
  zeropool::TypedPool<Quote> quotes{pool};
  if (!quotes) {  // no class that it fits
    std::fprintf(stderr, "typed_pool: %s\n", quotes.error().sentence.c_str());
    return 1;
  }
  zeropool::TypedBuffer<Quote> quote = quotes.get(Quote{"ZERO", 99.5, 100.25});
  if (!quote) return 1;
  const zeropool::Handle handle = std::move(quote).release();
  return write(to, &handle, sizeof(handle)) == sizeof(handle) ? 0 : 1;
}

}  // namespace

int main() {
  int link[2];
  if (pipe(link) != 0) return 1;
  const pid_t child = fork();
  auto pool = zeropool::Pool::open("");  // the daemon's only pool
  if (!pool) {
    std::fprintf(stderr, "typed_pool: %s\n", pool.error().sentence.c_str());
    return 1;
  }
  if (child == 0) {
    close(link[1]);
    return receive(link[0], *pool);
  }
  const int sent = send(link[1], *pool);
  close(link[1]);
  int status = 0;
  waitpid(child, &status, 0);
  return sent == 0 && status == 0 ? 0 : 1;
}
