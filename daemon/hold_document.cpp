#include "daemon/hold_document.hpp"

#include <cmath>

#include "daemon/event_loop.hpp"
#include "daemon/hold_watch.hpp"
#include "daemon/human_bytes.hpp"

namespace zeropool::daemon {
namespace {

using nlohmann::json;

constexpr double kNsPerSecond = 1e9;
constexpr double kMostSeconds = 1e9;  // some thirty years
constexpr std::uint64_t kFreshLookNs = 5'000'000;

double seconds(std::uint64_t ns) { return static_cast<double>(ns) / kNsPerSecond; }

const ClientInfo* find_client(const Pool& pool, std::uint32_t id) {
  for (const ClientInfo& client : pool.clients) {
    if (client.id == id) return &client;
  }
  return nullptr;
}

json row(const Pool& pool, std::uint32_t id, std::uint64_t class_bytes, std::uint64_t buffers,
         std::uint64_t samples, std::uint64_t oldest_ns) {
  const ClientInfo* client = find_client(pool, id);
  return {{"pool", pool.memory->name()},
          {"client", id},
          {"pid", client == nullptr ? 0 : client->pid},
          {"name", client == nullptr ? "" : client->name},
          {"class", exact_bytes(class_bytes)},
          {"class_bytes", class_bytes},
          {"buffers", buffers},
          {"bytes", buffers * class_bytes},
          {"samples", samples},
          {"oldest_seconds", seconds(oldest_ns)}};
}

}  // namespace

std::string parse_hold_query(const std::string& argument, HoldQuery& query) {
  query = HoldQuery{};
  if (argument.empty()) return {};
  const json asked = json::parse(argument, nullptr, false);
  if (!asked.is_object()) return "holders takes a JSON object, not '" + argument + "'";
  for (const auto& [key, value] : asked.items()) {
    if (key == "older_than_seconds" && value.is_number()) {
      const auto wanted = value.get<double>();
      if (!(wanted >= 0 && wanted <= kMostSeconds)) {
        return "older_than_seconds is 0 to 1,000,000,000";
      }
      query.older_than_ns = static_cast<std::uint64_t>(wanted * kNsPerSecond);
    } else if (key == "pool" && value.is_string()) {
      query.pool = value.get<std::string>();
    } else if (key == "client" && value.is_number_unsigned() &&
               value.get<std::uint64_t>() <= lib::kMaxClientId) {
      query.client = value.get<std::uint32_t>();
    } else {
      return "holders knows older_than_seconds, pool and client; not '" + key + "', or not so";
    }
  }
  return {};
}

json hold_document(const std::vector<Pool*>& pools, const HoldQuery& query) {
  json holders = json::array();
  json stacks = json::array();
  json watched = json::array();
  for (Pool* pool : pools) {
    // What was got since the last look: at a second's end it would be too late to say so.
    if (pool->holds) pool->holds->tick(monotonic_ns() + kFreshLookNs);
    const PoolHolds holds = hold_ages(*pool, query, monotonic_ns());
    watched.push_back(
        {{"pool", pool->memory->name()}, {"watched_seconds", seconds(holds.watched_ns)}});
    for (const HoldAges& ages : holds.ages) {
      json line =
          row(*pool, ages.client, ages.class_bytes, ages.buffers, ages.samples, ages.oldest_ns);
      line["exact"] = ages.exact;
      line["median_seconds"] = seconds(ages.median_ns);
      holders.push_back(std::move(line));
    }
    for (const HoldStack& stack : holds.stacks) {
      json line = row(*pool, stack.client, stack.class_bytes, stack.buffers, stack.samples,
                      stack.oldest_ns);
      line["frames"] = stack.frames;
      stacks.push_back(std::move(line));
    }
  }
  return {{"older_than_seconds", seconds(query.older_than_ns)},
          {"pools", std::move(watched)},
          {"holders", std::move(holders)},
          {"stacks", std::move(stacks)}};
}

}  // namespace zeropool::daemon
