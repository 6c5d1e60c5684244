#include "pipeline/work_list.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace pipeline {
namespace {

constexpr std::size_t kBatchFiles = 64;
constexpr std::uint64_t kBatchBytes = 4 * 1024 * 1024;

}  // namespace

WorkList::WorkList(const FileList& list)
    : list_(list), files_(list.files.size()), queue_(list.files.size()) {
  std::iota(queue_.begin(), queue_.end(), 0U);
}

std::vector<std::uint32_t> WorkList::take_batch(std::uint32_t hasher_child) {
  if (outstanding_bytes_.size() <= hasher_child) outstanding_bytes_.resize(hasher_child + 1);
  std::vector<std::uint32_t> batch;
  std::uint64_t batch_bytes = 0;
  std::size_t message_bytes = sizeof(MessageHead) + sizeof(JobsBody);
  while (!queue_.empty() && batch.size() < kBatchFiles && batch_bytes < kBatchBytes) {
    const std::uint32_t file = queue_.front();
    const ListedFile& listed = list_.files[file];
    message_bytes += sizeof(JobEntry) + listed.path.size();
    if (!batch.empty() && message_bytes > kMaxMessageBytes) break;
    queue_.pop_front();
    batch.push_back(file);
    batch_bytes += listed.bytes;
    FileWork& work = files_[file];
    work.state = FileState::kReading;
    work.with_reader = true;
    work.hasher_dead = false;
    work.hasher_child = hasher_child;
    if (work.attempts < UINT8_MAX) ++work.attempts;
  }
  outstanding_bytes_[hasher_child] += batch_bytes;
  return batch;
}

void WorkList::reader_ended(const JobEndEntry& entry) {
  FileWork& work = files_.at(entry.file);
  work.with_reader = false;
  if (work.state != FileState::kReading) return;  // its digest was faster
  if (entry.outcome == JobOutcome::kUnreadable) {
    work.error = entry.error;
    settle(entry.file, FileState::kUnreadable);
    return;
  }
  work.state = FileState::kHashing;
  if (work.hasher_dead) requeue(entry.file);
}

bool WorkList::digest_came(const DigestEntry& entry) {
  FileWork& work = files_.at(entry.file);
  if (work.state != FileState::kReading && work.state != FileState::kHashing) return false;
  work.digest = entry.digest;
  work.hashed_bytes = entry.bytes;
  settle(entry.file, FileState::kDone);
  ++done_files_;
  done_bytes_ += entry.bytes;
  return true;
}

std::uint64_t WorkList::hasher_died(std::uint32_t hasher_child) {
  std::uint64_t left = 0;
  for (std::uint32_t file = 0; file < files_.size(); ++file) {
    FileWork& work = files_[file];
    const bool open = work.state == FileState::kReading || work.state == FileState::kHashing;
    if (!open || work.hasher_child != hasher_child || work.hasher_dead) continue;
    work.hasher_dead = true;
    ++left;
    ++redone_files_;
    redone_bytes_ += list_.files[file].bytes;
    if (work.state == FileState::kHashing) requeue(file);
  }
  return left;
}

std::uint64_t WorkList::outstanding_bytes(std::uint32_t hasher_child) const {
  return hasher_child < outstanding_bytes_.size() ? outstanding_bytes_[hasher_child] : 0;
}

void WorkList::settle(std::uint32_t file, FileState state) {
  FileWork& work = files_[file];
  work.state = state;
  outstanding_bytes_[work.hasher_child] -= list_.files[file].bytes;
  ++settled_files_;
  settled_bytes_ += list_.files[file].bytes;
}

void WorkList::requeue(std::uint32_t file) {
  FileWork& work = files_[file];
  work.state = FileState::kQueued;
  outstanding_bytes_[work.hasher_child] -= list_.files[file].bytes;
  queue_.push_front(file);
}

}  // namespace pipeline
