#include "placement.hpp"

#include <string>

#include "daemon_link.hpp"
#include "last_error.hpp"

namespace zeropool::client {

int wish_of(const Attachment& attachment, const ClientCache& cache, std::uint32_t node,
            Wish& wish) noexcept {
  if (node == kAnyNode) {
    wish = {cache.arena, attachment.placement == lib::Placement::kLocalOnly};
    return 0;
  }
  for (std::uint32_t arena = 0; arena < attachment.arenas.size(); ++arena) {
    if (attachment.arenas[arena].node != node) continue;
    wish = {arena, true};
    return 0;
  }
  std::string there;
  for (const lib::ArenaEntry& arena : attachment.arenas) {
    there += (there.empty() ? "" : ", ") + std::to_string(arena.node);
  }
  return fail(ErrorCode::invalid_argument,
              "pool " + attachment.wish.pool_name + " has no memory on node " +
                  std::to_string(node) + ": it has nodes " + there +
                  " (nodes in zeropoold.yaml, less those without memory)");
}

bool nothing_to_come(Attachment& attachment, std::uint32_t ring, std::int64_t now_ns) noexcept {
  // Stale is fine: an order too many, or a slot from further away.
  if (attachment.rings[ring].descriptor->low.load(std::memory_order_relaxed) ==
      lib::kLowNothingToDo) {
    return true;
  }
  return daemon_is_gone(attachment, now_ns) ||
         attachment.daemon_gone_ns.load(std::memory_order_relaxed) != 0;
}

}  // namespace zeropool::client
