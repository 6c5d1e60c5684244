#include "daemon/ledger.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "daemon/commit.hpp"

namespace zeropool::daemon {
namespace {

constexpr std::uint64_t kStatesBytes = std::uint64_t{256}
                                       << 20;       // of addresses: 512 TiB in 2 MiB extents
constexpr auto kPlain = std::memory_order_relaxed;  // one writer, no reader but a later daemon

std::uint64_t pages(std::uint64_t bytes) {
  return (bytes + lib::kSmallPage - 1) / lib::kSmallPage * lib::kSmallPage;
}

// A kill falls between two instructions: what a later daemon finds is a prefix of this program's
// stores.
void program_order() { std::atomic_signal_fence(std::memory_order_seq_cst); }

std::uint64_t clients_offset() { return pages(sizeof(LedgerHeader)); }
std::uint64_t pools_offset(std::uint32_t client_capacity) {
  return pages(clients_offset() + std::uint64_t{client_capacity} * sizeof(LedgerClient));
}
std::uint64_t states_offset(std::uint32_t client_capacity) {
  return pages(pools_offset(client_capacity) + kLedgerPools * sizeof(LedgerPool));
}

}  // namespace

std::unique_ptr<Ledger> Ledger::create(Budget& budget, std::uint32_t client_capacity,
                                       std::string& why) {
  client_capacity = std::min(client_capacity, lib::kMaxClientId);
  const std::uint64_t fixed_bytes = states_offset(client_capacity);
  const std::uint64_t segment_bytes = fixed_bytes + kStatesBytes;
  lib::UniqueFd fd =
      lib::create_segment("zeropool-ledger", segment_bytes, lib::SegmentPages::kSmall, why);
  if (!fd) return nullptr;
  lib::Mapping mapping = lib::map_segment(fd.get(), segment_bytes, lib::kSmallPage, why);
  if (!mapping) return nullptr;
  std::unique_ptr<Ledger> ledger(new Ledger(budget, std::move(fd), std::move(mapping)));
  if (!ledger->commit(0, fixed_bytes, why)) return nullptr;

  LedgerHeader& header = *ledger->header_;
  header.version = kLedgerVersion;
  header.client_capacity = client_capacity;
  header.layout_hash = lib::layout_hash();
  header.segment_bytes = segment_bytes;
  header.clients_offset = clients_offset();
  header.pools_offset = pools_offset(client_capacity);
  header.states_offset = fixed_bytes;
  header.next_client_id.store(1, kPlain);
  header.budget_bytes.store(budget.budget(), kPlain);
  header.committed_bytes.store(budget.committed(), kPlain);
  ledger->find_tables();
  program_order();
  header.magic = kLedgerMagic;  // COMMIT
  return ledger;
}

Ledger::Ledger(Budget& budget, lib::UniqueFd fd, lib::Mapping mapping)
    : budget_(budget),
      fd_(std::move(fd)),
      mapping_(std::move(mapping)),
      header_(reinterpret_cast<LedgerHeader*>(mapping_.data())) {}

Ledger::~Ledger() { budget_.refund_overhead(charged_bytes_); }

void Ledger::find_tables() {
  clients_ = reinterpret_cast<LedgerClient*>(mapping_.data() + header_->clients_offset);
  pools_ = reinterpret_cast<LedgerPool*>(mapping_.data() + header_->pools_offset);
}

// On the calling thread, whose memory policy is the default: these are few pages, and no client
// touches them.
bool Ledger::commit(std::uint64_t offset, std::uint64_t bytes, std::string& why) {
  if (!budget_.charge_overhead(bytes)) {  // L3
    why = "the budget of " + std::to_string(budget_.budget()) +
          " bytes, less reservations, has no room for " + std::to_string(bytes) +
          " bytes of the daemon's ledger: raise budget";
    return false;
  }
  charged_bytes_ += bytes;
  MemoryGuard guard;
  CommitRange range;
  range.fd = fd_.get();
  range.mapping = mapping_.data();
  range.offset = offset;
  range.bytes = bytes;
  const CommitResult result = commit_range(range, guard);
  if (result.outcome == CommitOutcome::kDone) return true;
  budget_.refund_overhead(bytes);
  charged_bytes_ -= bytes;
  why = "no memory for " + std::to_string(bytes) +
        " bytes of the daemon's ledger: " + std::strerror(result.error);
  return false;
}

std::uint32_t Ledger::allocate_client_id(std::uint32_t& epoch) {
  // Among capacity + 1 successive ids one is free; the table names at most `capacity`.
  for (std::uint64_t tries = 0; tries <= header_->client_capacity; ++tries) {
    std::uint32_t id = header_->next_client_id.load(kPlain);
    if (id == 0 || id > lib::kMaxClientId) id = 1;
    if (id == lib::kMaxClientId) {
      header_->client_epoch.store(header_->client_epoch.load(kPlain) + 1, kPlain);
      wrapped_ = true;
    }
    header_->next_client_id.store(id == lib::kMaxClientId ? 1 : id + 1, kPlain);
    if (in_use(id)) continue;  // L1
    // The last id of an epoch has raised the epoch for those after it.
    epoch = header_->client_epoch.load(kPlain) - (id == lib::kMaxClientId ? 1 : 0);
    return id;
  }
  return 0;
}

bool Ledger::in_use(std::uint32_t id) const noexcept {
  if (!wrapped_ && id > highest_added_) return false;
  const std::span<const LedgerClient> all = clients();
  return std::any_of(all.begin(), all.end(),
                     [id](const LedgerClient& client) { return client.id == id; });
}

bool Ledger::add_client(const LedgerClient& client) {
  if (client.id == 0 || client.id > lib::kMaxClientId || in_use(client.id)) return false;
  const std::uint32_t capacity = header_->client_capacity;
  for (std::uint32_t i = 0; i < capacity; ++i) {
    LedgerClient& entry = clients_[i];
    if (entry.id != 0) continue;
    entry.epoch = client.epoch;
    entry.pid = client.pid;
    entry.uid = client.uid;
    entry.start_time = client.start_time;
    entry.pool = client.pool;
    entry.flags = client.flags;
    entry.record = client.record;
    program_order();
    entry.id = client.id;  // COMMIT
    program_order();
    header_->client_count.store(header_->client_count.load(kPlain) + 1, kPlain);
    highest_added_ = std::max(highest_added_, client.id);
    return true;
  }
  return false;
}

bool Ledger::remove_client(std::uint32_t id) {
  if (id == 0) return false;
  const std::uint32_t capacity = header_->client_capacity;
  for (std::uint32_t i = 0; i < capacity; ++i) {
    if (clients_[i].id != id) continue;
    clients_[i].id = 0;  // COMMIT
    program_order();
    header_->client_count.store(header_->client_count.load(kPlain) - 1, kPlain);
    return true;
  }
  return false;
}

void Ledger::begin_reclaim(std::uint32_t id) {
  const std::uint32_t capacity = header_->client_capacity;
  for (std::uint32_t i = 0; i < capacity; ++i) {
    if (clients_[i].id != id) continue;
    clients_[i].flags = static_cast<std::uint16_t>(clients_[i].flags | kLedgerReclaiming);
    program_order();
    return;
  }
}

std::span<const LedgerClient> Ledger::clients() const noexcept {
  return {clients_, header_->client_capacity};
}

}  // namespace zeropool::daemon
