// The daemon's configuration: plain values, their defaults, and how a file becomes them.
//
// Thread safety: values; no function here keeps state.
// Errors: nothing throws. Every function reports ConfigErrors that a user can act on.
// Units: `_bytes` are bytes, times are std::chrono. An unset optional is "automatic" or "no such
// limit", as said beside it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config_units.hpp"
#include "zeropool/lib/control_header.hpp"

namespace zeropool::daemon {

struct SocketConfig {
  std::string path;  // absolute; empty = $XDG_RUNTIME_DIR/zeropool or /run/zeropool
  unsigned mode = 0660;
  std::string group;  // empty = the daemon's own group
  bool operator==(const SocketConfig&) const = default;
};

enum class PageSize { kHuge1GiB, kHuge2MiB, kThp, kSmall4KiB };

struct PagesConfig {
  std::vector<PageSize> size = {PageSize::kHuge2MiB, PageSize::kThp, PageSize::kSmall4KiB};
  bool reserve = false;  // ask the kernel for the huge pages of the budget at start
  bool operator==(const PagesConfig&) const = default;
};

struct MetricsConfig {
  std::vector<std::string> listen = {"127.0.0.1:9977", "[::1]:9977"};  // empty = no exporter
  std::optional<std::string> web_config;
  std::uint32_t top_clients = 0;  // of each pool, with series of their own
  bool operator==(const MetricsConfig&) const = default;
};

struct LimitsConfig {
  std::uint32_t clients = 1024;
  std::uint32_t threads = 8192;
  std::uint32_t pending_attaches = 64;
  bool operator==(const LimitsConfig&) const = default;
};

struct LogConfig {
  std::string level = "info";  // trace, debug, info, warn, error, critical, off
  bool operator==(const LogConfig&) const = default;
};

struct WatermarksConfig {
  std::optional<std::uint64_t> low_bytes;   // unset = automatic
  std::optional<std::uint64_t> high_bytes;  // unset = automatic
  bool operator==(const WatermarksConfig&) const = default;
};

// How committed memory that nobody needs goes back by itself.
struct ReleaseConfig {
  std::chrono::nanoseconds window = std::chrono::seconds(30);  // 0 = never
  std::uint64_t rate_bytes = kGiB;                             // a second, at most
  bool operator==(const ReleaseConfig&) const = default;
};

struct WaitConfig {
  std::chrono::nanoseconds timeout = std::chrono::seconds(5);
  std::uint32_t orders = 10000;
  bool operator==(const WaitConfig&) const = default;
};

using lib::Placement;
using lib::Scrub;

// Names only: whether they exist is looked up where they are resolved.
struct AccessConfig {
  std::vector<std::string> users;
  std::vector<std::string> groups;
  bool operator==(const AccessConfig&) const = default;
};

struct PoolConfig {
  std::string name = "default";
  std::uint64_t reserved_bytes = 0;
  std::optional<std::uint64_t> limit_bytes;         // unset = the budget
  std::optional<std::uint64_t> limit_max_bytes;     // unset = the larger of limit and budget
  std::optional<std::uint64_t> client_quota_bytes;  // unset = no quota
  std::optional<std::vector<std::uint32_t>> nodes;  // ascending; unset = all
  Placement placement = Placement::kLocal;
  std::vector<std::uint64_t> classes = {kKiB * 4, kKiB * 64, kMiB, kMiB * 4};  // ascending
  std::uint64_t thread_cache_bytes = kMiB * 4;                                 // per class
  std::chrono::nanoseconds thread_cache_idle = std::chrono::seconds(10);       // then it is taken
  std::optional<std::uint64_t> hot_set_bytes;       // unset = by the L3's size
  std::optional<std::vector<PageSize>> page_sizes;  // unset = those of `pages`
  WatermarksConfig watermarks;
  ReleaseConfig release;
  WaitConfig wait;
  std::chrono::nanoseconds handoff_lease = std::chrono::seconds(60);
  Scrub scrub = Scrub::kOnUserChange;
  std::optional<AccessConfig> access;  // unset = whoever may open the socket
  bool operator==(const PoolConfig&) const = default;
};

// A default-constructed Config is what the daemon runs with when there is no file.
struct Config {
  std::optional<Amount> budget;  // unset = 25% of memory
  SocketConfig socket;
  PagesConfig pages;
  MetricsConfig metrics;
  LimitsConfig limits;
  LogConfig log;
  std::vector<PoolConfig> pools = std::vector<PoolConfig>(1);  // one, named "default"

  std::uint64_t budget_bytes(std::uint64_t total_memory_bytes) const;
  bool operator==(const Config&) const = default;
};

struct ConfigPosition {
  int line = 0;  // from 1; 0 = the file as a whole
  int column = 0;
  bool operator==(const ConfigPosition&) const = default;
};

struct ConfigError {
  std::string file;
  int line = 0;
  int column = 0;
  std::string key;  // as `pools.frames.limit`; empty when no key is to blame
  std::string message;
  std::string to_string() const;  // file:line:column: key: message
  bool operator==(const ConfigError&) const = default;
};

// A config, or why there is none. Never both.
struct ConfigOutcome {
  std::optional<Config> config;
  std::vector<ConfigError> errors;
  std::string file;
  std::map<std::string, ConfigPosition> positions;  // of each value that the file gives, by key

  bool ok() const { return config.has_value(); }
};

struct MachineFacts {
  std::uint64_t total_memory_bytes = 0;  // 0 = unknown, not checked
  std::vector<std::uint32_t> nodes;      // empty = unknown, not checked
};

inline constexpr std::size_t kMaxConfigFileBytes = kMiB;

// `file_name` is for messages only.
ConfigOutcome parse_config(std::string_view text, std::string file_name);
ConfigOutcome load_config(const std::string& path);

// Adds what only this machine can tell: the budget against its memory and the reservations, nodes
// that do not exist. An outcome that has failed already comes back as it was.
ConfigOutcome validate_against_machine(ConfigOutcome outcome, const MachineFacts& machine);

}  // namespace zeropool::daemon
