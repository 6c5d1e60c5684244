// Standard containers with their memory in a pool, and so within its budget. Needs a running zeropoold.

#include <cstdio>
#include <memory_resource>
#include <string>
#include <unordered_map>
#include <vector>

#include <zeropool/zeropool.hpp>

int main() {
  auto pool = zeropool::Pool::open("");  // the daemon's only pool
  if (!pool) {
    std::fprintf(stderr, "pmr: %s\n", pool.error().sentence.c_str());
    return 1;
  }
  zeropool::MemoryResource memory{*pool};

  std::pmr::vector<double> samples(100'000, 0.5, &memory);
  std::pmr::unordered_map<std::string, std::pmr::string> pages(&memory);
  pages.emplace("index",
                std::string(10'000, 'x'));  // the text is in a slot, the node is too small for one

  // Many small pieces, freed together: a monotonic resource takes slots, and cuts them up.
  std::pmr::monotonic_buffer_resource pieces(16 * 1024, &memory);
  std::pmr::vector<std::pmr::string> words(&pieces);
  for (int i = 0; i < 1000; ++i) words.emplace_back("word number " + std::to_string(i));

  std::printf("samples in the pool: %s\n", pool->owns(samples.data()) ? "yes" : "no");
  std::printf("page in the pool: %s\n", pool->owns(pages.at("index").data()) ? "yes" : "no");
  std::printf("words in the pool: %s\n", pool->owns(words.data()) ? "yes" : "no");
  return 0;
}
