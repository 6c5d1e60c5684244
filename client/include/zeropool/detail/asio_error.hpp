#pragma once
// ErrorCode as a boost::system::error_code, for zeropool/asio.hpp.
//
// A get that was cancelled ends with boost::asio::error::operation_aborted, as every other operation of Asio does; all else
// with the ErrorCode, in error_category().

#include <cstddef>
#include <string>
#include <type_traits>

#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

#include <zeropool/error.hpp>

namespace zeropool {
inline namespace v1 {

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"  // Boost's base has none
class ErrorCategory final : public boost::system::error_category {
 public:
  const char* name() const noexcept override { return "zeropool"; }
  std::string message(int code) const override { return message(code, nullptr, 0); }
  const char* message(int code, char*, std::size_t) const noexcept override {
    return lib::error_name(static_cast<ErrorCode>(code));
  }
  boost::system::error_condition default_error_condition(int code) const noexcept override {
    namespace errc = boost::system::errc;
    switch (static_cast<ErrorCode>(code)) {
      case ErrorCode::timed_out: return errc::make_error_condition(errc::timed_out);
      case ErrorCode::cancelled: return errc::make_error_condition(errc::operation_canceled);
      case ErrorCode::budget_exhausted:
      case ErrorCode::quota_exceeded: return errc::make_error_condition(errc::not_enough_memory);
      case ErrorCode::access_denied: return errc::make_error_condition(errc::permission_denied);
      case ErrorCode::too_large:
      case ErrorCode::invalid_size:
      case ErrorCode::invalid_argument: return errc::make_error_condition(errc::invalid_argument);
      default: return {code, *this};
    }
  }
};
#pragma GCC diagnostic pop

inline const boost::system::error_category& error_category() noexcept {
  static const ErrorCategory the_category;
  return the_category;
}

namespace lib {
// Found by the argument: ErrorCode is lib's.
inline boost::system::error_code make_error_code(ErrorCode code) noexcept {
  return {static_cast<int>(code), error_category()};
}
}  // namespace lib

namespace detail {
inline boost::system::error_code asio_error(int code) noexcept {
  if (code == 0) return {};
  if (code == static_cast<int>(ErrorCode::cancelled)) return boost::asio::error::operation_aborted;
  return lib::make_error_code(static_cast<ErrorCode>(code));
}
}  // namespace detail

}  // namespace v1
}  // namespace zeropool

template <>
struct boost::system::is_error_code_enum<zeropool::ErrorCode> : std::true_type {};
