#pragma once
// Who holds what, and which extents are in use, for somebody who looks on: the status page, `zeropoolctl top`.
//
// Thread safety: the loop thread's. Owners that live go on meanwhile: the result is an estimate, and nothing is decided
// on it.
// Invariants:
//   O1  A piece of a look takes no longer than its pace says (and the 256 words in hand): orders never wait longer for it.
//   O2  Looks are made only while somebody asks, and at most one every `every_ns`: an idle daemon never wakes.
//   O3  The size of the result does not grow with the number of extents: a map has kMapCells cells at most.

#include <chrono>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "daemon/event_loop.hpp"
#include "daemon/pool.hpp"

namespace zeropool::daemon {

// Neighbouring extents of a ring.
struct MapCell {
  std::uint32_t published = 0;  // committed
  std::uint32_t changing = 0;   // being committed or given back
  std::uint64_t cold_bytes = 0;
};

struct RingMap {
  static constexpr std::uint32_t kMapCells = 48;
  std::uint64_t extent_bytes = 0;
  std::uint32_t extents = 0;           // from the first to the last that ever was committed
  std::uint32_t extents_per_cell = 1;  // the last cell may have fewer
  std::vector<MapCell> cells;

  std::uint64_t committed_bytes() const;
  std::uint64_t cold_bytes() const;
};

struct PoolOccupancy {
  std::vector<ClientHolding> clients;  // of those attached when the look began, in that order
  std::vector<RingMap> rings;          // by the plan's numbers
};

struct Occupancy {
  std::vector<PoolOccupancy> pools;  // in the daemon's order
  std::uint64_t ended_ns = 0;        // CLOCK_MONOTONIC
};

// How long one piece of a look takes, and how often there is a look.
struct OccupancyPace {
  std::uint64_t first_piece_ns = 2'000'000;
  std::uint64_t piece_ns = 500'000;
  std::chrono::milliseconds pause{20};
  std::uint64_t every_ns = 1'000'000'000;
};

class OccupancyWatch {
 public:
  OccupancyWatch(EventLoop& loop, const std::vector<std::unique_ptr<Pool>>& pools,
                 OccupancyPace pace = {});
  ~OccupancyWatch();
  OccupancyWatch(const OccupancyWatch&) = delete;
  OccupancyWatch& operator=(const OccupancyWatch&) = delete;

  // The last whole look; null: the first is under way. Begins another one where that is old.
  std::shared_ptr<const Occupancy> ask();

 private:
  enum class Phase { kExtents, kMagazines, kSlots };

  void begin();
  void begin_ring();
  bool look_until(std::uint64_t deadline_ns);  // true: the look is whole
  std::uint32_t words_of_phase() const;
  void look_at(std::uint32_t index);
  void look_at_extent(std::uint32_t extent);
  void look_at_magazine(std::uint32_t cell);
  void look_at_slot(std::uint32_t slot);
  void step_on();
  void finish();

  EventLoop& loop_;
  const std::vector<std::unique_ptr<Pool>>& pools_;
  OccupancyPace pace_;
  std::shared_ptr<const Occupancy> last_;
  std::unique_ptr<Occupancy> look_;  // null: none is under way
  std::size_t pool_ = 0;
  std::uint32_t ring_ = 0;
  Phase phase_ = Phase::kExtents;
  std::uint32_t next_ = 0;                                // of the phase
  std::unordered_map<std::uint32_t, std::size_t> place_;  // of a client id in look_'s list
  EventLoop::TimerId timer_ = 0;
};

}  // namespace zeropool::daemon
