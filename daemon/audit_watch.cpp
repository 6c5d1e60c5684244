#include "daemon/audit_watch.hpp"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include "daemon/client_barrier.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/share_ends.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::uint32_t kStepWords = 64;       // between two looks at the clock
constexpr std::uint32_t kVerifiedExtents = 4;  // a tick: some 30 pages
constexpr std::size_t kMostWithheld = std::size_t{1} << 16;

}  // namespace

bool AuditWatch::Facts::known(std::uint32_t client) const { return watch.known_.contains(client); }
bool AuditWatch::Facts::in_service(std::uint32_t slot) const {
  return watch.pool_.memory->in_service(watch.ring_, slot);
}
bool AuditWatch::Facts::quarantined(std::uint32_t slot) const {
  return watch.pool_.memory->is_quarantined(watch.ring_, slot);
}
bool AuditWatch::Facts::shared(std::uint32_t slot, lib::Mark mark) const {
  return is_shared_by(*watch.pool_.memory, watch.ring_, slot, mark);
}
// Clients have registered for it (attachment.cpp).
bool AuditWatch::Facts::barrier() const {
  const bool done = barrier_in_clients();
  return done || watch.pool_.clients.empty();
}
bool AuditWatch::Facts::outlived(lib::Withheld kind, std::uint32_t index,
                                 std::uint64_t word) const {
  return watch.outlived(kind, index, word);
}

AuditWatch::AuditWatch(Pool& pool, std::function<void(ClientIds&)> add_departed)
    : pool_(pool),
      add_departed_(std::move(add_departed)),
      log_(pool),
      shares_(pool),
      first_suspects_(pool.memory->ring_count(), 0) {}

void AuditWatch::tick(std::uint64_t now_ns) {
  now_ns_ = now_ns;
  const std::uint64_t deadline_ns = monotonic_ns() + kTickNs;
  look_at_clients();
  look_for_strays(deadline_ns);
  look_at_shares();
  pool_.memory->verify_placement(kVerifiedExtents);
  if (ring_ == lib::kNone) begin_pass();
  quiet_ = quiet_ && pool_.clients.empty();
  Facts facts{*this};
  do {
    audit_.step(pool_.memory->ring(ring_), facts, kStepWords);
    if (audit_.done()) end_ring();
  } while (ring_ != lib::kNone && monotonic_ns() < deadline_ns);  // Q1
  log_.tell(now_ns, !needed());
}

// The loop thread attaches and reclaims, so this does not change within a tick.
void AuditWatch::look_at_clients() {
  known_.clear();
  oldest_attach_ns_ = std::numeric_limits<std::uint64_t>::max();
  for (const ClientInfo& client : pool_.clients) {
    known_.insert(client.id);
    oldest_attach_ns_ = std::min(oldest_attach_ns_, client.attached_ns);
  }
  if (add_departed_) add_departed_(known_);
}

void AuditWatch::look_for_strays(std::uint64_t deadline_ns) {
  // Half of the tick, so that the words get theirs.
  const StrayReport strays = pool_.memory->punch_strays(now_ns_, deadline_ns - kTickNs / 2);
  AuditCounters& counters = pool_.counters.audit;
  counters.stray_bytes = strays.bytes;
  counters.punched_stray_bytes += strays.punched_bytes;
  strays_left_ = strays.searching;
  log_.found(strays, now_ns_);
}

void AuditWatch::look_at_shares() {
  const ShareFindings findings = shares_.look(known_, oldest_attach_ns_, now_ns_);
  pool_.counters.repairs += findings.cleared;
  shares_withheld_ = findings.withheld > 0;
  log_.found(findings, now_ns_);
}

void AuditWatch::begin_pass() {
  ring_ = 0;
  quiet_ = pool_.clients.empty();
  pass_findings_ = {};
  begin_ring();
}

void AuditWatch::begin_ring() {
  audit_.begin(pool_.memory->ring(ring_), first_suspects_[ring_],
               static_cast<std::uint32_t>(pool_.counters.audit.passes));
}

void AuditWatch::end_ring() {
  const lib::RingFindings& findings = audit_.findings();
  first_suspects_[ring_] = audit_.next_first_slot();
  pool_.counters.repairs += findings.repairs();
  log_.found(ring_, findings, now_ns_);
  pass_findings_ += findings;
  ++ring_;
  if (ring_ < pool_.memory->ring_count()) {
    begin_ring();
  } else {
    end_pass();
  }
}

void AuditWatch::end_pass() {
  AuditCounters& counters = pool_.counters.audit;
  // What was mended, or has changed, is not withheld any more.
  std::erase_if(withheld_, [&](const auto& entry) { return entry.second.pass != counters.passes; });
  ++counters.passes;
  counters.withheld = pass_findings_.withheld;
  ring_ = lib::kNone;
  // What was mended may have led to more (a magazine given back, its entries): one more pass sees it.
  const bool more = strays_left_ || shares_withheld_ || pass_findings_.repairs() > 0;
  if (quiet_ && !more) quiet_pass_done_ = true;
}

// G6
bool AuditWatch::outlived(lib::Withheld kind, std::uint32_t index, std::uint64_t word) {
  const std::uint64_t key =
      (std::uint64_t{ring_} << 33) | (static_cast<std::uint64_t>(kind) << 32) | index;
  const auto known = withheld_.find(key);
  if (known == withheld_.end() && withheld_.size() >= kMostWithheld) return pool_.clients.empty();
  FirstSeen& seen = known == withheld_.end() ? withheld_[key] : known->second;
  if (seen.word != word || seen.since_ns == 0) seen = {word, now_ns_, 0};
  seen.pass = pool_.counters.audit.passes;
  return oldest_attach_ns_ > seen.since_ns;
}

}  // namespace zeropool::daemon
