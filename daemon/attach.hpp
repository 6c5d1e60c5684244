#pragma once
// The first message of a client: checked, answered, admitted.
//
// Thread safety: the loop thread's. Trust: nothing in the message is believed before it is checked.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/access.hpp"
#include "daemon/clients.hpp"
#include "daemon/pool_service.hpp"
#include "zeropool/lib/wire.hpp"

namespace zeropool::daemon {

struct AttachOutcome {
  lib::AttachReply reply;
  std::vector<int> fds;  // to send along; owned by pool, client and this
  lib::UniqueFd wake;    // the client's end
  std::uint32_t client_id = 0;
};

// A reply that says no.
lib::AttachReply attach_refusal(lib::ErrorCode code, const std::string& sentence);

// Whether the message is of another wire version; `reply` then says so.
bool other_wire_version(const lib::Received& message, lib::AttachReply& reply);

// `message` is of type kAttach and whole. `connected_ns`: CLOCK_MONOTONIC when the peer was accepted.
AttachOutcome attach(const std::vector<std::unique_ptr<PoolService>>& pools, Clients& clients,
                     int socket, const Peer& peer, lib::Received& message,
                     std::uint64_t connected_ns);

}  // namespace zeropool::daemon
