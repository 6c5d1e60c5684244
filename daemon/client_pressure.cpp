#include "daemon/client_pressure.hpp"

#include <algorithm>
#include <atomic>

namespace zeropool::daemon {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

void ClientPressure::press(std::uint32_t client) {
  if (pressed_.insert(client).second) set_limits(client, true);
}

void ClientPressure::relieve_but(const std::unordered_set<std::uint32_t>& clients) {
  std::erase_if(pressed_, [&](std::uint32_t client) {
    if (clients.contains(client)) return false;
    set_limits(client, false);
    return true;
  });
}

void ClientPressure::set_limits(std::uint32_t client, bool pressed) {
  const std::uint32_t threads = memory_.published().threads;
  for (std::uint32_t n = 0; n < threads; ++n) {
    lib::SharedThreadRecord& thread = memory_.view().thread(n);
    const lib::OwnerWord owner{thread.owner.load(std::memory_order_acquire)};
    if (owner.in_ring() || owner.client() != client) continue;
    // A client that is closing keeps its limits at 0.
    if (!pressed && thread.closing.load(kRelaxed) != 0) continue;
    for (std::uint32_t ring = 0; ring < memory_.ring_count(); ++ring) {
      // A put may fill a magazine to its end, no further, whatever stands in the descriptor.
      const std::uint32_t most = std::min(memory_.view().descriptor(ring).put_limit.load(kRelaxed),
                                          memory_.plan().rings[ring].magazine_slots);
      lib::ControlView::rings_of(thread)[ring].limit.store(pressed ? 0 : most, kRelaxed);
    }
  }
}

}  // namespace zeropool::daemon
