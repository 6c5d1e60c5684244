#pragma once
// WorkList: where each file is on its way, and which are to be done again when a hasher dies.
//
// Invariants:
//   W1  a file is with at most one reader, and assigned to at most one incarnation of one hasher
//   W2  a file is settled once: its first digest counts, any other is dropped
//   W3  a file whose hasher died goes back to the queue when the last of two has happened: the hasher's reports
//       are read to their end, and its reader is through with it

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "pipeline/file_list.hpp"
#include "pipeline/messages.hpp"

namespace pipeline {

enum class FileState : std::uint8_t { kQueued, kReading, kHashing, kDone, kUnreadable };

struct FileWork {
  FileState state = FileState::kQueued;
  bool with_reader = false;
  bool hasher_dead = false;
  std::uint8_t attempts = 0;
  std::uint32_t hasher_child = 0;  // the number of the process, see Children
  std::int32_t error = 0;
  std::uint64_t hashed_bytes = 0;
  Digest digest{};
};

class WorkList {
 public:
  explicit WorkList(const FileList& list);

  // Assigns the next files, about a batch's worth, to that hasher process.
  std::vector<std::uint32_t> take_batch(std::uint32_t hasher_child);
  void reader_ended(const JobEndEntry& entry);
  // False: that file was settled before.
  bool digest_came(const DigestEntry& entry);
  // After all of its reports. Returns how many files it leaves to be done again.
  std::uint64_t hasher_died(std::uint32_t hasher_child);

  bool anything_queued() const { return !queue_.empty(); }
  bool all_settled() const { return settled_files_ == files_.size(); }
  std::uint64_t settled_bytes() const { return settled_bytes_; }  // as listed
  std::uint64_t done_files() const { return done_files_; }
  std::uint64_t done_bytes() const { return done_bytes_; }
  std::uint64_t unreadable_files() const { return settled_files_ - done_files_; }
  std::uint64_t redone_files() const { return redone_files_; }
  std::uint64_t redone_bytes() const { return redone_bytes_; }
  // Assigned to it and not settled, as listed.
  std::uint64_t outstanding_bytes(std::uint32_t hasher_child) const;
  const std::vector<FileWork>& files() const { return files_; }

 private:
  void settle(std::uint32_t file, FileState state);
  void requeue(std::uint32_t file);

  const FileList& list_;
  std::vector<FileWork> files_;
  std::deque<std::uint32_t> queue_;
  std::vector<std::uint64_t> outstanding_bytes_;  // by hasher process
  std::uint64_t settled_files_ = 0;
  std::uint64_t settled_bytes_ = 0;
  std::uint64_t done_files_ = 0;
  std::uint64_t done_bytes_ = 0;
  std::uint64_t redone_files_ = 0;
  std::uint64_t redone_bytes_ = 0;
};

}  // namespace pipeline
