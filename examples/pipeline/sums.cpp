#include <cerrno>
#include <memory>
#include <system_error>

#include "pipeline/report.hpp"

namespace pipeline {
namespace {

// As coreutils: a line that starts with a backslash has backslashes, newlines and carriage returns escaped.
std::string sum_line(const Digest& digest, const std::string& path) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string line;
  if (path.find_first_of("\\\n\r") != std::string::npos) line += '\\';
  for (const std::uint8_t byte : digest) {
    line += kHex[byte >> 4];
    line += kHex[byte & 15];
  }
  line += "  ";
  for (const char c : path) {
    switch (c) {
      case '\\': line += "\\\\"; break;
      case '\n': line += "\\n"; break;
      case '\r': line += "\\r"; break;
      default: line += c;
    }
  }
  return line + '\n';
}

[[noreturn]] void fail(const std::string& path) {
  throw std::system_error(errno, std::generic_category(), path);
}

}  // namespace

void write_sums(const std::string& path, const FileList& list, const WorkList& work) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> out(std::fopen(path.c_str(), "we"), &std::fclose);
  if (!out) fail(path);
  for (std::size_t i = 0; i < list.files.size(); ++i) {
    const FileWork& file = work.files()[i];
    if (file.state != FileState::kDone) continue;
    const std::string line = sum_line(file.digest, list.files[i].path);
    if (std::fwrite(line.data(), 1, line.size(), out.get()) != line.size()) fail(path);
  }
  if (std::fclose(out.release()) != 0) fail(path);
}

}  // namespace pipeline
