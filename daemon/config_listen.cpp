#include "daemon/config_listen.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstdint>

namespace zeropool::daemon {
namespace {

constexpr std::size_t kMaxHostBytes = 253;
constexpr std::size_t kMaxLabelBytes = 63;
constexpr std::size_t kMaxPortDigits = 5;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool is_port(std::string_view text) {
  if (text.empty() || text.size() > kMaxPortDigits ||
      !std::all_of(text.begin(), text.end(), is_digit)) {
    return false;
  }
  std::uint32_t port = 0;
  std::from_chars(text.data(), text.data() + text.size(), port);
  return port <= 65'535;
}

bool is_ipv4(std::string_view text) {
  in_addr address{};
  return inet_pton(AF_INET, std::string(text).c_str(), &address) == 1;
}

// A zone (fe80::1%eth0) may follow.
bool is_ipv6(std::string_view text) {
  const std::size_t percent = text.find('%');
  if (percent != std::string_view::npos) {
    const std::string_view zone = text.substr(percent + 1);
    const bool good = !zone.empty() && std::all_of(zone.begin(), zone.end(), [](char c) {
      return is_alnum(c) || c == '.' || c == '-' || c == '_';
    });
    if (!good) return false;
    text = text.substr(0, percent);
  }
  in6_addr address{};
  return inet_pton(AF_INET6, std::string(text).c_str(), &address) == 1;
}

bool is_host_name(std::string_view text) {
  if (text.size() > kMaxHostBytes) return false;
  while (true) {
    const std::size_t dot = text.find('.');
    const std::string_view label = text.substr(0, dot);
    if (label.empty() || label.size() > kMaxLabelBytes) return false;
    if (label.front() == '-' || label.back() == '-') return false;
    const bool good = std::all_of(label.begin(), label.end(),
                                  [](char c) { return is_alnum(c) || c == '-' || c == '_'; });
    if (!good) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

}  // namespace

std::string listen_address_fault(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return "has no port";
  const std::string_view host = address.substr(0, colon);
  if (host.empty()) return "has no host (0.0.0.0 is every IPv4 address, [::] every address)";
  const bool opens = host.front() == '[';
  const bool closes = host.back() == ']';
  if (opens != closes || (opens && host.size() < 2)) return "has an unfinished [IPv6 address]";
  if (opens) {
    if (!is_ipv6(host.substr(1, host.size() - 2))) return "has no IPv6 address between [ and ]";
  } else if (host.find(':') != std::string_view::npos) {
    return "has an IPv6 address that is not in [ and ]";
  } else {
    const bool numeric =
        std::all_of(host.begin(), host.end(), [](char c) { return is_digit(c) || c == '.'; });
    if (numeric ? !is_ipv4(host) : !is_host_name(host)) return "has no valid host";
  }
  if (!is_port(address.substr(colon + 1))) return "has no port from 0 to 65535";
  return {};
}

}  // namespace zeropool::daemon
