#pragma once
// Text by the columns that it takes on a terminal: accents take none, ideographs two.
//
// Thread safety: functions of their arguments, and of the locale, which the program sets once.
// Trust: what is no character of the locale, or no printable one, becomes '?'; so no byte is left that a terminal obeys.

#include <cstddef>
#include <string>

namespace zeropool::ctl {

// Takes up the user's locale. False: the terminal's characters are not UTF-8, all but ASCII is shown as '?'.
bool use_locale();

struct DisplayText {
  std::string text;
  std::size_t columns = 0;
};

// As much of `text` as `most` columns hold; what is cut ends in '~'.
DisplayText displayed(const std::string& text, std::size_t most);

}  // namespace zeropool::ctl
