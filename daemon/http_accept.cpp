#include "daemon/http_accept.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <strings.h>

namespace zeropool::daemon {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// Takes what stands before `separator` off the front.
std::string_view next(std::string_view& rest, char separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return trimmed(part);
}

struct Wish {
  std::string_view name;
  std::string_view version;  // of a media range
  double q = 1;
};

Wish read_wish(std::string_view text) {
  Wish wish;
  wish.name = next(text, ';');
  while (!text.empty()) {
    std::string_view value = next(text, ';');
    const std::string_view key = next(value, '=');
    value = trimmed(value);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    if (same(key, "version")) wish.version = value;
    if (same(key, "q")) {
      double q = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), q);
      const bool whole = error == std::errc() && end == value.data() + value.size();
      wish.q = whole && q >= 0 && q <= 1 ? q : 0;
    }
  }
  return wish;
}

// The q of the most specific of the wishes that `fits` knows, which gives 0 for one that does not apply.
template <typename Fits>
std::optional<double> wanted(std::string_view header, Fits fits) {
  std::optional<double> q;
  int specific = 0;
  while (!header.empty()) {
    const Wish wish = read_wish(next(header, ','));
    const int how = fits(wish);
    if (how == 0 || how < specific) continue;
    q = how == specific ? std::max(*q, wish.q) : wish.q;
    specific = how;
  }
  return q;
}

}  // namespace

MetricsFormat choose_format(std::string_view accept) {
  const std::optional<double> open_metrics = wanted(accept, [](const Wish& wish) {
    return same(wish.name, "application/openmetrics-text") &&
                   (wish.version.empty() || wish.version == "1.0.0")
               ? 1
               : 0;
  });
  if (!open_metrics || *open_metrics == 0) return MetricsFormat::kText;
  const std::optional<double> text = wanted(accept, [](const Wish& wish) {
    if (same(wish.name, "text/plain"))
      return wish.version.empty() || wish.version == "0.0.4" ? 3 : 0;
    if (same(wish.name, "text/*")) return 2;
    return wish.name == "*/*" ? 1 : 0;
  });
  return *open_metrics >= text.value_or(0) ? MetricsFormat::kOpenMetrics : MetricsFormat::kText;
}

bool accepts_gzip(std::string_view accept_encoding) {
  const std::optional<double> q = wanted(accept_encoding, [](const Wish& wish) {
    if (same(wish.name, "gzip") || same(wish.name, "x-gzip")) return 2;
    return wish.name == "*" ? 1 : 0;
  });
  return q.value_or(0) > 0;
}

}  // namespace zeropool::daemon
