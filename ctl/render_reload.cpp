#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {

std::string render_reload(const nlohmann::json& document) {
  const std::string note = printable(text_at(document, "note"));
  return "the configuration is reloaded" + (note.empty() ? "" : "; " + note) + "\n";
}

}  // namespace zeropool::ctl
