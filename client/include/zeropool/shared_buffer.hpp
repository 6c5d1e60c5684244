#pragma once
// SharedBuffer: a buffer that several processes read at once. Each SharedBuffer is a hold of its own; the last one to go,
// in whatever process, gives the buffer back.
//
// Read-only by its type: data() is const. The memory is mapped writable as that of any buffer of the pool, so a const_cast
// is not stopped.
// Thread safety: as a shared_ptr: one SharedBuffer is one thread's at a time, copies of it are independent.
// Errors: an empty SharedBuffer carries its error's code; the sentence is the calling thread's last one.

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include <zeropool.h>
#include <zeropool/error.hpp>
#include <zeropool/handle.hpp>

namespace zeropool {
inline namespace v1 {

class Buffer;
class Pool;

// A hold of a shared buffer, or empty. A copy is a hold of its own.
class SharedBuffer {
 public:
  SharedBuffer() noexcept = default;
  // The other one is empty afterwards.
  SharedBuffer(SharedBuffer&& other) noexcept
      : raw_(std::exchange(other.raw_, zp_shared{})), code_(other.code_) {}
  // Another hold of this process. Empty where the other is, or was inherited by fork.
  SharedBuffer(const SharedBuffer& other) noexcept : code_(other.code_) {
    if (other) code_ = static_cast<ErrorCode>(zp_shared_copy(&other.raw_, &raw_));
  }
  // Gives up what it held before.
  SharedBuffer& operator=(SharedBuffer other) noexcept {
    std::swap(raw_, other.raw_);
    code_ = other.code_;
    return *this;
  }
  ~SharedBuffer() { reset(); }

  // False: empty; error() says why, if a call made it so.
  explicit operator bool() const noexcept { return raw_.data != nullptr; }
  // The first byte, to be read only; null when empty.
  const std::byte* data() const noexcept { return static_cast<const std::byte*>(raw_.data); }
  std::size_t size() const noexcept {
    return raw_.size;
  }  // bytes, as of the Buffer that was shared
  // All bytes.
  std::span<const std::byte> span() const noexcept { return {data(), size()}; }
  // The start of the buffer as a T. Null when it is empty or smaller than a T.
  template <typename T>
  const T* as() const noexcept {
    static_assert(std::is_trivially_copyable_v<T>, "as<T>() is for plain bytes");
    return *this && size() >= sizeof(T) ? reinterpret_cast<const T*>(data()) : nullptr;
  }
  // NUMA node of its memory.
  std::uint32_t node() const noexcept {
    const zp_buffer raw{const_cast<void*>(raw_.data), raw_.pool, raw_.word, raw_.slot, raw_.size};
    return zp_node(&raw);
  }

  // Good for so many Pool::adopt_shared(), in whatever processes, until the pool's handoff.lease is over; this
  // SharedBuffer may end before. All handles of one shared buffer are alike: what counts is their sum. An invalid Handle
  // for 0, and for an empty SharedBuffer.
  Handle handle(std::uint32_t adoptions = 1) const noexcept {
    Handle handle;
    zp_share_handle(&raw_, adoptions, &handle.raw);
    return handle;
  }
  // The Buffer again, to be written, where this is the only hold and no handle is out. Else an empty Buffer
  // (still_shared), and nothing has changed.
  Buffer to_buffer() && noexcept;
  // Gives the hold up now.
  void reset() noexcept { zp_shared_put(&raw_); }

  // Why it is empty; ok when it is not, or was default-made or moved from.
  ErrorCode error_code() const noexcept { return *this ? ErrorCode::ok : code_; }
  // Why it is empty: code and sentence.
  Error error() const {
    const ErrorCode code = error_code();
    if (code == ErrorCode::ok) return {};
    const bool fresh = zp_last_error_code() == static_cast<int>(code);
    return Error{code, fresh ? zp_last_error() : zp_strerror(static_cast<int>(code))};
  }

 private:
  friend class Buffer;
  friend class Pool;
  zp_shared raw_{};
  ErrorCode code_ = ErrorCode::ok;
};

}  // namespace v1
}  // namespace zeropool
