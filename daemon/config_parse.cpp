#include <exception>
#include <set>
#include <utility>

#include "daemon/config.hpp"
#include "daemon/config_bounds.hpp"
#include "daemon/config_check.hpp"
#include "daemon/config_keys.hpp"
#include "daemon/config_listen.hpp"
#include "daemon/config_pages.hpp"
#include "daemon/config_pool.hpp"
#include "daemon/config_section.hpp"
#include "daemon/config_text.hpp"
#include "daemon/config_tree.hpp"
#include "daemon/config_values.hpp"
#include "daemon/config_words.hpp"

namespace zeropool::daemon {
namespace {

std::optional<std::string> read_socket_path(const ConfigField& field) {
  std::optional<std::string> path = text_of("an absolute path", kMaxSocketPathBytes)(field);
  if (!path || (path->front() == '/' && path->back() != '/')) return path;
  field.refuse_value("is not an absolute path of a file", "a path that starts with /");
  return std::nullopt;
}

std::optional<unsigned> read_mode(const ConfigField& field) {
  const std::string allowed = "octal digits such as \"0660\", 0000 to 0777";
  const auto text = read_scalar(field, allowed);
  if (!text) return std::nullopt;
  unsigned mode = 0;
  bool good = text->size() == 4 && text->front() == '0';
  for (char c : *text) {
    good = good && c >= '0' && c <= '7';
    mode = mode * 8 + static_cast<unsigned>(c - '0');
  }
  if (good) return mode;
  field.refuse_value("is not a file mode", allowed);
  return std::nullopt;
}

std::optional<std::vector<std::string>> read_listen(const ConfigField& field) {
  if (!expect_list(field, kMaxListenAddresses, "[\"127.0.0.1:9977\", \"[::1]:9977\"]")) {
    return std::nullopt;
  }
  const std::string allowed = "host:port or \"[IPv6]:port\"";
  std::vector<std::string> addresses;
  std::set<std::string_view> seen;
  bool good = true;
  for (std::size_t i = 0; i < field.node->items.size(); ++i) {
    const ConfigField item = field.item(i);
    const auto address = read_scalar(item, allowed);
    std::string fault = address ? listen_address_fault(*address) : "";
    if (address && fault.empty() && !seen.insert(*address).second) fault = "is given twice";
    if (!fault.empty()) item.refuse_value(fault, allowed);
    good = good && address && fault.empty();
    if (address) addresses.emplace_back(*address);
  }
  if (!good) return std::nullopt;
  return addresses;
}

std::optional<std::string> read_log_level(const ConfigField& field) {
  const auto index = read_word(field, kLogLevels);
  if (!index) return std::nullopt;
  return std::string(kLogLevels[*index]);
}

void read_socket(const ConfigField& field, SocketConfig& socket) {
  const ConfigSection section(field, {"path", "mode", "group"});
  section.read("path", socket.path, read_socket_path);
  section.read("mode", socket.mode, read_mode);
  section.read("group", socket.group, text_of("a group", kMaxNameBytes));
}

void read_pages(const ConfigField& field, PagesConfig& pages) {
  const ConfigSection section(field, {"size", "reserve"});
  section.read("size", pages.size, read_page_sizes);
  section.read("reserve", pages.reserve, read_bool);
}

void read_metrics(const ConfigField& field, MetricsConfig& metrics) {
  const ConfigSection section(field, {"listen", "web_config", "top_clients"});
  section.read("listen", metrics.listen, read_listen);
  section.read("web_config", metrics.web_config, read_absolute_path);
  section.read("top_clients", metrics.top_clients, count_in(0, kMaxTopClients));
}

void read_limits(const ConfigField& field, LimitsConfig& limits) {
  const ConfigSection section(field, {"clients", "threads", "pending_attaches"});
  section.read("clients", limits.clients, count_in(1, kMaxClients));
  section.read("threads", limits.threads, count_in(1, kMaxThreads));
  section.read("pending_attaches", limits.pending_attaches, count_in(1, kMaxPendingAttaches));
}

Config read_config(const ConfigTree& root, ConfigReport& report) {
  Config config;
  const ConfigSection section({&root, "", &report},
                              {"budget", "socket", "pages", "metrics", "limits", "log", "pools"});
  section.read("budget", config.budget, read_budget);
  if (const auto socket = section.find("socket")) read_socket(*socket, config.socket);
  if (const auto pages = section.find("pages")) read_pages(*pages, config.pages);
  if (const auto metrics = section.find("metrics")) read_metrics(*metrics, config.metrics);
  if (const auto limits = section.find("limits")) read_limits(*limits, config.limits);
  if (const auto log = section.find("log")) {
    ConfigSection(*log, {"level"}).read("level", config.log.level, read_log_level);
  }
  if (const auto pools = section.find("pools")) config.pools = read_pools(*pools);
  if (config.budget && config.budget->kind == Amount::Kind::kBytes) {
    check_reservations(config, config.budget->value, report);
  }
  return config;
}

}  // namespace

ConfigOutcome parse_config(std::string_view text, std::string file_name) {
  ConfigReport report(std::move(file_name));
  try {
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    std::optional<ConfigTextFault> fault = find_text_fault(text);
    if (!fault) {
      const ConfigTreeOutcome built = build_config_tree(text);
      if (built.tree) {
        Config config = read_config(*built.tree, report);
        return std::move(report).finish(std::move(config));
      }
      fault = built.fault;
    }
    report.refuse(fault->position, "", fault->message);
  } catch (const std::exception& error) {
    report.refuse({}, "", std::string("cannot be read: ") + error.what());
  }
  return std::move(report).finish({});
}

}  // namespace zeropool::daemon
