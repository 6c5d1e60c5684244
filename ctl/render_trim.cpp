#include "ctl/render.hpp"
#include "ctl/table.hpp"

namespace zeropool::ctl {

std::string render_trim(const nlohmann::json& document) {
  Table table({{"POOL", Align::kLeft}, {"FROM IDLE CACHES"}, {"EXTENTS"}, {"GIVEN BACK"}});
  for (const auto& pool : list_at(document, "pools")) {
    table.add({text_at(pool, "name"), human_size(number_at(pool, "taken_bytes")),
               human_count(number_at(pool, "extents")), human_size(number_at(pool, "bytes"))});
  }
  const std::uint64_t bytes = number_at(document, "bytes");
  return table.text() + "\n" +
         (bytes == 0 ? "nothing to give back: every extent has a slot in use\n"
                     : human_size(bytes) + " given back\n");
}

}  // namespace zeropool::ctl
