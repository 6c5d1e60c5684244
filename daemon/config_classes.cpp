#include "daemon/config_classes.hpp"

#include <algorithm>

#include "daemon/config_bounds.hpp"
#include "daemon/config_values.hpp"

namespace zeropool::daemon {
namespace {

struct Class {
  std::uint64_t bytes;
  ConfigField field;
};

std::optional<std::uint64_t> read_class(const ConfigField& field) {
  const auto bytes = bytes_in(kMinClassBytes, kMaxClassBytes)(field);
  if (!bytes || *bytes % kClassGranuleBytes == 0) return bytes;
  field.refuse_value("is not a multiple of 64 bytes", "multiples of 64B from " +
                                                          format_bytes(kMinClassBytes) + " to " +
                                                          format_bytes(kMaxClassBytes));
  return std::nullopt;
}

bool distinguishable(const Class& smaller, const Class& larger) {
  const std::uint64_t gap = larger.bytes - smaller.bytes;
  if (gap == 0) {
    larger.field.refuse("class " + format_bytes(larger.bytes) + " is given twice");
    return false;
  }
  // gap < smaller / 512, without rounding
  if (gap * kClassResolution >= smaller.bytes) return true;
  larger.field.refuse("classes " + format_bytes(smaller.bytes) + " and " +
                      format_bytes(larger.bytes) +
                      " are nearer than 1/512 of their size; drop one");
  return false;
}

}  // namespace

std::optional<std::vector<std::uint64_t>> read_classes(const ConfigField& field) {
  if (!expect_list(field, kMaxClasses, "[4KiB, 64KiB, 1MiB]")) return std::nullopt;
  if (field.node->items.empty()) {
    field.refuse("is empty; allowed: 1 to " + std::to_string(kMaxClasses) + " classes");
    return std::nullopt;
  }
  std::vector<Class> classes;
  for (std::size_t i = 0; i < field.node->items.size(); ++i) {
    const ConfigField item = field.item(i);
    if (const auto bytes = read_class(item)) classes.push_back({*bytes, item});
  }
  bool good = classes.size() == field.node->items.size();
  std::stable_sort(classes.begin(), classes.end(),
                   [](const Class& a, const Class& b) { return a.bytes < b.bytes; });
  std::vector<std::uint64_t> sizes;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    if (i > 0 && !distinguishable(classes[i - 1], classes[i])) good = false;
    sizes.push_back(classes[i].bytes);
  }
  if (!good) return std::nullopt;
  return sizes;
}

}  // namespace zeropool::daemon
