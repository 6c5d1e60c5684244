#pragma once
// Why something failed, in a number that travels (C ABI, order cells, attach replies) and a sentence.

#include <cstdint>

namespace zeropool::inline v1::lib {

// Values are part of the C ABI: never renumber.
enum class ErrorCode : std::uint32_t {
  kOk = 0,
  kBudgetExhausted = 1,
  kQuotaExceeded = 2,
  kTooLarge = 3,
  kInvalidSize = 4,
  kTimedOut = 5,
  kWouldWait = 6,
  kStaleHandle = 7,
  kNotHeld = 8,
  kNoDaemon = 9,
  kAccessDenied = 10,
  kVersionMismatch = 11,
  kNoSuchPool = 12,
  kTooManyClients = 13,
  kTooManyOrders = 14,
  kProtocol = 15,  // the other side sent something that it should not have
  kSystem = 16,    // a system call failed; the sentence names it
  kInvalidArgument = 17,
  kStopping = 18,
  kWrongProcess = 19,  // a Buffer inherited by fork
};

// snake_case name, as in messages and metrics.
constexpr const char* error_name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kOk: return "ok";
    case ErrorCode::kBudgetExhausted: return "budget_exhausted";
    case ErrorCode::kQuotaExceeded: return "quota_exceeded";
    case ErrorCode::kTooLarge: return "too_large";
    case ErrorCode::kInvalidSize: return "invalid_size";
    case ErrorCode::kTimedOut: return "timed_out";
    case ErrorCode::kWouldWait: return "would_wait";
    case ErrorCode::kStaleHandle: return "stale_handle";
    case ErrorCode::kNotHeld: return "not_held";
    case ErrorCode::kNoDaemon: return "no_daemon";
    case ErrorCode::kAccessDenied: return "access_denied";
    case ErrorCode::kVersionMismatch: return "version_mismatch";
    case ErrorCode::kNoSuchPool: return "no_such_pool";
    case ErrorCode::kTooManyClients: return "too_many_clients";
    case ErrorCode::kTooManyOrders: return "too_many_orders";
    case ErrorCode::kProtocol: return "protocol";
    case ErrorCode::kSystem: return "system";
    case ErrorCode::kInvalidArgument: return "invalid_argument";
    case ErrorCode::kStopping: return "stopping";
    case ErrorCode::kWrongProcess: return "wrong_process";
  }
  return "unknown";
}

}  // namespace zeropool::inline v1::lib
