// Addresses that a server listens on: 127.0.0.1:9977, [::1]:9977, box.example:9977.
#pragma once

#include <string>
#include <string_view>

namespace zeropool::daemon {

// What is wrong with `address` as host:port or [IPv6]:port; empty when nothing is. Looks nothing
// up.
std::string listen_address_fault(std::string_view address);

}  // namespace zeropool::daemon
