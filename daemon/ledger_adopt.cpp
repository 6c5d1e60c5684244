// A ledger that an earlier daemon left.
//
// Trust: no client could write it; what is checked here is that this build reads it as that one wrote it.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/stat.h>

#include "daemon/commit.hpp"
#include "daemon/ledger.hpp"

namespace zeropool::daemon {
namespace {

constexpr auto kPlain = std::memory_order_relaxed;

std::string other_build(const LedgerHeader& header) {
  return "the memory of an earlier zeropoold is kept for its clients, and this build cannot read "
         "it (ledger "
         "version " +
         std::to_string(header.version) + ", here " + std::to_string(kLedgerVersion) +
         ", or another layout); it was left as it is. Start that version again; or, to give up "
         "what its "
         "clients hold, end its holder (zeropool-holder) or stop the unit, and start anew";
}

}  // namespace

std::unique_ptr<Ledger> Ledger::adopt(Budget& budget, lib::UniqueFd fd, std::string& why) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 ||
      static_cast<std::uint64_t>(info.st_size) < sizeof(LedgerHeader)) {
    why = "what is kept as the ledger of an earlier zeropoold is none";
    return nullptr;
  }
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  lib::Mapping mapping = lib::map_segment(fd.get(), bytes, lib::kSmallPage, why);
  if (!mapping) return nullptr;
  const auto& header = *reinterpret_cast<const LedgerHeader*>(mapping.data());
  if (header.magic != kLedgerMagic) {
    why = "the ledger that an earlier zeropoold left is unfinished";
    return nullptr;
  }
  const std::uint64_t end = header.states_offset + header.states_end.load(kPlain);
  if (header.version != kLedgerVersion || header.layout_hash != lib::layout_hash() ||
      header.segment_bytes != bytes || header.states_offset > bytes || end > bytes) {
    why = other_build(header);
    return nullptr;
  }
  std::unique_ptr<Ledger> ledger(new Ledger(budget, std::move(fd), std::move(mapping)));
  ledger->find_tables();
  ledger->keep_pools_ = true;
  // A commit that a kill broke off lies behind the end.
  CommitRange rest;
  rest.fd = ledger->fd_.get();
  rest.mapping = ledger->mapping_.data();
  rest.offset = end;
  rest.bytes = bytes - end;
  if (rest.bytes > 0) punch_range(rest);
  ledger->charged_bytes_ = end;
  budget.adopt_overhead(end);
  // Ids may have been given out beyond those that are in the table: never the same twice (L1).
  ledger->wrapped_ = true;
  std::uint32_t clients = 0;
  for (const LedgerClient& client : ledger->clients()) clients += client.id != 0 ? 1 : 0;
  ledger->header_->client_count.store(clients, kPlain);
  std::uint32_t pools = 0;
  for (std::uint32_t pool = 0; pool < kLedgerPools; ++pool) {
    pools += ledger->pools_[pool].used.load(kPlain) != 0 ? 1 : 0;
  }
  ledger->header_->pool_count.store(pools, kPlain);
  return ledger;
}

}  // namespace zeropool::daemon
