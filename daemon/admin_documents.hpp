#pragma once
// What the daemon answers to zeropoolctl: one JSON document a command.
//
// Thread safety: the loop thread's. An audit looks at every slot: it stops nobody's gets and puts,
// but orders wait while it runs.

#include <string>

#include "zeropool/lib/error_code.hpp"

namespace zeropool::daemon {

class Daemon;

// The document, with `code` kOk; or nothing, with `code` and a `sentence` that says what to do.
// `argument` is a pool's name for trim and audit, empty for all of them; a query for holders (hold_document.hpp).
std::string admin_reply_document(Daemon& daemon, const std::string& command,
                                 const std::string& argument, lib::ErrorCode& code,
                                 std::string& sentence);

}  // namespace zeropool::daemon
