#pragma once
// ProtobufWriter: the wire format of protocol buffers, as far as it takes to write messages of numbers, strings and messages.
//
// Thread safety: a value.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zeropool::ctl {

class ProtobufWriter {
 public:
  void number(std::uint32_t field, std::uint64_t value) {
    if (value == 0) return;  // what a reader takes for granted
    varint(std::uint64_t{field} << 3);
    varint(value);
  }
  // Repeated numbers, in one piece.
  void numbers(std::uint32_t field, const std::vector<std::uint64_t>& values) {
    ProtobufWriter packed;
    for (const std::uint64_t value : values) packed.varint(value);
    bytes(field, packed.text_);
  }
  // A string, or a message within this one.
  void bytes(std::uint32_t field, std::string_view value) {
    varint((std::uint64_t{field} << 3) | 2);
    varint(value.size());
    text_ += value;
  }
  const std::string& text() const { return text_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_ += static_cast<char>((value & 0x7f) | 0x80);
    text_ += static_cast<char>(value);
  }
  std::string text_;
};

}  // namespace zeropool::ctl
