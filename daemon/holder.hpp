#pragma once
// The holder: a process that keeps the daemon's descriptors while no daemon runs, where there is no systemd.
//
// It maps nothing, owns nothing but descriptors, and answers only its own user. One daemon at a time is connected;
// its messages are read in the order in which they were sent, also after its death.
// It ends when the daemon says so; and, while no daemon is connected, when its socket is removed, or when no
// client has lived for a minute.
//
// Thread safety: none needed; a process of its own, with one thread.

#include <cstdint>
#include <string>

#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

inline constexpr std::uint32_t kHolderMagic = 0x484c5a50U;
inline constexpr std::uint32_t kHolderVersion = 1;

enum class HolderOp : std::uint32_t {
  kKeep = 1,  // with one descriptor
  kForget = 2,
  kTake = 3,  // answered by kItem with a descriptor, each, then kDone
  kEnd = 4,
  kItem = 5,
  kDone = 6,
};

// One packet.
struct HolderMessage {
  std::uint32_t magic = kHolderMagic;
  std::uint32_t version = kHolderVersion;
  HolderOp op = HolderOp::kTake;
  char name[52] = {};
};
static_assert(sizeof(HolderMessage) == 64);

// Starts one in a process of its own that listens at `path` (mode 0600). Empty string: it runs.
// To be called while the process has one thread.
std::string start_holder(const std::string& path);

}  // namespace zeropool::daemon
