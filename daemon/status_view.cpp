#include "daemon/status_view.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/admin_json.hpp"
#include "daemon/build_info.hpp"
#include "daemon/daemon_health.hpp"
#include "daemon/human_bytes.hpp"
#include "daemon/statistics_words.hpp"

namespace zeropool::daemon {
namespace {

using nlohmann::json;

constexpr std::uint64_t kNanosecondsPerMillisecond = 1'000'000;

// What rings sum up to.
struct Flow {
  std::uint64_t gets = 0;
  std::uint64_t tls_hits = 0;
  std::uint64_t shared_hits = 0;
  std::uint64_t allocations = 0;
  std::uint64_t held_bytes = 0;
  std::uint64_t cached_bytes = 0;
  std::uint64_t free_bytes = 0;  // in the ring, those that are cold too
  std::uint64_t cold_bytes = 0;
  std::uint64_t in_transit_bytes = 0;

  void add(const RingStatistics& ring) {
    gets += ring.gets();
    tls_hits += ring.tls_hits;
    shared_hits += ring.shared_hits;
    allocations += ring.allocations;
    held_bytes += ring.held * ring.class_bytes;
    cached_bytes += ring.cached * ring.class_bytes;
    free_bytes += (ring.free + ring.cold) * ring.class_bytes;
    cold_bytes += ring.cold * ring.class_bytes;
    in_transit_bytes += ring.in_transit * ring.class_bytes;
  }
  void write(json& object) const {
    object["gets"] = gets;
    object["tls_hits"] = tls_hits;
    object["shared_hits"] = shared_hits;
    object["allocations"] = allocations;
    object["failures"] = gets - tls_hits - shared_hits - allocations;
    object["held_bytes"] = held_bytes;
    object["cached_bytes"] = cached_bytes;
    object["free_bytes"] = free_bytes;
    object["cold_bytes"] = cold_bytes;
    object["in_transit_bytes"] = in_transit_bytes;
  }
};

// `list` cut to its first `most`; beside it how many were left out.
void write_list(json& object, const char* name, std::vector<json> list, std::size_t most) {
  const std::size_t shown = std::min(list.size(), most);  // V1
  object[std::string(name) + "_left_out"] = list.size() - shown;
  list.resize(shown);
  object[name] = std::move(list);
}

void largest_first(std::vector<json>& list, const char* key) {
  std::stable_sort(list.begin(), list.end(), [key](const json& a, const json& b) {
    return a[key].get<std::uint64_t>() > b[key].get<std::uint64_t>();
  });
}

json pool_row(const PoolStatistics& pool) {
  Flow flow;
  for (const RingStatistics& ring : pool.rings) flow.add(ring);
  json row = {{"name", pool.name},
              {"committed_bytes", pool.committed_bytes},
              {"limit_bytes", pool.limit_bytes},
              {"reserved_bytes", pool.reserved_bytes},
              {"clients", pool.clients.size()},
              {"threads", pool.threads},
              {"orders_waiting", pool.orders_waiting},
              {"hit_rate", hit_rate(pool)}};
  flow.write(row);
  return row;
}

json class_row(const PoolStatistics& pool, const RingStatistics& ring) {
  Flow flow;
  flow.add(ring);
  json row = {{"pool", pool.name},
              {"node", ring.node},
              {"class", exact_bytes(ring.class_bytes)},
              {"class_bytes", ring.class_bytes},
              {"slots", ring.published},
              {"held", ring.held},
              {"cached", ring.cached},
              {"free", ring.free},
              {"cold", ring.cold},
              {"in_transit", ring.in_transit},
              {"published_bytes", ring.published * ring.class_bytes},
              {"contention_events", ring.contention}};
  flow.write(row);
  return row;
}

// A letter a cell: what most of its committed extents are.
char letter_of(const MapCell& cell, std::uint64_t extent_bytes) {
  if (cell.published == 0) return cell.changing == 0 ? '.' : '~';
  return cell.cold_bytes * 2 >= cell.published * extent_bytes ? 'c' : 'h';
}

json map_row(const PoolStatistics& pool, std::size_t number, const RingMap& map) {
  std::string cells;
  for (const MapCell& cell : map.cells) cells += letter_of(cell, map.extent_bytes);
  const RingStatistics& ring = pool.rings[number];
  return {{"pool", pool.name},
          {"node", ring.node},
          {"page_size", page_size_word(pool.arenas[ring.arena].page_kind)},
          {"class", exact_bytes(ring.class_bytes)},
          {"extent_bytes", map.extent_bytes},
          {"extents", map.extents},
          {"extents_per_cell", map.extents_per_cell},
          {"committed_bytes", map.committed_bytes()},
          {"cold_bytes", map.cold_bytes()},
          {"cells", std::move(cells)}};
}

struct ClientSeen {
  const PoolStatistics* pool = nullptr;
  const ClientInfo* client = nullptr;
  ClientHolding holding;
};

json client_row(const ClientSeen& seen) {
  return {{"pool", seen.pool->name},
          {"pid", seen.client->pid},
          {"uid", seen.client->uid},
          {"name", seen.client->name},
          {"held_bytes", seen.holding.held_bytes},
          {"cached_bytes", seen.holding.cached_bytes},
          {"in_transit_bytes", seen.holding.in_transit_bytes},
          {"suspect", seen.client->suspect}};
}

void add_clients(const PoolStatistics& pool, const PoolOccupancy& occupancy,
                 std::vector<ClientSeen>& clients) {
  std::unordered_map<std::uint32_t, const ClientHolding*> holdings;
  for (const ClientHolding& holding : occupancy.clients) holdings[holding.id] = &holding;
  for (const ClientInfo& client : pool.clients) {
    const auto found = holdings.find(client.id);  // none: it came after the look had begun
    clients.push_back({&pool, &client, found == holdings.end() ? ClientHolding{} : *found->second});
  }
}

// The largest holders first; rows are made of those that are shown only, there may be thousands.
void write_clients(json& document, std::vector<ClientSeen> clients) {
  const std::size_t shown = std::min(clients.size(), StatusRows::kClients);
  std::partial_sort(clients.begin(), clients.begin() + static_cast<std::ptrdiff_t>(shown),
                    clients.end(), [](const ClientSeen& a, const ClientSeen& b) {
                      const auto key = [](const ClientSeen& seen) {
                        return std::make_tuple(~seen.holding.held_bytes, ~seen.holding.cached_bytes,
                                               seen.client->pid);
                      };
                      return key(a) < key(b);
                    });
  json rows = json::array();
  for (std::size_t i = 0; i < shown; ++i) rows.push_back(client_row(clients[i]));
  document["clients"] = std::move(rows);
  document["clients_left_out"] = clients.size() - shown;
}

std::vector<json> map_rows(const PoolStatistics& pool, const PoolOccupancy& seen) {
  std::vector<json> rows;
  for (std::size_t ring = 0; ring < std::min(seen.rings.size(), pool.rings.size()); ++ring) {
    if (seen.rings[ring].extents > 0) rows.push_back(map_row(pool, ring, seen.rings[ring]));
  }
  return rows;
}

template <typename T>
void append(std::vector<T>& list, std::vector<T> more) {
  std::move(more.begin(), more.end(), std::back_inserter(list));
}

void write_lists(json& document, const StatusView& view) {
  static const PoolOccupancy kNothingSeen;
  std::vector<json> pools;
  std::vector<json> classes;
  std::vector<json> maps;
  std::vector<ClientSeen> clients;
  const auto& of_pools = view.statistics.pools;
  for (std::size_t i = 0; i < of_pools.size(); ++i) {
    const PoolStatistics& pool = of_pools[i];
    const bool seen = view.occupancy != nullptr && i < view.occupancy->pools.size();
    const PoolOccupancy& occupancy = seen ? view.occupancy->pools[i] : kNothingSeen;
    pools.push_back(pool_row(pool));
    for (const RingStatistics& ring : pool.rings) classes.push_back(class_row(pool, ring));
    append(maps, map_rows(pool, occupancy));
    add_clients(pool, occupancy, clients);
  }
  // Only what is too long is sorted: else the order is the configuration's, and rows stay where they are.
  if (pools.size() > StatusRows::kPools) largest_first(pools, "committed_bytes");
  if (classes.size() > StatusRows::kClasses) largest_first(classes, "published_bytes");
  if (maps.size() > StatusRows::kMaps) largest_first(maps, "committed_bytes");
  write_list(document, "pools", std::move(pools), StatusRows::kPools);
  write_list(document, "classes", std::move(classes), StatusRows::kClasses);
  write_list(document, "maps", std::move(maps), StatusRows::kMaps);
  write_clients(document, std::move(clients));
}

json totals_of(const DaemonStatistics& statistics) {
  Flow flow;
  std::uint64_t clients = 0;
  std::uint64_t threads = 0;
  std::uint64_t waiting = 0;
  std::uint64_t committed = 0;
  for (const PoolStatistics& pool : statistics.pools) {
    for (const RingStatistics& ring : pool.rings) flow.add(ring);
    clients += pool.clients.size();
    threads += pool.threads;
    waiting += pool.orders_waiting;
    committed += pool.committed_bytes;
  }
  const std::uint64_t hits = flow.tls_hits + flow.shared_hits;
  const std::uint64_t served = hits + flow.allocations;
  json totals = {
      {"clients", clients},
      {"threads", threads},
      {"orders_waiting", waiting},
      {"overhead_bytes",
       statistics.committed_bytes - std::min(statistics.committed_bytes, committed)},
      {"hit_rate", served == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(served)}};
  flow.write(totals);
  return totals;
}

}  // namespace

json status_view_document(const StatusView& view) {
  const DaemonStatistics& statistics = view.statistics;
  const std::vector<Warning> warnings = health_warnings(statistics);
  const auto shown = static_cast<std::ptrdiff_t>(std::min(warnings.size(), StatusRows::kWarnings));
  const std::uint64_t now = view.clock.unix_seconds;
  json document = {
      {"version", build_info::version},
      {"revision", build_info::revision},
      {"machine", view.machine},
      {"state", statistics.state},
      {"unix_seconds", now},
      {"monotonic_ms", view.clock.monotonic_ns / kNanosecondsPerMillisecond},
      {"started_unix_seconds", statistics.started_unix_seconds},
      {"uptime_seconds", now - std::min(now, statistics.started_unix_seconds)},
      {"budget_bytes", statistics.budget_bytes},
      {"committed_bytes", statistics.committed_bytes},
      {"verdict", health_verdict(warnings)},
      {"healthy", warnings.empty() || warnings.front().level != WarningLevel::kWarning},
      {"warnings", warnings_document({warnings.begin(), warnings.begin() + shown})},
      {"warnings_left_out", warnings.size() - static_cast<std::size_t>(shown)},
      {"totals", totals_of(statistics)}};
  write_lists(document, view);
  return document;
}

}  // namespace zeropool::daemon
