#include "ctl/process_maps.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <zeropool/lib/unique_fd.hpp>

namespace zeropool::ctl {
namespace {

constexpr std::size_t kMostMapsBytes = std::size_t{64} << 20;
constexpr std::size_t kMostNoteBytes = 64 << 10;
constexpr std::size_t kMostSegments = 128;
constexpr std::uint32_t kBuildIdNote = 3;  // NT_GNU_BUILD_ID
constexpr std::size_t kMostBuildIdBytes = 64;

bool read_all(const std::string& path, std::string& text) {
  const lib::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return false;
  char piece[65536];
  while (text.size() < kMostMapsBytes) {
    const ssize_t got = ::read(fd.get(), piece, sizeof(piece));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) return true;
    text.append(piece, static_cast<std::size_t>(got));
  }
  return true;
}

bool read_at(int fd, std::uint64_t offset, void* into, std::size_t bytes) {
  return offset <= INT64_MAX &&
         ::pread(fd, into, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
}

std::string build_id_of_file(const std::string& path) {
  // Not a device or a pipe that would make us wait.
  const lib::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  Elf64_Ehdr header{};
  if (!fd || !read_at(fd.get(), 0, &header, sizeof(header)) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_phentsize != sizeof(Elf64_Phdr)) {
    return {};
  }
  for (std::size_t i = 0; i < std::min<std::size_t>(header.e_phnum, kMostSegments); ++i) {
    Elf64_Phdr segment{};
    if (!read_at(fd.get(), header.e_phoff + i * sizeof(segment), &segment, sizeof(segment))) break;
    if (segment.p_type != PT_NOTE || segment.p_filesz > kMostNoteBytes) continue;
    std::string notes(segment.p_filesz, '\0');
    if (!read_at(fd.get(), segment.p_offset, notes.data(), notes.size())) continue;
    const std::string id = build_id_of_notes(notes);
    if (!id.empty()) return id;
  }
  return {};
}

bool take_number(std::string_view& text, std::uint64_t& number, char end) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (parsed.ec != std::errc{} || parsed.ptr == text.data() + text.size() || *parsed.ptr != end) {
    return false;
  }
  text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()) + 1);
  return true;
}

std::string hexadecimal(std::uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(number));
  return text;
}

}  // namespace

const CodeMapping* ProcessMaps::find(std::uint64_t address) const {
  const auto next = std::upper_bound(
      code.begin(), code.end(), address,
      [](std::uint64_t value, const CodeMapping& mapping) { return value < mapping.begin; });
  if (next == code.begin() || address >= std::prev(next)->end) return nullptr;
  return &*std::prev(next);
}

std::vector<CodeMapping> parse_maps(std::string_view text) {
  std::vector<CodeMapping> code;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    // begin-end rwxp offset device inode   path
    CodeMapping mapping;
    if (!take_number(line, mapping.begin, '-') || !take_number(line, mapping.end, ' ')) continue;
    if (line.size() < 5 || line[2] != 'x') continue;
    line.remove_prefix(5);
    if (!take_number(line, mapping.file_offset, ' ')) continue;
    const std::size_t path = line.find('/');
    if (path == std::string_view::npos || mapping.begin >= mapping.end) continue;
    mapping.file = line.substr(path);
    if (!code.empty() && mapping.begin < code.back().end) continue;
    code.push_back(std::move(mapping));
  }
  return code;
}

std::string build_id_of_notes(std::string_view notes) {
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr header{};
    std::memcpy(&header, notes.data(), sizeof(header));
    notes.remove_prefix(sizeof(header));
    const std::size_t name_bytes = (std::size_t{header.n_namesz} + 3) / 4 * 4;
    const std::size_t value_bytes = (std::size_t{header.n_descsz} + 3) / 4 * 4;
    if (name_bytes > notes.size() || header.n_descsz > notes.size() - name_bytes) return {};
    const std::string_view value = notes.substr(name_bytes, header.n_descsz);
    if (header.n_type == kBuildIdNote &&
        notes.substr(0, header.n_namesz) == std::string_view("GNU", 4) &&
        value.size() <= kMostBuildIdBytes) {
      std::string id;
      for (const char c : value) {
        char digits[3];
        std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned char>(c));
        id += digits;
      }
      return id;
    }
    notes.remove_prefix(std::min(name_bytes + value_bytes, notes.size()));
  }
  return {};
}

ProcessMaps read_process_maps(std::uint64_t pid) {
  ProcessMaps maps;
  const std::string process = "/proc/" + std::to_string(pid);
  std::string text;
  if (!read_all(process + "/maps", text)) {
    maps.why = std::strerror(errno);
    return maps;
  }
  maps.code = parse_maps(text);
  if (maps.code.empty()) maps.why = "it is empty: the process has ended";
  for (CodeMapping& mapping : maps.code) {
    // As the process sees it: it may live in another root.
    mapping.build_id = build_id_of_file(process + "/root" + mapping.file);
  }
  return maps;
}

std::string frame_text(const ProcessMaps& maps, std::uint64_t address) {
  const CodeMapping* mapping = maps.find(address);
  if (mapping == nullptr) return hexadecimal(address);
  return mapping->file.substr(mapping->file.rfind('/') + 1) + "+" +
         hexadecimal(address - mapping->begin + mapping->file_offset);
}

}  // namespace zeropool::ctl
