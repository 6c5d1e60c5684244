#include "pipeline/file_list.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fts.h>
#include <memory>
#include <stdexcept>
#include <sys/stat.h>
#include <unordered_set>

namespace pipeline {
namespace {

std::vector<ListedFile> files_below(const std::string& directory,
                                    std::unordered_set<std::string>& seen, FileList& list) {
  std::string start = directory;
  char* const starts[] = {start.data(), nullptr};
  const std::unique_ptr<FTS, int (*)(FTS*)> tree(
      ::fts_open(starts, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, nullptr), &::fts_close);
  if (!tree) throw std::runtime_error(directory + ": " + std::strerror(errno));
  std::vector<ListedFile> files;
  while (FTSENT* entry = ::fts_read(tree.get())) {
    switch (entry->fts_info) {
      case FTS_F:
        if (!S_ISREG(entry->fts_statp->st_mode)) break;
        if (!seen.insert(entry->fts_path).second) break;
        files.push_back({entry->fts_path, static_cast<std::uint64_t>(entry->fts_statp->st_size)});
        break;
      case FTS_DNR:
      case FTS_ERR:
      case FTS_NS:
        if (entry->fts_level == FTS_ROOTLEVEL) {
          throw std::runtime_error(directory + ": " + std::strerror(entry->fts_errno));
        }
        ++list.unreadable_directories;
        break;
      default: break;
    }
  }
  std::sort(files.begin(), files.end(),
            [](const ListedFile& a, const ListedFile& b) { return a.path < b.path; });
  return files;
}

}  // namespace

FileList list_files(const std::vector<std::string>& directories, std::uint64_t max_bytes) {
  struct Source {
    std::vector<ListedFile> files;
    std::size_t next = 0;
    std::uint64_t taken_bytes = 0;
  };
  FileList list;
  std::unordered_set<std::string> seen;
  std::vector<Source> sources;
  for (const std::string& directory : directories) {
    Source source{files_below(directory, seen, list)};
    list.found_files += source.files.size();
    for (const ListedFile& file : source.files) list.found_bytes += file.bytes;
    sources.push_back(std::move(source));
  }
  while (true) {
    Source* least = nullptr;
    for (Source& source : sources) {
      if (source.next == source.files.size()) continue;
      if (least == nullptr || source.taken_bytes < least->taken_bytes) least = &source;
    }
    if (least == nullptr) break;
    ListedFile& file = least->files[least->next];
    if (max_bytes != 0 && list.bytes + file.bytes > max_bytes) break;
    ++least->next;
    least->taken_bytes += file.bytes;
    list.bytes += file.bytes;
    list.files.push_back(std::move(file));
  }
  return list;
}

}  // namespace pipeline
