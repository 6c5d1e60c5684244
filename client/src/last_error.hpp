#pragma once
// The calling thread's last failure: a code, and a sentence for a person.
//
// Thread safety: each thread has its own.

#include <string>

#include <zeropool/lib/error_code.hpp>

namespace zeropool::client {

using lib::ErrorCode;

// Keeps the failure and returns its code as an int of the C ABI.
int fail(ErrorCode code, const std::string& sentence) noexcept;

}  // namespace zeropool::client
