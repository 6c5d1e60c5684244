#include "daemon/cache_pressure.hpp"

#include <atomic>

#include "daemon/event_loop.hpp"
#include "daemon/idle_caches.hpp"

namespace zeropool::daemon {

void CachePressure::press(std::uint32_t ring) {
  pressed_[ring] = true;
  anything_ = true;
  set_limits(ring, 0);
  if (pool_.idle) pool_.idle->take_for(ring, monotonic_ns());
}

void CachePressure::relieve() {
  if (!anything_) return;
  for (std::uint32_t ring = 0; ring < pressed_.size(); ++ring) {
    if (!pressed_[ring]) continue;
    pressed_[ring] = false;
    // By the plan, not by a word that clients can write: a put may fill a magazine to its end, no further.
    set_limits(ring, pool_.memory->plan().rings[ring].magazine_slots);
  }
  anything_ = false;
}

void CachePressure::relieve_everything() {
  pressed_.assign(pressed_.size(), true);
  anything_ = true;
  relieve();
}

void CachePressure::set_limits(std::uint32_t ring, std::uint32_t limit) {
  const PoolMemory& memory = *pool_.memory;
  memory.view().descriptor(ring).put_limit.store(limit, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // L1
  const std::uint32_t threads = memory.published().threads;
  for (std::uint32_t n = 0; n < threads; ++n) {
    lib::SharedThreadRecord& thread = memory.view().thread(n);
    std::atomic<std::uint32_t>& word = lib::ControlView::rings_of(thread)[ring].limit;
    if (limit != 0 && thread.closing.load(std::memory_order_relaxed) != 0) continue;  // L2
    word.store(limit, std::memory_order_seq_cst);
    // It may have begun to close in between: then its own 0 may be the older one.
    if (limit != 0 && thread.closing.load(std::memory_order_seq_cst) != 0) {
      word.store(0, std::memory_order_relaxed);
    }
  }
}

}  // namespace zeropool::daemon
