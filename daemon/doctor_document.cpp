#include "daemon/doctor_document.hpp"

#include <unistd.h>

#include "daemon/daemon.hpp"
#include "daemon/page_reserve.hpp"
#include "daemon/statistics_words.hpp"

namespace zeropool::daemon {
namespace {

using nlohmann::json;

json words_of(const std::vector<PageSize>& sizes) {
  json words = json::array();
  for (const PageSize size : sizes) words.push_back(page_size_word(size));
  return words;
}

json wishes_of(Daemon& daemon) {
  json wishes = json::array();
  for (const PageWish& wish :
       page_wishes(daemon.config(), daemon.topology(), daemon.statistics().budget_bytes)) {
    wishes.push_back({{"node", wish.node},
                      {"page_size", page_size_word(wish.sizes.front())},
                      {"bytes", wish.bytes}});
  }
  return wishes;
}

json pool_document(const Daemon& daemon, const PoolStatistics& pool) {
  json arenas = json::array();
  for (const ArenaStatistics& arena : pool.arenas) {
    arenas.push_back({{"node", arena.node},
                      {"page_size", page_size_word(arena.page_kind)},
                      {"committed_bytes", arena.committed_bytes},
                      {"misplaced_bytes", arena.misplaced_bytes}});
  }
  json fallbacks = json::array();
  for (const auto& [sizes, count] : pool.page_fallbacks) {
    if (count == 0) continue;
    fallbacks.push_back({{"from", page_size_word(sizes.first)},
                         {"to", page_size_word(sizes.second)},
                         {"count", count}});
  }
  json sizes = words_of(daemon.config().pages.size);
  for (const PoolConfig& config : daemon.config().pools) {
    if (config.name == pool.name && config.page_sizes) sizes = words_of(*config.page_sizes);
  }
  return {{"name", pool.name},
          {"page_sizes", std::move(sizes)},
          {"arenas", std::move(arenas)},
          {"page_fallbacks", std::move(fallbacks)}};
}

}  // namespace

json doctor_document(Daemon& daemon) {
  const DaemonStatistics statistics = daemon.statistics();
  json pools = json::array();
  for (const PoolStatistics& pool : statistics.pools) pools.push_back(pool_document(daemon, pool));
  return {{"pid", static_cast<std::uint64_t>(::getpid())},
          {"budget_bytes", statistics.budget_bytes},
          {"clients_limit", daemon.config().limits.clients},
          {"mempolicy_refused", daemon.mempolicy_refused()},
          {"page_wishes", wishes_of(daemon)},
          {"pressure_heard", statistics.release.pressure_sources.heard},
          {"pressure_missing", statistics.release.pressure_sources.missing},
          {"pools", std::move(pools)}};
}

}  // namespace zeropool::daemon
