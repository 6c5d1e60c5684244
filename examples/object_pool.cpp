// Objects that are costly to make, used again and again by several threads. Needs a running zeropoold.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory_resource>
#include <numeric>
#include <string_view>
#include <thread>
#include <vector>

#include <zeropool/zeropool.hpp>

namespace {

// Its table is costly; its memory is from the allocator that it is given.
class Checksum {
 public:
  using allocator_type = std::pmr::polymorphic_allocator<std::byte>;
  static constexpr std::size_t kTable = 16'384;
  explicit Checksum(const allocator_type& allocator) : table_(kTable, allocator) {
    std::iota(table_.begin(), table_.end(), 1U);
  }
  void add(std::string_view text) {
    for (const char c : text) sum_ += table_[std::size_t{static_cast<unsigned char>(c)} * 61];
  }
  std::uint64_t sum() const { return sum_; }
  void clear() noexcept { sum_ = 0; }  // called when it goes back

 private:
  std::pmr::vector<std::uint32_t> table_;
  std::uint64_t sum_ = 0;
};

}  // namespace

int main() {
  auto pool = zeropool::Pool::open("");  // the daemon's only pool
  if (!pool) {
    std::fprintf(stderr, "object_pool: %s\n", pool.error().sentence.c_str());
    return 1;
  }
  // Made with the pool's memory, as Checksum takes an allocator; four at most, then a get waits for a put.
  zeropool::ObjectPool<Checksum> sums{*pool, zeropool::ObjectPoolOptions{.max_objects = 4}};

  std::vector<std::thread> threads;
  threads.reserve(8);
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&sums] {
      for (int i = 0; i < 1000; ++i) {
        zeropool::PooledObject<Checksum> sum = sums.get();
        if (sum) sum->add("some text");
      }  // goes back by itself
    });
  }
  for (std::thread& thread : threads) thread.join();

  // A factory and a reset function of one's own; the factory takes a size.
  zeropool::ObjectPool<std::pmr::vector<char>> lines{
      *pool,
      [](std::size_t bytes, std::pmr::memory_resource* memory) {
        return std::pmr::vector<char>(bytes, memory);
      },
      [](std::pmr::vector<char>& line) { line[0] = 0; }};
  const auto line = lines.get(3000);  // made with 4096: the next power of two

  const zeropool::ObjectPoolStats stats = sums.stats();
  std::printf("gets: %llu, at most 4 made: %s, a line of %zu bytes in the pool: %s\n",
              static_cast<unsigned long long>(stats.gets), stats.constructions <= 4 ? "yes" : "no",
              line->size(), pool->owns(line->data()) ? "yes" : "no");
  return stats.failures == 0 ? 0 : 1;
}
