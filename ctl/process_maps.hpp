#pragma once
// What code a process has mapped where: /proc/PID/maps, and the build ids of the files, by which tools find symbols.
//
// Thread safety: functions of their arguments.
// Trust: none in the process or its files: sizes and offsets are checked, nothing of it is run.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zeropool::ctl {

struct CodeMapping {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t file_offset = 0;
  std::string file;      // as that process sees it
  std::string build_id;  // hexadecimal; empty: it has none that can be read
};

struct ProcessMaps {
  std::vector<CodeMapping> code;  // executable, of files; ascending
  std::string why;                // it could not be read

  // Null: not in code of a file.
  const CodeMapping* find(std::uint64_t address) const;
};

ProcessMaps read_process_maps(std::uint64_t pid);

// Of the text of a maps file, without build ids.
std::vector<CodeMapping> parse_maps(std::string_view text);
// Of the bytes of an ELF file's note segment or section; empty: none.
std::string build_id_of_notes(std::string_view notes);

// frames+0x1234 (the file's name, and the offset in the file); 0x7f0012345678 where that is not known.
std::string frame_text(const ProcessMaps& maps, std::uint64_t address);

}  // namespace zeropool::ctl
