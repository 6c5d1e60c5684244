#include "ctl/display_text.hpp"

#include <clocale>
#include <cstring>
#include <cwchar>
#include <langinfo.h>

namespace zeropool::ctl {
namespace {

struct Character {
  std::string text;
  std::size_t bytes = 1;
  std::size_t columns = 1;
};

Character next_character(const char* text, std::size_t bytes) {
  std::mbstate_t state{};
  wchar_t wide = 0;
  const std::size_t used = std::mbrtowc(&wide, text, bytes, &state);
  if (used == 0 || used > bytes) return {"?", 1, 1};  // no character
  const int columns = ::wcwidth(wide);
  if (columns < 0) return {"?", used, 1};  // a control character
  return {std::string(text, used), used, static_cast<std::size_t>(columns)};
}

}  // namespace

bool use_locale() {
  return std::setlocale(LC_CTYPE, "") != nullptr &&
         std::strcmp(::nl_langinfo(CODESET), "UTF-8") == 0;
}

DisplayText displayed(const std::string& text, std::size_t most) {
  DisplayText shown;
  DisplayText room_for_mark;  // the longest beginning that leaves a column
  std::size_t at = 0;
  while (at < text.size()) {
    const Character character = next_character(text.data() + at, text.size() - at);
    if (shown.columns + character.columns > most) {
      if (most == 0) return {};
      return {room_for_mark.text + "~", room_for_mark.columns + 1};
    }
    shown.text += character.text;
    shown.columns += character.columns;
    at += character.bytes;
    if (shown.columns + 1 <= most) room_for_mark = shown;
  }
  return shown;
}

}  // namespace zeropool::ctl
