#pragma once
// Where descriptors outlive the daemon: systemd's descriptor store, or a small holder process of our own.
//
// Thread safety: the loop thread's.
// Names: "ledger"; of each pool "control-P", "data-P-ARENA", "doorbell-P" (P: its index in the ledger); of each
// client "pidfd-ID" and "wake-ID"; "listener" while one daemon hands over to the next.
// Invariants:
//   F1  What the ledger names is kept before the ledger names it, and forgotten after it does no more: whatever a
//       kill leaves, a later daemon finds a descriptor too many and never one too few.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

using KeptDescriptors = std::map<std::string, lib::UniqueFd>;

class DescriptorStore {
 public:
  virtual ~DescriptorStore() = default;

  // What a daemon before this one left. Once, before the first keep().
  virtual KeptDescriptors take() = 0;
  // `fd` stays the caller's. A name that is kept already gets the new one.
  virtual void keep(const std::string& name, int fd) = 0;
  virtual void forget(const std::string& name) = 0;
  // Gives everything up: the daemon stops for good.
  virtual void end() = 0;
  // Whether somebody else knows if a daemon that is told to stop is followed by another one (systemctl restart), and
  // gives everything up if it is not (systemctl stop). Then no daemon gives up anything itself.
  virtual bool outlives_a_stop() const { return false; }
  // Becomes readable when the store needs renew(); -1: never.
  virtual int fd() const { return -1; }
  virtual void renew() {}
  virtual std::string describe() const = 0;
};

// Whether a descriptor that came under this name is of systemd's store, as ours are named there.
bool is_kept_name(const std::string& name);

std::string control_name(std::uint32_t pool);
std::string data_name(std::uint32_t pool, std::uint32_t arena);
std::string doorbell_name(std::uint32_t pool);
std::string pidfd_name(std::uint32_t client);
std::string wake_name(std::uint32_t client);

// systemd's where it offers one ($FDSTORE), else a holder at `socket_path` + ".holder". Null: `why`.
std::unique_ptr<DescriptorStore> open_descriptor_store(const std::string& socket_path,
                                                       std::string& why);

}  // namespace zeropool::daemon
