#pragma once
// Why something failed, in a number that travels (C ABI, order cells, attach replies) and a sentence.

#include <cstdint>

namespace zeropool::inline v1::lib {

// Values are part of the C ABI: never renumber.
enum class ErrorCode : std::uint32_t {
  ok = 0,
  budget_exhausted = 1,
  quota_exceeded = 2,
  too_large = 3,
  invalid_size = 4,
  timed_out = 5,
  would_wait = 6,
  stale_handle = 7,
  not_held = 8,
  no_daemon = 9,
  access_denied = 10,
  version_mismatch = 11,
  no_such_pool = 12,
  too_many_clients = 13,
  too_many_orders = 14,
  protocol = 15,  // the other side sent something that it should not have
  system = 16,    // a system call failed; the sentence names it
  invalid_argument = 17,
  stopping = 18,
  wrong_process = 19,  // a Buffer inherited by fork
  too_many_pins = 20,
  wrong_type = 21,   // a handle of another type, or of plain bytes; it stays good
  pending = 22,      // an async get that waits: it ends in zp_poll()
  cancelled = 23,    // by its stop, or its pool was closed
  not_pending = 24,  // an async get that does not wait (any more)
  too_many_shares = 25,
  too_many_holders = 26,
  still_shared = 27,
  draining = 28,  // of an attach: the operator takes the pool out of service
};

// snake_case name, as in messages and metrics.
constexpr const char* error_name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::ok: return "ok";
    case ErrorCode::budget_exhausted: return "budget_exhausted";
    case ErrorCode::quota_exceeded: return "quota_exceeded";
    case ErrorCode::too_large: return "too_large";
    case ErrorCode::invalid_size: return "invalid_size";
    case ErrorCode::timed_out: return "timed_out";
    case ErrorCode::would_wait: return "would_wait";
    case ErrorCode::stale_handle: return "stale_handle";
    case ErrorCode::not_held: return "not_held";
    case ErrorCode::no_daemon: return "no_daemon";
    case ErrorCode::access_denied: return "access_denied";
    case ErrorCode::version_mismatch: return "version_mismatch";
    case ErrorCode::no_such_pool: return "no_such_pool";
    case ErrorCode::too_many_clients: return "too_many_clients";
    case ErrorCode::too_many_orders: return "too_many_orders";
    case ErrorCode::protocol: return "protocol";
    case ErrorCode::system: return "system";
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::stopping: return "stopping";
    case ErrorCode::wrong_process: return "wrong_process";
    case ErrorCode::too_many_pins: return "too_many_pins";
    case ErrorCode::wrong_type: return "wrong_type";
    case ErrorCode::pending: return "pending";
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::not_pending: return "not_pending";
    case ErrorCode::too_many_shares: return "too_many_shares";
    case ErrorCode::too_many_holders: return "too_many_holders";
    case ErrorCode::still_shared: return "still_shared";
    case ErrorCode::draining: return "draining";
  }
  return "unknown";
}

}  // namespace zeropool::v1::lib
