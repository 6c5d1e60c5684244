#include "daemon/hold_document.hpp"

#include <algorithm>
#include <ctime>
#include <unordered_map>
#include <utility>

#include "daemon/event_loop.hpp"
#include "daemon/hold_watch.hpp"
#include "daemon/human_bytes.hpp"

namespace zeropool::daemon {
namespace {

using nlohmann::json;

constexpr double kNsPerSecond = 1e9;
constexpr double kMostSeconds = 1e9;  // some thirty years
// Of all pools together, as the loop thread does nothing else meanwhile.
constexpr std::uint64_t kMostWorkNs = 100'000'000;
constexpr std::uint64_t kFreshLooksNs = 20'000'000;
constexpr std::uint64_t kFreshLookNs = 5'000'000;  // of one pool
constexpr std::size_t kMostRows = 10'000;
constexpr std::size_t kMostStacks = 1'000;

double seconds(std::uint64_t ns) { return static_cast<double>(ns) / kNsPerSecond; }

// Of this thread: a machine that has no time for it is no reason to say less.
std::uint64_t work_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// What was got since the last look: at a second's end it would be too late to say so.
void look_again(const std::vector<Pool*>& pools) {
  const std::uint64_t end_ns = monotonic_ns() + kFreshLooksNs;
  std::uint64_t left = pools.size();
  for (Pool* pool : pools) {
    const std::uint64_t now_ns = monotonic_ns();
    const std::uint64_t its_ns = (end_ns - std::min(end_ns, now_ns)) / left--;
    if (pool->holds) pool->holds->tick(now_ns + std::min(its_ns, kFreshLookNs));
  }
}

// The largest of all pools' rows or stacks; of the others how many there are, and their bytes.
template <typename One>
class Largest {
 public:
  explicit Largest(std::size_t most) : most_(most) {}

  void add(std::size_t pool, std::vector<One>&& more) {
    for (One& one : more) kept_.push_back({pool, std::move(one)});
    if (kept_.size() > 2 * most_) cut();
  }

  struct OfPool {
    std::size_t pool = 0;
    One one;
  };
  // Those with most bytes first.
  const std::vector<OfPool>& kept() {
    cut();
    return kept_;
  }
  // Of what kept() leaves out.
  json left_out() const { return {{"count", left_out_}, {"bytes", left_out_bytes_}}; }

 private:
  static std::uint64_t bytes_of(const One& one) { return one.buffers * one.class_bytes; }
  void cut() {
    std::stable_sort(kept_.begin(), kept_.end(), [](const OfPool& a, const OfPool& b) {
      return bytes_of(a.one) > bytes_of(b.one);
    });
    for (; kept_.size() > most_; kept_.pop_back()) {
      ++left_out_;
      left_out_bytes_ += bytes_of(kept_.back().one);
    }
  }

  std::size_t most_;
  std::vector<OfPool> kept_;
  std::uint64_t left_out_ = 0;
  std::uint64_t left_out_bytes_ = 0;
};

class Clients {
 public:
  explicit Clients(const Pool& pool) : pool_name_(pool.memory->name()) {
    for (const ClientInfo& client : pool.clients) by_id_.emplace(client.id, &client);
  }

  template <typename One>
  json row(const One& one) const {
    const auto found = by_id_.find(one.client);
    const ClientInfo* client = found == by_id_.end() ? nullptr : found->second;
    return {{"pool", pool_name_},
            {"client", one.client},
            {"pid", client == nullptr ? 0 : client->pid},
            {"name", client == nullptr ? "" : client->name},
            {"class", exact_bytes(one.class_bytes)},
            {"class_bytes", one.class_bytes},
            {"buffers", one.buffers},
            {"bytes", one.buffers * one.class_bytes},
            {"samples", one.samples},
            {"oldest_seconds", seconds(one.oldest_ns)}};
  }

 private:
  std::string pool_name_;
  std::unordered_map<std::uint32_t, const ClientInfo*> by_id_;
};

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
  look_again(pools);
  const std::uint64_t begin_ns = work_ns();
  HoldBounds bounds;
  bounds.spent = [&] { return work_ns() - begin_ns >= kMostWorkNs; };
  Largest<HoldAges> ages(kMostRows);
  Largest<HoldStack> traces(kMostStacks);
  std::vector<Clients> clients;
  json watched = json::array();
  for (const Pool* pool : pools) {
    PoolHolds holds = hold_ages(*pool, query, monotonic_ns(), bounds);
    watched.push_back({{"pool", pool->memory->name()},
                       {"watched_seconds", seconds(holds.watched_ns)},
                       {"complete", holds.complete}});
    ages.add(clients.size(), std::move(holds.ages));
    traces.add(clients.size(), std::move(holds.stacks));
    clients.emplace_back(*pool);
  }
  json holders = json::array();
  for (const auto& [pool, one] : ages.kept()) {
    json line = clients[pool].row(one);
    line["exact"] = one.exact;
    line["median_seconds"] = seconds(one.median_ns);
    holders.push_back(std::move(line));
  }
  json stacks = json::array();
  for (const auto& [pool, one] : traces.kept()) {
    json line = clients[pool].row(one);
    line["frames"] = one.frames;
    stacks.push_back(std::move(line));
  }
  return {{"older_than_seconds", seconds(query.older_than_ns)},
          {"pools", std::move(watched)},
          {"holders", std::move(holders)},
          {"holders_left_out", ages.left_out()},
          {"stacks", std::move(stacks)},
          {"stacks_left_out", traces.left_out()}};
}

}  // namespace zeropool::daemon
