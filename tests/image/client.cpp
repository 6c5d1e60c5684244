// A client in a container of its own.
//   client give         a handle of a filled buffer, on standard output; then it exits
//   client take HANDLE  adopts it, and looks at every byte
//   client hold N       gets N buffers of 4 MiB, says so, and holds them until it is killed
//   client all N        gets N buffers of 4 MiB, each within a minute, and puts them

#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

#include <zeropool/zeropool.hpp>

namespace {

constexpr std::size_t kGivenBytes = 64 * 1024;
constexpr std::size_t kHeldBytes = 4 << 20;

unsigned char pattern(std::size_t i) { return static_cast<unsigned char>((i * 31 + 7) & 0xff); }

int fail(const char* what, std::string_view why) {
  std::fprintf(stderr, "client: %s: %.*s\n", what, static_cast<int>(why.size()), why.data());
  return 1;
}

int give(zeropool::Pool& pool) {
  zeropool::Buffer buffer = pool.get(kGivenBytes);
  if (!buffer) return fail("get", buffer.error().sentence);
  for (std::size_t i = 0; i < kGivenBytes; ++i) buffer.as<unsigned char>()[i] = pattern(i);
  const zeropool::Handle handle = std::move(buffer).release();
  if (!handle) return fail("release", "no handle");
  std::printf("%016" PRIx64 "%016" PRIx64 "\n", std::uint64_t{handle.raw.word[0]},
              std::uint64_t{handle.raw.word[1]});
  return 0;
}

int take(zeropool::Pool& pool, const char* text) {
  zeropool::Handle handle;
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  if (std::sscanf(text, "%16" SCNx64 "%16" SCNx64, &first, &second) != 2) {
    return fail("take", "32 hexadecimal digits are a handle");
  }
  handle.raw.word[0] = first;
  handle.raw.word[1] = second;
  const zeropool::Buffer buffer = pool.adopt(handle);
  if (!buffer) return fail("adopt", buffer.error().sentence);
  for (std::size_t i = 0; i < kGivenBytes; ++i) {
    if (buffer.as<unsigned char>()[i] != pattern(i)) return fail("take", "foreign bytes");
  }
  std::printf("taken\n");
  return 0;
}

int get_many(zeropool::Pool& pool, int count, bool hold) {
  zeropool::GetOptions options;
  options.timeout = std::chrono::minutes(1);
  std::vector<zeropool::Buffer> buffers;
  for (int i = 0; i < count; ++i) {
    zeropool::Buffer buffer = pool.get(kHeldBytes, options);
    if (!buffer) return fail("get", buffer.error().sentence);
    buffers.push_back(std::move(buffer));
  }
  std::printf("got %d\n", count);
  std::fflush(stdout);
  while (hold) ::pause();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  auto pool = zeropool::Pool::open("");
  if (!pool) return fail("open", pool.error().sentence);
  if (what == "give" && argc == 2) return give(*pool);
  if (what == "take" && argc == 3) return take(*pool, argv[2]);
  if (what == "hold" && argc == 3) return get_many(*pool, std::atoi(argv[2]), true);
  if (what == "all" && argc == 3) return get_many(*pool, std::atoi(argv[2]), false);
  return fail("usage", "give | take HANDLE | hold N | all N");
}
