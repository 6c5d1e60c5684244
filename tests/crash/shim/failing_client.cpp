// A client whose system calls may fail: opens a pool, gets, orders, hands off, closes; says what came of it.
//
// usage: failing_client SOCKET. Exits with 0 when all that went wrong was said in a sentence.

#include <array>
#include <cstdio>
#include <string>
#include <utility>

#include <zeropool/zeropool.hpp>

namespace {

int silent_errors = 0;

void report(const char* what, const zeropool::Error& error) {
  std::printf("%s: %s: %s\n", what, error.name(), error.sentence.c_str());
  if (error.code == zeropool::ErrorCode::ok || error.sentence.empty()) ++silent_errors;
}

bool got(const char* what, zeropool::Buffer& buffer) {
  if (!buffer) {
    report(what, buffer.error());
    return false;
  }
  buffer.data()[0] = std::byte{1};
  buffer.data()[buffer.size() - 1] = std::byte{2};
  return true;
}

void work(const zeropool::OpenOptions& options) {
  auto opened = zeropool::Pool::open("", options);
  if (!opened) {
    report("open", opened.error());
    return;
  }
  zeropool::Pool pool = *opened;
  zeropool::Buffer small = pool.get(4096);
  got("get", small);
  // More than the daemon has committed at its start: an order.
  const std::array<std::size_t, 6> sizes = {1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 65536};
  zeropool::Batch batch = pool.get_batch(sizes);
  if (!batch) {
    report("get_batch", batch.error());
  } else {
    for (zeropool::Buffer& buffer : batch) got("batch", buffer);
  }
  if (!small) return;
  const zeropool::Handle handle = std::move(small).release();
  zeropool::Buffer adopted = pool.adopt(handle);
  got("adopt", adopted);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  zeropool::OpenOptions options;
  options.socket = argv[1];
  work(options);
  work(options);  // after a fault: as if nothing had been
  std::fflush(stdout);
  return silent_errors == 0 ? 0 : 1;
}
