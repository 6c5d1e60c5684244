#include "daemon/share_audit.hpp"

#include <algorithm>
#include <atomic>

#include "daemon/share_ends.hpp"

namespace zeropool::daemon {
namespace {

using lib::HoldWord;
using lib::ShareState;
using lib::ShareWord;

constexpr std::size_t kMostWithheld = std::size_t{1} << 16;
constexpr std::uint32_t kStateWord = lib::kShareHolders;  // in a key, beside the numbers of holds

std::uint64_t key_of(std::uint32_t cell, std::uint32_t word) {
  return (std::uint64_t{cell} << 8) | word;
}

}  // namespace

bool ShareAudit::outlived(std::uint64_t key, std::uint64_t word, std::uint64_t oldest_attach_ns,
                          std::uint64_t now_ns) {
  const auto known = withheld_.find(key);
  if (known == withheld_.end() && withheld_.size() >= kMostWithheld) return pool_.clients.empty();
  FirstSeen& seen = known == withheld_.end() ? withheld_[key] : known->second;
  if (seen.word != word || seen.since_ns == 0) seen = {word, now_ns};
  return oldest_attach_ns > seen.since_ns;
}

void ShareAudit::look_at(std::uint32_t number, const std::unordered_set<std::uint32_t>& known,
                         std::uint64_t oldest_attach_ns, std::uint64_t now_ns,
                         ShareFindings& findings) {
  lib::SharedShareCell& cell = pool_.memory->view().share(number);
  std::uint64_t cleared = 0;
  bool was_in_the_way = false;  // a share that began meanwhile did not end because of what goes now
  ShareWord state{cell.state.load(std::memory_order_acquire)};
  const std::uint32_t its = state.client();
  const bool stateless =
      (state.state() == ShareState::kOpening || state.state() == ShareState::kDying) &&
      its != lib::kDaemonClient && !known.contains(its);
  if (!stateless) {
    withheld_.erase(key_of(number, kStateWord));
  } else if (!outlived(key_of(number, kStateWord), state.word, oldest_attach_ns, now_ns)) {
    ++findings.withheld;
  } else if (cell.state.compare_exchange_strong(
                 state.word, state.next(ShareState::kDying, lib::kDaemonClient).word,
                 std::memory_order_acq_rel)) {
    withheld_.erase(key_of(number, kStateWord));
    ++cleared;
  }
  for (std::uint32_t i = 0; i < lib::kShareHolders; ++i) {
    HoldWord hold{cell.holders[i].load(std::memory_order_relaxed)};
    if (hold.word == 0) {
      if (!withheld_.empty()) withheld_.erase(key_of(number, i));
      continue;
    }
    const bool mine = hold.client() == lib::kDaemonClient;
    const bool useless = mine && state.state() == ShareState::kFree;  // F2
    if (!useless && hold.count() != 0 && (mine || known.contains(hold.client()))) {
      if (!withheld_.empty()) withheld_.erase(key_of(number, i));
    } else if (!useless &&
               !outlived(key_of(number, i), hold.word, oldest_attach_ns, now_ns)) {  // F1
      ++findings.withheld;
    } else if (cell.holders[i].compare_exchange_strong(hold.word, 0, std::memory_order_acq_rel)) {
      withheld_.erase(key_of(number, i));
      was_in_the_way = true;
      if (!useless) ++cleared;
    }
  }
  findings.cleared += cleared;
  if (cleared == 0 && !was_in_the_way) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);  // R-fence
  ShareCounts counts;
  end_if_over(pool_, number, counts);
}

ShareFindings ShareAudit::look(const std::unordered_set<std::uint32_t>& known,
                               std::uint64_t oldest_attach_ns, std::uint64_t now_ns) {
  ShareFindings findings;
  const std::uint32_t published = pool_.memory->published().shares;
  const std::uint32_t most = std::min(published, kCells);
  for (std::uint32_t i = 0; i < most; ++i) {
    if (next_ >= published) next_ = 0;
    look_at(next_++, known, oldest_attach_ns, now_ns, findings);
  }
  return findings;
}

}  // namespace zeropool::daemon
