#pragma once
// The clients of all pools: admitted, watched by their pidfds, and reclaimed when they are gone.
//
// Thread safety: the loop thread's.
// Invariants:
//   N1  Every client has an entry in the ledger from before its attach is answered until no word names it.
//   N2  A client is reclaimed only when its process has ended, when it has detached, when its socket is closed and its
//       process has the pool's memory mapped no more, or when it and the daemon agree that its attach never came to its
//       end (client_record.hpp, presence).
//       Once its reclaim has begun, the ledger says so: a daemon that is killed in it is followed by one that ends it,
//       whether the process lives or not.
//   N3  Its descriptors are kept from before its entry is in the ledger until it is reclaimed (F1).

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "daemon/access.hpp"
#include "daemon/descriptor_store.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/ledger.hpp"
#include "daemon/pool_service.hpp"
#include "zeropool/lib/error_code.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

struct AttachedClient {
  PoolService* service = nullptr;
  std::uint32_t id = 0;
  std::uint32_t epoch = 0;
  std::uint32_t record = 0;
  pid_t pid = 0;
  std::string name;        // fit to print
  bool direct_io = false;  // its slots are quarantined after it
  lib::UniqueFd pidfd;
  lib::UniqueFd wake;  // our end of a pair of sockets: what it does to its own cannot make us block
  lib::UniqueFd wake_theirs;  // until it has been sent
};

class Clients {
 public:
  // `gone` is called with the id of a client whose process has ended, after it was reclaimed.
  Clients(EventLoop& loop, Ledger& ledger, DescriptorStore& store, std::uint32_t limit,
          std::function<void(std::uint32_t)> gone);
  ~Clients();
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  // Null: `code` and `why`.
  AttachedClient* admit(PoolService& service, const Peer& peer, const std::string& name,
                        bool direct_io, lib::UniqueFd pidfd, lib::ErrorCode& code,
                        std::string& why);
  // A client of the daemon before, with what the store kept of it. Reclaimed at once when its process has ended.
  void restore(PoolService& service, const LedgerClient& entry, lib::UniqueFd pidfd,
               lib::UniqueFd wake);
  // All of this pool were restored.
  void restored(PoolService& service);
  // Whether the peer is the client that it says it is: then it has a connection again.
  bool reattach(std::uint32_t id, std::uint32_t epoch, const Peer& peer);
  // It has said that it is done.
  void detach(std::uint32_t id);
  // Its socket is closed: dead, or only suspect.
  void hung_up(std::uint32_t id);
  // Frees the ids of gone clients that no mark of this pool names any more.
  void leases_swept(const PoolService& service);

  // The ids of gone clients that marks of this pool may still name.
  void add_departed(const Pool& pool, ClientIds& ids) const;

  int wake_fd(std::uint32_t id) const;
  // Attached, and its process has not ended.
  bool lives(std::uint32_t id) const;
  std::size_t count() const { return clients_.size(); }

 private:
  void reclaim(std::uint32_t id, const char* how, bool died = true);
  void settle_if_deserted(PoolService& service);
  bool confirm_gone(std::uint32_t id);
  void look_at_suspects();
  void mark_suspect(const AttachedClient& client);
  bool watch(const AttachedClient& client);
  void watch_suspects(std::chrono::nanoseconds wait);

  EventLoop& loop_;
  Ledger& ledger_;
  DescriptorStore& store_;
  const std::uint32_t limit_;
  std::function<void(std::uint32_t)> gone_;
  std::unordered_map<std::uint32_t, AttachedClient> clients_;
  std::unordered_map<std::uint32_t, const PoolService*> departed_;  // ids that marks may still name
  bool restoring_ = false;  // clients are missing in their pools still
  std::unordered_set<std::uint32_t> suspects_;
  std::unordered_set<std::uint32_t> untold_;  // those that hung up, before the second look at them
  EventLoop::TimerId suspect_timer_ = 0;
  std::chrono::nanoseconds suspect_wait_{};
};

}  // namespace zeropool::daemon
