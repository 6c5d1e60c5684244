#pragma once
// What `zeropoolctl doctor` asks the daemon: what it would have of the machine, and what it got.
//
// Thread safety: the loop thread's.

#include <nlohmann/json.hpp>

namespace zeropool::daemon {

class Daemon;

nlohmann::json doctor_document(Daemon& daemon);

}  // namespace zeropool::daemon
