#include "recyclers.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <utility>

namespace zeropool_reuse {

using namespace std::chrono_literals;

SharedMemory::SharedMemory(std::size_t bytes) : bytes_(bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) {
    std::fprintf(stderr, "zeropool_reuse: no memory for %zu bytes\n", bytes);
    std::exit(1);
  }
  data_ = static_cast<std::byte*>(memory);
}
SharedMemory::~SharedMemory() { ::munmap(data_, bytes_); }

HandMade::HandMade(std::size_t bytes, std::size_t count, Order order, Pipe& pipe)
    : bytes_(bytes),
      order_(order),
      pipe_(pipe),
      memory_(bytes * count),
      seen_(pipe.returned.load()) {
  for (std::uint32_t i = 0; i < count; ++i) free_.push_back(i);
}

Recycler HandMade::recycler() {
  Recycler way;
  way.get = [this]() -> std::byte* {
    const std::uint64_t returned = pipe_.returned.load(std::memory_order_acquire);
    for (; seen_ < returned; ++seen_) free_.push_back(pipe_.back[seen_ % Pipe::kMost]);
    if (free_.empty()) return nullptr;
    if (order_ == Order::kOldestFirst) {
      given_ = free_.front();
      free_.pop_front();
    } else {
      given_ = free_.back();
      free_.pop_back();
    }
    return memory_.data() + std::size_t{given_} * bytes_;
  };
  way.give = [this] { return Parcel{{given_, 0}}; };
  way.take = [this](const Parcel& parcel) -> const std::byte* {
    taken_ = static_cast<std::uint32_t>(parcel.words[0]);
    return memory_.data() + std::size_t{taken_} * bytes_;
  };
  way.put = [this] {
    const std::uint64_t at = pipe_.returned.load(std::memory_order_relaxed);
    pipe_.back[at % Pipe::kMost] = taken_;
    pipe_.returned.store(at + 1, std::memory_order_release);
  };
  return way;
}

Pooled::Pooled(const std::string& pool, std::size_t bytes) : bytes_(bytes) {
  auto opened = zeropool::Pool::open(pool);
  if (!opened) {
    std::fprintf(stderr, "zeropool_reuse: %s\n", opened.error().sentence.c_str());
    std::exit(1);
  }
  pool_ = *opened;
  std::vector<zeropool::Buffer> all;
  for (;;) {
    zeropool::Buffer buffer = pool_.get(bytes, 200ms);
    if (!buffer) break;
    std::memset(buffer.data(), 1, buffer.size());
    all.push_back(std::move(buffer));
  }
  count_ = all.size();
}

Recycler Pooled::recycler() {
  Recycler way;
  way.get = [this]() -> std::byte* {
    mine_ = pool_.get(bytes_);
    return mine_ ? mine_.data() : nullptr;
  };
  way.give = [this] {
    const zeropool::Handle handle = std::move(mine_).release();
    Parcel parcel{};
    static_assert(sizeof(handle) == sizeof(parcel.words));
    std::memcpy(parcel.words, &handle, sizeof(handle));
    return parcel;
  };
  way.take = [this](const Parcel& parcel) -> const std::byte* {
    zeropool::Handle handle;
    std::memcpy(&handle, parcel.words, sizeof(handle));
    theirs_ = pool_.adopt(handle);
    return theirs_.data();
  };
  way.put = [this] { theirs_.reset(); };
  // A forked child attaches anew by itself.
  way.begin_consumer = [this] { pool_.try_get(bytes_).reset(); };
  return way;
}

}  // namespace zeropool_reuse
