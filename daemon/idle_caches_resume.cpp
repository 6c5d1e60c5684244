// What a daemon that was killed while it took idle caches left: magazines that their threads have forgotten, or will when
// they wake, and that nobody has released. They carry their thread's owner word, and no record names them.
//
// Whoever runs is asked by the steps of any other steal, but for one: what is taken is listed by the owner words, of all
// magazines, so that what no record names is among it. One pass over the owner words finds whom to ask; a claim that is
// under way looks the same, so a thread may be asked for nothing: it loses what it caches, once.

#include <algorithm>

#include "daemon/idle_caches.hpp"

namespace zeropool::daemon {
namespace {

// A second each: a client that stays stopped, or a thread that is never met between two operations, is not waited for.
// What is left then comes back with its client's end.
constexpr std::uint32_t kMendLooks = 60;

}  // namespace

void IdleCaches::resume() {
  const std::uint32_t published = pool_.memory->published().threads;
  for (std::uint32_t thread = 0; thread < published; ++thread) lib::leave_caches(record(thread));
  if (pool_.clients.empty()) return;
  look_at_rings();
  look_at_clients();
  mend_looks_left_ = mend_broken() ? 0 : kMendLooks;
}

// Whether a thread owns it that does not know of it. A plain look: a claim that is under way looks the same.
bool IdleCaches::lies_unnamed(const lib::StolenMagazine& magazine) const {
  lib::SharedThreadRecord& shared = record(magazine.thread);
  return shared.steal.load(std::memory_order_acquire) == lib::kStealTaken ||
         shared.owner.load(std::memory_order_acquire) != magazine.owner.word ||
         !steal_.is_named(lib::ControlView::rings_of(shared), magazine.ring, magazine.cell);
}

// Magazines that a steal of the daemon before has taken from their threads and not released: their threads are taken
// once more, this time by the owner words. True: there are none.
bool IdleCaches::mend_broken() {
  const std::uint32_t published = pool_.memory->published().threads;
  std::vector<bool> broken(published, false);
  const auto of_a_thread = [&](lib::OwnerWord owner) {
    return owner.detail() < published && attached(owner);
  };
  list_.clear();
  for (std::uint32_t r = 0; r < rings_.size(); ++r) steal_.list_by_words(r, of_a_thread, list_);
  for (const lib::StolenMagazine& magazine : list_) {
    if (lies_unnamed(magazine)) broken[magazine.thread] = true;
  }
  asked_.clear();
  for (std::uint32_t thread = 0; thread < published; ++thread) {
    if (!broken[thread]) continue;
    lib::SharedThreadRecord& shared = record(thread);
    const lib::OwnerWord owner{shared.owner.load(std::memory_order_acquire)};
    // TAKEN is taken, also of a process that was stopped since.
    const bool taken = shared.steal.load(std::memory_order_acquire) == lib::kStealTaken;
    if (!taken && owner.word != 0 && !may_ask(owner)) continue;
    if (taken || lib::ask_for_caches(shared)) asked_.push_back({thread, owner});
  }
  if (std::find(broken.begin(), broken.end(), true) == broken.end()) return true;
  if (asked_.empty()) return false;
  if (!barrier()) return true;
  std::fill(broken.begin(), broken.end(), false);
  for (const Asked& asked : asked_) {
    broken[asked.thread] = lib::caches_are_idle(record(asked.thread));
  }
  list_.clear();
  for (std::uint32_t r = 0; r < rings_.size(); ++r) {
    steal_.list_by_words(
        r, [&](lib::OwnerWord owner) { return of_a_thread(owner) && broken[owner.detail()]; },
        list_);
  }
  TakenCaches taken;
  for (const Asked& asked : asked_) {
    if (!broken[asked.thread]) continue;
    note_tallies(asked.thread);
    broken[asked.thread] = lib::take_caches(record(asked.thread));
    if (broken[asked.thread]) ++taken.threads;
  }
  std::erase_if(list_, [&](const auto& magazine) { return !broken[magazine.thread]; });
  release(taken);
  count(taken, StealReason::kIdle);
  return false;  // those that were awake, at the next look
}

}  // namespace zeropool::daemon
