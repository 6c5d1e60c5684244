#pragma once
// What a client is charged against its quota: the bytes that it holds and the bytes that its threads cache.
//
// Thread safety: any thread of the client, and the daemon.
// Invariants:
//   Q1  The charge covers what the client holds and caches: it goes up before a claim, a grant or an adopt, and down
//       after a release or a hand-off. So it is never too small, and too large for an instant only. (A magazine out
//       of which a thread takes one slot before it goes back is on its way, and not cached.)
//   Q2  It changes at claim, release, hand-off, adopt, grant and at nothing else: a get or a put moves a slot between
//       what is held and what is cached, and costs nothing here.
// Crash safety: a client that is killed loses its charge with its record (reclaim). A daemon that is killed between a
// charge and its grant leaves the charge too large; the next count by the marks (daemon/client_quota.hpp) corrects it.

#include <atomic>
#include <cstdint>

namespace zeropool::inline v1::lib {

template <template <typename> class Atom>
class ClientCharge {
 public:
  // `charged` is ClientRecord::charged_bytes, `quota` the pool's client_quota_bytes; 0: none.
  ClientCharge(Atom<std::uint64_t>& charged, const Atom<std::uint64_t>& quota) noexcept
      : charged_(charged), quota_(quota) {}

  std::uint64_t quota() const noexcept { return quota_.load(std::memory_order_relaxed); }
  // Damage and hands of others may have brought it below zero.
  std::uint64_t bytes() const noexcept { return at_least_zero(charged_.load(kRelaxed)); }
  bool over() const noexcept {
    const std::uint64_t most = quota();
    return most != 0 && bytes() > most;
  }

  // Charges so much unless that passes the quota. False: nothing is charged.
  bool reserve(std::uint64_t more) noexcept {
    const std::uint64_t most = quota();
    if (most == 0) {
      add(more);
      return true;
    }
    std::uint64_t now = charged_.load(kRelaxed);
    do {
      if (more > most || at_least_zero(now) > most - more) return false;
    } while (!charged_.compare_exchange_weak(now, now + more, kRelaxed, kRelaxed));
    return true;
  }
  // Past any quota: what has come anyway.
  void add(std::uint64_t more) noexcept { charged_.fetch_add(more, kRelaxed); }
  void remove(std::uint64_t less) noexcept {
    if (less != 0) charged_.fetch_sub(less, kRelaxed);
  }

 private:
  // Relaxed: a number that many add to, and that no other word is read by.
  static constexpr auto kRelaxed = std::memory_order_relaxed;
  static std::uint64_t at_least_zero(std::uint64_t word) noexcept {
    return static_cast<std::int64_t>(word) < 0 ? 0 : word;
  }

  Atom<std::uint64_t>& charged_;
  const Atom<std::uint64_t>& quota_;
};

using SharedClientCharge = ClientCharge<std::atomic>;

}  // namespace zeropool::v1::lib
