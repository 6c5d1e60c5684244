#include "daemon/config_pool.hpp"

#include <algorithm>

#include "daemon/config_bounds.hpp"
#include "daemon/config_classes.hpp"
#include "daemon/config_keys.hpp"
#include "daemon/config_pages.hpp"
#include "daemon/config_section.hpp"
#include "daemon/config_words.hpp"

namespace zeropool::daemon {
namespace {

bool is_pool_name(std::string_view name) {
  const auto starts = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  const auto follows = [&](char c) { return starts(c) || c == '_' || c == '.' || c == '-'; };
  return !name.empty() && name.size() <= kMaxPoolNameBytes && starts(name.front()) &&
         std::all_of(name.begin(), name.end(), follows);
}

std::optional<std::optional<std::vector<std::uint32_t>>> read_nodes(const ConfigField& field) {
  using Nodes = std::optional<std::vector<std::uint32_t>>;
  const std::string allowed = "all, or a list such as [0, 1]";
  if (field.node->kind == ConfigTree::Kind::kScalar && field.node->text == "all") return Nodes();
  if (field.node->kind != ConfigTree::Kind::kList || field.node->items.empty()) {
    field.refuse("must name one node or more; allowed: " + allowed);
    return std::nullopt;
  }
  if (!expect_list(field, kMaxNode + 1, "[0, 1]")) return std::nullopt;
  std::vector<std::uint32_t> nodes;
  bool good = true;
  for (std::size_t i = 0; i < field.node->items.size(); ++i) {
    const ConfigField item = field.item(i);
    const auto node = count_in(0, kMaxNode)(item);
    const bool repeated = node && std::find(nodes.begin(), nodes.end(), *node) != nodes.end();
    if (repeated) item.refuse("node " + std::to_string(*node) + " is given twice");
    good = good && node && !repeated;
    if (node) nodes.push_back(*node);
  }
  if (!good) return std::nullopt;
  std::sort(nodes.begin(), nodes.end());
  return Nodes(std::move(nodes));
}

void read_watermarks(const ConfigField& field, WatermarksConfig& watermarks) {
  const ConfigSection section(field, {"low", "high"});
  section.read("low", watermarks.low_bytes, auto_or(bytes_in(0, kMaxMemoryBytes)));
  section.read("high", watermarks.high_bytes, auto_or(bytes_in(0, kMaxMemoryBytes)));
  const auto& [low, high] = watermarks;
  if (low && high && *low > *high) {
    field.report->refuse_key(join_key(field.key, "low"), field.key,
                             "low " + format_bytes(*low) + " is above high " + format_bytes(*high));
  }
}

void read_release(const ConfigField& field, ReleaseConfig& release) {
  const ConfigSection section(field, {"window", "rate"});
  section.read("window", release.window,
               duration_in(std::chrono::nanoseconds(0), kMaxReleaseWindow));
  section.read("rate", release.rate_bytes, bytes_in(kMinReleaseRateBytes, kMaxMemoryBytes));
}

void read_wait(const ConfigField& field, WaitConfig& wait) {
  const ConfigSection section(field, {"timeout", "orders"});
  section.read("timeout", wait.timeout, duration_in(std::chrono::nanoseconds(0), kMaxWait));
  section.read("orders", wait.orders, count_in(1, kMaxOrders));
}

AccessConfig read_access(const ConfigField& field) {
  AccessConfig access;
  const ConfigSection section(field, {"users", "groups"});
  section.read("users", access.users, read_names);
  section.read("groups", access.groups, read_names);
  return access;
}

// A limit that is not given is the budget: what exceeds it is found with the sum of reservations.
void check_limits(const ConfigField& field, const PoolConfig& pool) {
  const auto refuse_above = [&](std::string_view name, std::uint64_t bytes, std::string_view cap,
                                std::optional<std::uint64_t> cap_bytes) {
    if (!cap_bytes || bytes <= *cap_bytes) return;
    field.report->refuse_key(
        join_key(field.key, name), field.key,
        format_bytes(bytes) + " is above " + std::string(cap) + " " + format_bytes(*cap_bytes));
  };
  if (pool.limit_bytes) refuse_above("limit", *pool.limit_bytes, "limit_max", pool.limit_max_bytes);
  refuse_above("reserved", pool.reserved_bytes, pool.limit_bytes ? "limit" : "limit_max",
               pool.limit_bytes ? pool.limit_bytes : pool.limit_max_bytes);
}

PoolConfig read_pool(const ConfigField& field, std::string_view name) {
  PoolConfig pool;
  pool.name = name;
  const ConfigSection section(
      field, {"reserved", "limit", "limit_max", "client_quota", "nodes", "placement", "classes",
              "thread_cache", "thread_cache_idle", "hot_set", "pages", "watermarks", "release",
              "wait", "handoff", "scrub", "access"});
  section.read("reserved", pool.reserved_bytes, bytes_in(0, kMaxMemoryBytes));
  section.read("limit", pool.limit_bytes, bytes_in(kMinMemoryBytes, kMaxMemoryBytes));
  section.read("limit_max", pool.limit_max_bytes, bytes_in(kMinMemoryBytes, kMaxMemoryBytes));
  section.read("client_quota", pool.client_quota_bytes,
               bytes_in(kMinClientQuotaBytes, kMaxMemoryBytes));
  section.read("nodes", pool.nodes, read_nodes);
  section.read("placement", pool.placement, one_of(kPlacementWords));
  section.read("classes", pool.classes, read_classes);
  section.read("thread_cache", pool.thread_cache_bytes, bytes_in(0, kMaxThreadCacheBytes));
  section.read("thread_cache_idle", pool.thread_cache_idle,
               duration_in(kMinCacheIdle, kMaxCacheIdle));
  section.read("hot_set", pool.hot_set_bytes, auto_or(bytes_in(0, kMaxHotSetBytes)));
  if (const auto pages = section.find("pages")) {
    ConfigSection(*pages, {"size"}).read("size", pool.page_sizes, read_page_sizes);
  }
  if (const auto watermarks = section.find("watermarks")) {
    read_watermarks(*watermarks, pool.watermarks);
  }
  if (const auto release = section.find("release")) read_release(*release, pool.release);
  if (const auto wait = section.find("wait")) read_wait(*wait, pool.wait);
  if (const auto handoff = section.find("handoff")) {
    ConfigSection(*handoff, {"lease"})
        .read("lease", pool.handoff_lease, duration_in(kMinLease, kMaxLease));
  }
  section.read("scrub", pool.scrub, one_of(kScrubWords));
  if (const auto access = section.find("access")) pool.access = read_access(*access);
  if (section.gives_null("access")) {
    // Names that were commented out must not open the pool to everybody.
    field.report->refuse_key(join_key(field.key, "access"), field.key,
                             "is empty; write {users: [], groups: []} for nobody, or leave the "
                             "key out for whoever may open the socket");
  }
  check_limits(field, pool);
  return pool;
}

}  // namespace

std::vector<PoolConfig> read_pools(const ConfigField& field) {
  std::vector<PoolConfig> pools;
  const ConfigTree& map = *field.node;
  if (map.kind != ConfigTree::Kind::kMap) {
    field.refuse("must be a map of pools, as in {frames: {limit: 6GiB}}");
    return pools;
  }
  refuse_duplicate_keys(field);
  for (std::size_t i = 0; i < map.keys.size(); ++i) {
    const ConfigTree& name = map.keys[i];
    const ConfigField pool{&map.items[i], join_key(field.key, name.text), field.report};
    if (i == kMaxPools) {
      field.report->refuse(name.position, pool.key,
                           "one pool too many; allowed: at most " + std::to_string(kMaxPools));
      break;
    }
    if (!is_pool_name(name.text)) {
      field.report->refuse(name.position, pool.key,
                           quote(name.text) +
                               " is no pool name; allowed: 1 to 48 of a-z, 0-9, _, "
                               ". and -, the first a letter or digit");
    }
    field.report->locate(pool.key, name.position);
    pools.push_back(read_pool(pool, name.text));
  }
  if (pools.empty()) pools.emplace_back();
  return pools;
}

}  // namespace zeropool::daemon
