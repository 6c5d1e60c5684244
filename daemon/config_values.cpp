#include "daemon/config_values.hpp"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "daemon/config_bounds.hpp"
#include "daemon/config_keys.hpp"

namespace zeropool::daemon {
namespace {

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

template <typename T, typename Format>
std::string range_text(T low, T high, Format format) {
  return format(low) + " to " + format(high);
}

// `value` in its bounds; else refused.
template <typename T>
std::optional<T> within(const ConfigField& field, T value, T low, T high,
                        const std::string& allowed) {
  if (value >= low && value <= high) return value;
  field.refuse_value("is out of range", allowed);
  return std::nullopt;
}

}  // namespace

std::optional<std::string_view> read_scalar(const ConfigField& field, const std::string& allowed) {
  if (field.node->kind == ConfigTree::Kind::kScalar) return field.node->text;
  const bool is_list = field.node->kind == ConfigTree::Kind::kList;
  const bool is_map = field.node->kind == ConfigTree::Kind::kMap;
  field.refuse(std::string("must be one value, not ") +
               (is_list  ? "a list"
                : is_map ? "a map"
                         : "nothing") +
               "; allowed: " + allowed);
  return std::nullopt;
}

bool expect_list(const ConfigField& field, std::size_t max_items, const std::string& allowed) {
  if (field.node->kind != ConfigTree::Kind::kList) {
    field.refuse("must be a list, as in " + allowed);
    return false;
  }
  if (field.node->items.size() <= max_items) return true;
  field.refuse("has " + std::to_string(field.node->items.size()) + " items; allowed: at most " +
               std::to_string(max_items));
  return false;
}

ConfigReader<std::uint64_t> bytes_in(std::uint64_t low, std::uint64_t high) {
  return [=](const ConfigField& field) -> std::optional<std::uint64_t> {
    const std::string allowed = range_text(low, high, format_bytes);
    const auto text = read_scalar(field, allowed);
    if (!text) return std::nullopt;
    const Parsed<std::uint64_t> parsed = parse_bytes(*text);
    if (parsed.value) return within(field, *parsed.value, low, high, allowed);
    field.refuse_value(parsed.error, allowed);
    return std::nullopt;
  };
}

ConfigReader<std::uint32_t> count_in(std::uint32_t low, std::uint32_t high) {
  return [=](const ConfigField& field) -> std::optional<std::uint32_t> {
    const std::string allowed =
        range_text(low, high, [](std::uint32_t count) { return std::to_string(count); });
    const auto text = read_scalar(field, allowed);
    if (!text) return std::nullopt;
    std::uint64_t count = 0;
    const char* end = text->data() + text->size();
    const auto [rest, error] = std::from_chars(text->data(), end, count);
    const bool leading_zero = text->size() > 1 && text->front() == '0';
    if (error == std::errc::invalid_argument || rest != end || leading_zero) {
      field.refuse_value("is not a whole number", allowed);
      return std::nullopt;
    }
    if (error == std::errc() && count >= low && count <= high) {
      return static_cast<std::uint32_t>(count);
    }
    field.refuse_value("is out of range", allowed);
    return std::nullopt;
  };
}

ConfigReader<std::chrono::nanoseconds> duration_in(std::chrono::nanoseconds low,
                                                   std::chrono::nanoseconds high) {
  return [=](const ConfigField& field) -> std::optional<std::chrono::nanoseconds> {
    const std::string allowed = range_text(low, high, format_duration);
    const auto text = read_scalar(field, allowed);
    if (!text) return std::nullopt;
    const Parsed<std::chrono::nanoseconds> parsed = parse_duration(*text);
    if (parsed.value) return within(field, *parsed.value, low, high, allowed);
    field.refuse_value(parsed.error, allowed);
    return std::nullopt;
  };
}

ConfigReader<std::optional<std::uint64_t>> auto_or(ConfigReader<std::uint64_t> reader) {
  return [reader = std::move(reader)](
             const ConfigField& field) -> std::optional<std::optional<std::uint64_t>> {
    const ConfigTree& node = *field.node;
    if (node.kind == ConfigTree::Kind::kScalar && node.text == "auto") {
      return std::optional<std::optional<std::uint64_t>>(std::in_place);
    }
    std::optional<std::uint64_t> bytes = reader(field);
    if (!bytes) return std::nullopt;
    return bytes;
  };
}

std::optional<Amount> read_budget(const ConfigField& field) {
  const std::string allowed =
      range_text(kMinMemoryBytes, kMaxMemoryBytes, format_bytes) + ", or 0.01% to 100% of memory";
  const auto text = read_scalar(field, allowed);
  if (!text) return std::nullopt;
  const Parsed<Amount> parsed = parse_amount(*text);
  if (!parsed.value) {
    field.refuse_value(parsed.error, allowed);
    return std::nullopt;
  }
  if (parsed.value->kind == Amount::Kind::kPercent) return parsed.value;
  if (!within(field, parsed.value->value, kMinMemoryBytes, kMaxMemoryBytes, allowed)) {
    return std::nullopt;
  }
  return parsed.value;
}

std::optional<bool> read_bool(const ConfigField& field) {
  static constexpr ConfigWords<bool, 2> kWords = {{{"true", true}, {"false", false}}};
  return one_of(kWords)(field);
}

std::optional<std::size_t> read_word(const ConfigField& field,
                                     std::span<const std::string_view> words) {
  const std::string allowed = join_words(words);
  const auto text = read_scalar(field, allowed);
  if (!text) return std::nullopt;
  const auto found = std::find(words.begin(), words.end(), *text);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  std::string wrong = "is not known here";
  if (const auto nearest = nearest_key(*text, words)) {
    wrong += "; did you mean '" + std::string(*nearest) + "'?";
  }
  field.refuse_value(wrong, allowed);
  return std::nullopt;
}

ConfigReader<std::string> text_of(std::string what, std::size_t max_bytes) {
  return [what = std::move(what), max_bytes](const ConfigField& field) {
    std::optional<std::string> result;
    const std::string allowed = what + " of 1 to " + std::to_string(max_bytes) + " bytes";
    const auto text = read_scalar(field, allowed);
    if (!text) return result;
    if (text->empty() || text->size() > max_bytes) {
      field.refuse_value(text->empty() ? "is empty" : "is too long", allowed);
    } else if (std::any_of(text->begin(), text->end(), is_control)) {
      field.refuse_value("has a control character in it", allowed);
    } else {
      result = std::string(*text);
    }
    return result;
  };
}

std::optional<std::string> read_absolute_path(const ConfigField& field) {
  std::optional<std::string> path = text_of("an absolute path", kMaxPathBytes)(field);
  if (!path || path->front() == '/') return path;
  field.refuse_value("is not an absolute path", "a path that starts with /");
  return std::nullopt;
}

std::optional<std::vector<std::string>> read_names(const ConfigField& field) {
  if (!expect_list(field, kMaxAccessNames, "[alice, bob]")) return std::nullopt;
  std::vector<std::string> names;
  std::set<std::string> seen;
  bool good = true;
  for (std::size_t i = 0; i < field.node->items.size(); ++i) {
    const ConfigField item = field.item(i);
    std::optional<std::string> name = text_of("a name", kMaxNameBytes)(item);
    if (name && !seen.insert(*name).second) {
      item.refuse(quote(*name) + " is given twice");
      name.reset();
    }
    good = good && name.has_value();
    if (name) names.push_back(*std::move(name));
  }
  if (!good) return std::nullopt;
  return names;
}

}  // namespace zeropool::daemon
