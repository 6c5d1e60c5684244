// What has happened in the daemon: page sizes that were not to be had, memory on the wrong node.

#include "ctl/doctor.hpp"
#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {

void look_at_pools(const nlohmann::json& daemon, Findings& findings) {
  for (const auto& pool : list_at(daemon, "pools")) {
    const std::string name = "pool " + text_at(pool, "name");
    for (const auto& fallback : list_at(pool, "page_fallbacks")) {
      const std::uint64_t count = number_at(fallback, "count");
      if (count == 0) continue;
      findings.push_back(
          {Level::kWarn,
           name + ": pages of " + text_at(fallback, "to") + " in place of " +
               text_at(fallback, "from") + " on " + std::to_string(count) +
               (count == 1 ? " node" : " nodes"),
           "zeropoold --reserve-pages --config FILE (as root), then restart zeropoold"});
    }
    for (const auto& arena : list_at(pool, "arenas")) {
      const std::uint64_t misplaced = number_at(arena, "misplaced_bytes");
      if (misplaced == 0) continue;
      findings.push_back(
          {Level::kWarn,
           name + ": " + human_size(misplaced) + " of node " +
               std::to_string(number_at(arena, "node")) + " lie on another one",
           "zeropoolctl trim, once its buffers are free: what is committed again lies right"});
    }
  }
}

}  // namespace zeropool::ctl
