#pragma once
// Who holds what, by a scan of marks and magazines; and the table of the largest holders that clients read when
// a get fails.
//
// Thread safety: the loop thread's. Owners that live go on meanwhile: the result is an estimate, and nothing is
// decided on it.

#include <atomic>
#include <cstdint>
#include <vector>

#include "daemon/pool.hpp"
#include "zeropool/lib/client_charge.hpp"

namespace zeropool::daemon {

// One entry for each client of the pool, in the order of pool.clients.
std::vector<ClientHolding> holdings(const Pool& pool);

// What a client is charged (client_charge.hpp), as it keeps it itself.
std::atomic<std::uint64_t>& charge_word(const Pool& pool, const ClientInfo& client);
lib::SharedClientCharge charge_of(const Pool& pool, const ClientInfo& client);

// Writes the largest of them into the pool's header.
void publish_holders(const Pool& pool, const std::vector<ClientHolding>& holdings);

}  // namespace zeropool::daemon
