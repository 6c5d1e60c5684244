#include "daemon/attach.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "daemon/death.hpp"
#include "daemon/drain.hpp"
#include "daemon/logging.hpp"
#include "zeropool/lib/control_plan.hpp"

namespace zeropool::daemon {
namespace {

using lib::ErrorCode;

std::string versions(const std::string& what, std::uint32_t theirs, std::uint32_t ours) {
  return "the client's libzeropool has " + what + " version " + std::to_string(theirs) +
         ", zeropoold has " + std::to_string(ours) +
         ": install zeropoold and libzeropool of the same version";
}

// By name; without one the only pool, or the one named "default".
PoolService* find_pool(const std::vector<std::unique_ptr<PoolService>>& pools,
                       const std::string& name) {
  if (name.empty() && pools.size() == 1) return pools.front().get();
  const std::string& wanted = name.empty() ? "default" : name;
  for (const auto& service : pools) {
    if (service->pool().memory->name() == wanted) return service.get();
  }
  return nullptr;
}

std::string no_such_pool(const std::vector<std::unique_ptr<PoolService>>& pools,
                         const std::string& name) {
  std::string known;
  for (const auto& service : pools) {
    known += (known.empty() ? "" : ", ") + service->pool().memory->name();
  }
  const std::string what = name.empty()
                               ? "no pool was named and none is named 'default'"
                               : "there is no pool '" + printable(name, lib::kPoolNameBytes) + "'";
  return what + "; there are: " + known;
}

}  // namespace

lib::AttachReply attach_refusal(ErrorCode code, const std::string& sentence) {
  auto reply = lib::make_message<lib::AttachReply>(lib::MessageType::kAttachReply);
  reply.code = code;
  lib::set_text(reply.sentence, sentence);
  return reply;
}

bool other_wire_version(const lib::Received& message, lib::AttachReply& reply) {
  lib::MessageHeader header;
  if (message.bytes.size() < sizeof(header)) return false;
  std::memcpy(&header, message.bytes.data(), sizeof(header));
  if (header.magic != lib::kWireMagic || header.version == lib::kWireVersion) return false;
  reply = attach_refusal(ErrorCode::version_mismatch,
                         versions("wire", header.version, lib::kWireVersion));
  return true;
}

AttachOutcome attach(const std::vector<std::unique_ptr<PoolService>>& pools, Clients& clients,
                     int socket, const Peer& peer, lib::Received& message,
                     std::uint64_t connected_ns) {
  AttachOutcome outcome;
  const auto refuse = [&](ErrorCode code, const std::string& sentence) {
    outcome.reply = attach_refusal(code, sentence);
    return std::move(outcome);
  };
  const auto* request = lib::decode<lib::AttachRequest>(message, lib::MessageType::kAttach);
  if (request == nullptr) {
    return refuse(ErrorCode::protocol, "the message is not a whole attach request");
  }
  if (request->layout_version != lib::kLayoutVersion) {
    return refuse(ErrorCode::version_mismatch,
                  versions("layout", request->layout_version, lib::kLayoutVersion));
  }
  if (request->layout_hash != lib::layout_hash()) {
    return refuse(ErrorCode::version_mismatch,
                  versions("layout", request->layout_version, lib::kLayoutVersion) +
                      " (the builds lay it out differently)");
  }
  const std::string pool_name(lib::text_of(request->pool_name));
  PoolService* service = find_pool(pools, pool_name);
  if (service == nullptr) return refuse(ErrorCode::no_such_pool, no_such_pool(pools, pool_name));
  PoolMemory& memory = *service->pool().memory;
  if (!service->access().allows(peer)) {
    return refuse(ErrorCode::access_denied, "user " + std::to_string(peer.uid) +
                                                " may not open pool '" + memory.name() +
                                                "': add the user or one of its groups to pools." +
                                                memory.name() + ".access, and reload");
  }
  if (service->pool().draining) return refuse(ErrorCode::draining, drain_refusal(memory.name()));
  std::string why;
  Peer attached = peer;
  lib::UniqueFd pidfd = (request->flags & lib::kAttachOwnPidfd) != 0
                            ? sent_pidfd(message.fds, attached.pid, why)
                            : peer_pidfd(socket, peer, message.fds, connected_ns, why);
  if (!pidfd) return refuse(ErrorCode::system, why);

  const std::string name = printable(lib::text_of(request->client_name), lib::kClientNameBytes - 1);
  ErrorCode code = ErrorCode::ok;
  AttachedClient* client =
      clients.admit(*service, attached, name, (request->flags & lib::kAttachDirectIo) != 0,
                    std::move(pidfd), code, why);
  if (client == nullptr) return refuse(code, why);

  outcome.reply = lib::make_message<lib::AttachReply>(lib::MessageType::kAttachReply);
  outcome.reply.client_id = outcome.client_id = client->id;
  outcome.reply.epoch = client->epoch;
  outcome.reply.client_number = client->record;
  outcome.reply.control_bytes = memory.plan().segment_bytes;
  const std::vector<std::uint64_t>& arenas = memory.plan().arena_bytes;
  outcome.reply.arena_count = static_cast<std::uint32_t>(arenas.size());
  outcome.wake = std::move(client->wake_theirs);
  outcome.fds = {memory.control_fd(), service->doorbell(), outcome.wake.get()};
  for (std::uint32_t arena = 0; arena < arenas.size(); ++arena) {
    outcome.reply.arena_bytes[arena] = arenas[arena];
    outcome.fds.push_back(memory.data_fd(arena));
  }
  return outcome;
}

}  // namespace zeropool::daemon
