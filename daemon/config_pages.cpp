#include "daemon/config_pages.hpp"

#include <algorithm>

#include "daemon/config_words.hpp"

namespace zeropool::daemon {

std::optional<std::vector<PageSize>> read_page_sizes(const ConfigField& field) {
  // One more than there are: a repeated one is named below.
  if (!expect_list(field, kPageSizeWords.size() + 1, "[2MiB, thp, 4KiB]")) return std::nullopt;
  if (field.node->items.empty()) {
    field.refuse("is empty; allowed: one or more of 1GiB, 2MiB, thp, 4KiB");
    return std::nullopt;
  }
  std::vector<PageSize> sizes;
  bool good = true;
  for (std::size_t i = 0; i < field.node->items.size(); ++i) {
    const ConfigField item = field.item(i);
    const auto size = one_of(kPageSizeWords)(item);
    if (!size) {
      good = false;
    } else if (std::find(sizes.begin(), sizes.end(), *size) != sizes.end()) {
      item.refuse("'" + item.node->text + "' is given twice");
      good = false;
    } else {
      sizes.push_back(*size);
    }
  }
  if (!good) return std::nullopt;
  return sizes;
}

}  // namespace zeropool::daemon
