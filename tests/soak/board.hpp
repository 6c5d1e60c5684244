#pragma once
// Board: what the clients of a soak write down and the director reads, in memory that all of them share, so that
// it outlives whoever is killed.
//
// Thread safety: all of it; plain counts, relaxed: nothing is concluded from their order.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <sys/mman.h>
#include <time.h>

namespace zeropool::soak {

constexpr std::size_t kClients = 8;
constexpr std::size_t kErrorCodes = 32;
constexpr auto kRelaxed = std::memory_order_relaxed;

inline std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// What the client in one of the places does now; the next client in it takes it over.
struct ClientEntry {
  std::atomic<std::uint32_t> client_id;  // 0: it has not attached
  std::atomic<std::uint32_t> stops;  // one more before each SIGSTOP, and one more after its SIGCONT
  // Its first thread's operation under way, or the last completed one; 0: it is at something else.
  std::atomic<std::int64_t> since_ns;
  std::atomic<std::int64_t> allowed_ns;    // it may wait so long by right
  std::atomic<std::uint32_t> since_stops;  // `stops`, then
};

struct Board {
  ClientEntry clients[kClients];
  std::atomic<std::uint64_t> operations;
  std::atomic<std::uint64_t> doubled;  // patterns found broken
  std::atomic<std::uint64_t> failed_gets;
  std::atomic<std::uint64_t> failed_by_code[kErrorCodes];
  std::atomic<std::uint64_t> adopted;
  std::atomic<std::uint64_t> threads;
  std::atomic<std::uint64_t> forks;
  std::atomic<std::uint64_t> crashes;  // of forked children
  std::atomic<std::int64_t> longest_stall_ns;

  void stalled(std::int64_t stall_ns) {
    std::int64_t longest = longest_stall_ns.load(kRelaxed);
    while (stall_ns > longest &&
           !longest_stall_ns.compare_exchange_weak(longest, stall_ns, kRelaxed)) {
    }
  }
};

// Inherited by fork, under the same address.
class SharedBoard {
 public:
  SharedBoard() {
    void* memory =
        ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no memory for the board");
    board_ = ::new (memory) Board{};
  }
  ~SharedBoard() { ::munmap(board_, sizeof(Board)); }
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  Board& operator*() const { return *board_; }
  Board* operator->() const { return board_; }

 private:
  Board* board_;
};

}  // namespace zeropool::soak
