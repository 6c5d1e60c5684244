#pragma once
// What is taken out of a peer's connection by the loop, and how the connection is closed: so that no descriptor of a peer's
// choosing is ever let go of by the loop, whose close could hang for as long as the peer likes.
//
// The kernel lets go of descriptors in three ways: when one that was received is closed, when a message is received whose
// descriptors have no room, and when a socket is closed with messages unread. So a message is looked at first (MSG_PEEK
// takes nothing out): one with descriptors is received only when it brings a single one, and that a pidfd, of which a
// close cannot hang. Any other stays where it is, and goes with the connection, by the Closer.
//
// Thread safety: functions without state of their own; the loop thread's.

#include "daemon/closer.hpp"
#include "zeropool/lib/unique_fd.hpp"
#include "zeropool/lib/wire.hpp"

namespace zeropool::daemon {

// The next message, without waiting. kBroken without an error: the message is not fit to be received, and still there.
lib::Received receive_from_peer(int socket, bool pidfd_may_come, Closer& closer);

// From now on the kernel refuses the peer's descriptors when it sends them (Linux 6.16 and later; nothing where it cannot).
void refuse_descriptors(int socket) noexcept;

// The peer is told of the end at once. Closed here when nothing in its queue brings descriptors, else by the Closer.
void hang_up(lib::UniqueFd socket, Closer& closer);

}  // namespace zeropool::daemon
