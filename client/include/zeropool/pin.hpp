#pragma once
// Pin: the pages of a buffer stay where they are, whoever has the buffer, for as long as the Pin lives.
//
// Thread safety: as a unique_ptr.
// Errors: an empty Pin carries its error's code; the sentence is the calling thread's last one.

#include <cstdint>
#include <utility>

#include <zeropool.h>
#include <zeropool/error.hpp>

namespace zeropool {
inline namespace v1 {

// A pin of the pages of a buffer, or empty. Move-only.
class Pin {
 public:
  Pin() noexcept = default;
  // The other one is empty afterwards.
  Pin(Pin&& other) noexcept
      : token_(std::exchange(other.token_, zp_pin_token{})), code_(other.code_) {}
  // Lets go of the pages that it kept before.
  Pin& operator=(Pin&& other) noexcept {
    if (this != &other) {
      zp_unpin(&token_);
      token_ = std::exchange(other.token_, zp_pin_token{});
      code_ = other.code_;
    }
    return *this;
  }
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;
  ~Pin() { zp_unpin(&token_); }

  // False: nothing is pinned; error() says why.
  explicit operator bool() const noexcept { return token_.pool != nullptr; }
  // Lets the pages go now.
  void reset() noexcept { zp_unpin(&token_); }
  // Why it is empty; ok when it is not, or was default-made or moved from.
  ErrorCode error_code() const noexcept { return code_; }
  // Why nothing is pinned: code and sentence.
  Error error() const {
    if (code_ == ErrorCode::ok) return {};
    const bool fresh = zp_last_error_code() == static_cast<int>(code_);
    return Error{code_, fresh ? zp_last_error() : zp_strerror(static_cast<int>(code_))};
  }

 private:
  friend class Pool;
  zp_pin_token token_{};
  ErrorCode code_ = ErrorCode::ok;
};

}  // namespace v1
}  // namespace zeropool
