#pragma once
// Handle: 16 plain bytes that name a buffer on its way to another process.

#include <type_traits>

#include <zeropool.h>

namespace zeropool {
inline namespace v1 {

// Names one hand-off. 16 plain bytes, to be sent by any means.
struct Handle {
  // As the C calls have it.
  zp_handle raw{};

  // False: release() failed, or it was never set.
  explicit operator bool() const noexcept { return raw.word[0] != 0; }
  friend bool operator==(const Handle& a, const Handle& b) noexcept {
    return a.raw.word[0] == b.raw.word[0] && a.raw.word[1] == b.raw.word[1];
  }
};

static_assert(sizeof(Handle) == 16 && std::is_trivially_copyable_v<Handle>);

}  // namespace v1
}  // namespace zeropool
