#pragma once
// Requests of zeropoolctl: who may ask what, and how the answer travels.
//
// Thread safety: the loop thread's.

#include "daemon/access.hpp"
#include "zeropool/lib/wire.hpp"

namespace zeropool::daemon {

class Daemon;

// Answers on `socket`: the document in a sealed memfd, or why not. False: the answer could not be sent.
bool answer_admin_request(Daemon& daemon, int socket, const Peer& peer,
                          const lib::AdminRequest& request);

}  // namespace zeropool::daemon
