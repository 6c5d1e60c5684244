#pragma once
// Whether a daemon is there, and the way back to one that has taken the pool up.
//
// Thread safety: any thread that has the attachment; one at a time tries to connect.
// The connection carries nothing but attach and detach: while it is broken, caches and rings go on, and orders wait
// in their cells for the next daemon.

#include <cstdint>

#include "attachment.hpp"

namespace zeropool::client {

// Of the connection's end: so long a restart may take before gets that need the daemon fail with no_daemon.
inline constexpr std::int64_t kDaemonGraceNs = 2'000'000'000;

// Looks at the connection; where it has ended and a new daemon serves the pool, connects again (bounded: a second).
// True: there has been no daemon for the grace.
bool daemon_is_gone(Attachment& attachment, std::int64_t now_ns) noexcept;

}  // namespace zeropool::client
