#include "daemon/config_describe.hpp"

#include "daemon/config_words.hpp"

namespace zeropool::daemon {

std::string describe(const std::string& text) { return text.empty() ? "default" : text; }
std::string describe(PageSize size) { return std::string(word_of(kPageSizeWords, size)); }
std::string describe(Placement placement) {
  return std::string(word_of(kPlacementWords, placement));
}
std::string describe(Scrub scrub) { return std::string(word_of(kScrubWords, scrub)); }
std::string describe(const AccessConfig& access) {
  return "{users: " + describe(access.users) + ", groups: " + describe(access.groups) + "}";
}

}  // namespace zeropool::daemon
