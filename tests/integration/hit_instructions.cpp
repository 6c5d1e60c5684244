// How many instructions a hit takes, in the library as it is released, may not grow unnoticed: each kind of hit is executed
// one instruction at a time and counted, and compared with what hit_instructions.txt has on record. No clock, and no CPU,
// has a part in it. Not by callgrind: under Valgrind every get and put takes the slow path, so that Valgrind sees them.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <span>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include <zeropool.h>
#include <zeropool/async.hpp>
#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/stepped_child.hpp"
#include "support/task.hpp"

using namespace zeropool::testing;
using zeropool::Buffer;
using zeropool::Pool;

namespace {

using Marks = SteppedChild::Marks;

constexpr std::size_t kBytes = 4096;
constexpr std::size_t kBatch = 64;
constexpr int kWarmUp = 256;
// Of the loops around the hits, which are compiled into this test: which registers they get may depend on what has nothing
// to do with a hit.
constexpr double kSlack = 1;
constexpr const char* kConfig =
    "budget: 24MiB\n"
    "limits: {clients: 16, threads: 64}\n"
    "pages: {size: [4KiB]}\n"
    "pools:\n"
    "  frames: {classes: [4KiB]}\n";

// Does `count` times what is counted, between the marks.
using Body = void (*)(Pool& pool, int count, const Marks& marks);

// A size that the compiler does not know.
std::size_t unknown_size() {
  volatile std::size_t bytes = kBytes;
  return bytes;
}

void pair(Pool& pool, int count, const Marks& marks) {
  const std::size_t bytes = unknown_size();
  for (int i = -kWarmUp; i < count; ++i) {
    if (i == 0) marks.begin();
    Buffer buffer = pool.get(bytes);
    if (!buffer) std::abort();
    asm volatile("" : : "r"(buffer.data()) : "memory");
  }
  marks.end();
}

void c_pair(Pool& pool, int count, const Marks& marks) {
  zp_pool* const c_pool = pool.c_pool();
  const std::size_t bytes = unknown_size();
  for (int i = -kWarmUp; i < count; ++i) {
    if (i == 0) marks.begin();
    zp_buffer buffer;
    if (zp_get(c_pool, bytes, &buffer) != 0) std::abort();
    asm volatile("" : : "r"(buffer.data) : "memory");
    zp_put(&buffer);
  }
  marks.end();
}

void batch(Pool& pool, int count, const Marks& marks) {
  std::array<Buffer, kBatch> buffers;
  const std::size_t bytes = unknown_size();
  for (int i = -kWarmUp; i < count; ++i) {
    if (i == 0) marks.begin();
    if (pool.get_batch(bytes, std::span(buffers)) != kBatch) std::abort();
    pool.put_batch(std::span(buffers));
  }
  marks.end();
}

Task async_pairs(Pool& pool, int count, const Marks& marks) {
  const std::size_t bytes = unknown_size();
  for (int i = -kWarmUp; i < count; ++i) {
    if (i == 0) marks.begin();
    Buffer buffer = co_await pool.async_get(bytes);
    if (!buffer) std::abort();
    asm volatile("" : : "r"(buffer.data()) : "memory");
  }
  marks.end();
}
void async_pair(Pool& pool, int count, const Marks& marks) {
  const Task task = async_pairs(pool, count, marks);
  if (!task.done()) std::abort();  // it waited
}

struct Kind {
  const char* name;
  Body body;
  int count;       // of what is counted, in one run
  double per = 1;  // pairs in one of them
};
constexpr Kind kKinds[] = {{"pair", pair, 64},
                           {"c_pair", c_pair, 64},
                           {"batch_of_64", batch, 4, kBatch},
                           {"async_pair", async_pair, 64}};

class Counting {
 public:
  Counting() : daemon_(kConfig) {}

  // Instructions per pair: of a run with some of them, less one with a single one. The fewest of three: a batch that meets
  // the end of a second may look after its spares.
  double per_pair(const Kind& kind) {
    std::uint64_t fewest = ~std::uint64_t{0};
    for (int round = 0; round < 3; ++round) {
      fewest = std::min(fewest, run(kind, 1 + kind.count) - run(kind, 1));
    }
    return static_cast<double>(fewest) / (kind.count * kind.per);
  }

 private:
  std::uint64_t run(const Kind& kind, int count) {
    SteppedChild child([&](const Marks& marks) {
      zeropool::OpenOptions options;
      options.socket = daemon_.socket();
      auto pool = Pool::open("frames", options);
      expect(pool.has_value(), "the pool cannot be opened");
      kind.body(*pool, count, marks);
    });
    return child.step(~std::uint64_t{0});
  }

  DaemonProcess daemon_;
};

std::string record_path() {
  const char* const root = std::getenv("ZEROPOOL_SOURCE_DIR");
  REQUIRE(root != nullptr);
  return std::string(root) + "/tests/integration/hit_instructions.txt";
}

// Lines of a name and a value; # begins a comment.
std::map<std::string, std::string> read_record() {
  std::ifstream file(record_path());
  REQUIRE_MESSAGE(file.good(), record_path() << " cannot be read");
  std::map<std::string, std::string> record;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string name;
    std::string value;
    if (words >> name >> value) record[name] = value;
  }
  return record;
}

}  // namespace

TEST_CASE("a hit takes as many instructions as on record") {
  const auto record = read_record();
  REQUIRE(record.contains("compiler"));
  if (record.at("compiler") != __VERSION__) {
    MESSAGE("SKIPPED: on record are counts of GCC " << record.at("compiler") << ", this is "
                                                    << __VERSION__);
    return;
  }
  Counting counting;
  for (const Kind& kind : kKinds) {
    const std::string name = kind.name;
    CAPTURE(name);
    REQUIRE(record.contains(name));
    const double recorded = std::stod(record.at(name));
    const double counted = counting.per_pair(kind);
    MESSAGE(name << " " << counted << " (on record: " << recorded << ")");
    CHECK_MESSAGE(
        counted <= recorded + kSlack,
        "a hit has become longer. If that cannot be mended, and is worth it, say why in the "
        "commit that writes the number counted here into "
            << record_path());
    CHECK_MESSAGE(counted >= recorded - kSlack,
                  "a hit has become shorter: write the number counted here into "
                      << record_path() << ", so that it stays so");
  }
}

TEST_CASE("one instruction more in a hit is counted") {
  constexpr int kCount = 64;
  static constexpr Body kLonger = [](Pool& pool, int count, const Marks& marks) {
    const std::size_t bytes = unknown_size();
    for (int i = -kWarmUp; i < count; ++i) {
      if (i == 0) marks.begin();
      Buffer buffer = pool.get(bytes);
      if (!buffer) std::abort();
      asm volatile("" : : "r"(buffer.data()) : "memory");
      asm volatile("nop\n\tnop\n\tnop" : : : "memory");
    }
    marks.end();
  };
  Counting counting;
  const double as_it_is = counting.per_pair({"pair", pair, kCount});
  const double longer = counting.per_pair({"longer", kLonger, kCount});
  CHECK(longer >= as_it_is + 2);
  CHECK(longer > as_it_is + kSlack);
}
