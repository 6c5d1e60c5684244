#include "pipeline/messages.hpp"

namespace pipeline {

void Message::add_text(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

std::string MessageView::take_text(std::size_t bytes) {
  const std::span<const std::byte> text = take_bytes(bytes);
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

}  // namespace pipeline
