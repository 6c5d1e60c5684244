#pragma once
// The files that a run is about: regular ones below the directories, no symbolic link followed.

#include <cstdint>
#include <string>
#include <vector>

namespace pipeline {

struct ListedFile {
  std::string path;
  std::uint64_t bytes = 0;  // when it was listed
};

struct FileList {
  std::vector<ListedFile> files;
  std::uint64_t bytes = 0;
  std::uint64_t found_files = 0;  // before the cap
  std::uint64_t found_bytes = 0;
  std::uint64_t unreadable_directories = 0;
};

// With a cap, whole files up to it: from the directory that has given the least so far, in the byte order of the
// paths. Throws std::runtime_error if a directory of the list itself is none.
FileList list_files(const std::vector<std::string>& directories, std::uint64_t max_bytes);

}  // namespace pipeline
