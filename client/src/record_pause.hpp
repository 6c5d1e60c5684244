#pragma once
// RecordPause: how long a process goes without asking for one more thread record, once it was refused one. Its threads that
// have none share a cache meanwhile: without a pause each of their operations would map memory, look at every record and ring
// zeropoold's bell, all under the attachment's lock, for as long as the records and the budget are spent.
//
// Thread safety: under the attachment's lock. All zero: it may ask.
// Invariants:
//   P1  The first refusals are 1 ms apart, later ones up to 64 ms: who is refused all the time asks rarely.
//   P2  Where zeropoold has published more since, or this process has freed one, there is no pause.

#include <algorithm>
#include <cstdint>

namespace zeropool::client {

class RecordPause {
 public:
  static constexpr std::int64_t kFirstNs = 1'000'000;
  static constexpr std::int64_t kMostNs = 64'000'000;

  // `published`: how many records there are.
  bool over(std::uint32_t published, std::int64_t now_ns) const noexcept {
    return pause_ns_ == 0 || published != published_ || now_ns - refused_ns_ >= pause_ns_;
  }
  void refused(std::uint32_t published, std::int64_t now_ns) noexcept {
    const bool again = pause_ns_ != 0 && published == published_;
    pause_ns_ = again ? std::min(2 * pause_ns_, kMostNs) : kFirstNs;
    published_ = published;
    refused_ns_ = now_ns;
  }
  void end() noexcept { pause_ns_ = 0; }

 private:
  std::int64_t refused_ns_ = 0;
  std::int64_t pause_ns_ = 0;
  std::uint32_t published_ = 0;
};

}  // namespace zeropool::client
