#include "daemon/cache_pressure.hpp"

#include <algorithm>

namespace zeropool::daemon {

void CachePressure::press(std::uint32_t ring) {
  pressed_[ring] = true;
  anything_ = true;
  set_limits(ring, 0);
}

void CachePressure::relieve() {
  if (!anything_) return;
  for (std::uint32_t ring = 0; ring < pressed_.size(); ++ring) {
    if (!pressed_[ring]) continue;
    pressed_[ring] = false;
    // A put may fill a magazine to its end, no further, whatever stands in the descriptor.
    const std::uint32_t wanted =
        memory_.view().descriptor(ring).put_limit.load(std::memory_order_relaxed);
    set_limits(ring, std::min(wanted, memory_.plan().rings[ring].magazine_slots));
  }
  anything_ = false;
}

void CachePressure::relieve_everything() {
  pressed_.assign(pressed_.size(), true);
  anything_ = true;
  relieve();
}

void CachePressure::set_limits(std::uint32_t ring, std::uint32_t limit) {
  const std::uint32_t threads = memory_.published().threads;
  for (std::uint32_t n = 0; n < threads; ++n) {
    lib::SharedThreadRecord& thread = memory_.view().thread(n);
    // A client that is closing keeps its limits at 0.
    if (limit != 0 && thread.closing.load(std::memory_order_relaxed) != 0) continue;
    lib::ControlView::rings_of(thread)[ring].limit.store(limit, std::memory_order_relaxed);
  }
}

}  // namespace zeropool::daemon
