#pragma once
// Buffer: one slot of a pool, held by this process, that puts itself back.
//
// Thread safety: as a unique_ptr: one thread at a time; it may be made in one and put in another.
// Errors: an empty Buffer carries its error's code; the sentence is the calling thread's last one.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include <zeropool/detail/pool_state.hpp>
#include <zeropool/error.hpp>
#include <zeropool/handle.hpp>
#include <zeropool/shared_buffer.hpp>

namespace zeropool {
inline namespace v1 {

class Pool;

// A held slot, or empty. Move-only, 32 bytes.
class Buffer {
 public:
  Buffer() noexcept = default;
  // The other one is empty afterwards.
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        pool_(std::exchange(other.pool_, nullptr)),
        word_(std::exchange(other.word_, 0)),
        slot_(std::exchange(other.slot_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  // Puts what it held before.
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      reset();
      data_ = std::exchange(other.data_, nullptr);
      pool_ = std::exchange(other.pool_, nullptr);
      word_ = std::exchange(other.word_, 0);
      slot_ = std::exchange(other.slot_, 0);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  [[gnu::always_inline]] ~Buffer() {
    if (data_ != nullptr) put(pool_, word_, slot_);
  }

  // False: empty; error() says why, if a get or an adopt made it so.
  explicit operator bool() const noexcept { return data_ != nullptr; }
  // The first byte; null when empty.
  std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }  // bytes asked for
  std::size_t capacity() const noexcept {              // bytes there are: the class
    const zp_buffer raw = view();
    return zp_capacity(&raw);
  }
  // All bytes asked for.
  std::span<std::byte> span() const noexcept { return {data_, size_}; }
  // The start of the buffer as a T. Null when it is empty or smaller than a T.
  template <typename T>
  T* as() const noexcept {
    static_assert(std::is_trivially_copyable_v<T>, "as<T>() is for plain bytes");
    return data_ != nullptr && size_ >= sizeof(T) ? reinterpret_cast<T*>(data_) : nullptr;
  }
  // NUMA node of its memory.
  std::uint32_t node() const noexcept {
    const zp_buffer raw = view();
    return zp_node(&raw);
  }
  // Another size within the capacity. False, and nothing changed, beyond it, for 0, and for an empty Buffer.
  bool resize(std::size_t bytes) noexcept {
    zp_buffer raw = view();
    if (zp_resize(&raw, bytes) != 0) return false;
    size_ = raw.size;
    return true;
  }
  // Puts it back now.
  void reset() noexcept {
    if (data_ != nullptr) put(pool_, word_, slot_);
    data_ = nullptr;
    pool_ = nullptr;
    word_ = 0;
    size_ = 0;
  }
  // Gives it up for another process. `receiver` (a Pool::client_id()) ties it to that client's life; 0 does not.
  // An invalid Handle, and an unchanged Buffer, if this process does not hold it.
  Handle release(std::uint32_t receiver = 0) && noexcept {
    zp_buffer raw = view();
    Handle handle;
    if (zp_release(&raw, receiver, &handle.raw) != 0) return Handle{};
    data_ = nullptr;
    pool_ = nullptr;
    word_ = 0;
    size_ = 0;
    return handle;
  }
  // Makes it read-only, to be held by several processes at once. An empty SharedBuffer, and an unchanged Buffer, if it
  // cannot be.
  SharedBuffer share() && noexcept {
    SharedBuffer shared;
    zp_buffer raw = view();
    shared.code_ = static_cast<ErrorCode>(zp_share(&raw, &shared.raw_));
    if (!shared) return shared;
    data_ = nullptr;
    pool_ = nullptr;
    word_ = 0;
    size_ = 0;
    return shared;
  }
  // Why it is empty; ok when it is not, or was default-made or moved from.
  ErrorCode error_code() const noexcept {
    return data_ != nullptr ? ErrorCode::ok : static_cast<ErrorCode>(word_);
  }
  // Code and sentence; the sentence is of the calling thread's last failure, where that had this code.
  Error error() const {
    const ErrorCode code = error_code();
    if (code == ErrorCode::ok) return {};
    const bool fresh = zp_last_error_code() == static_cast<int>(code);
    return Error{code, fresh ? zp_last_error() : zp_strerror(static_cast<int>(code))};
  }

  // This process has it by fork only: it is the parent's, and its memory is not mapped here.
  bool inherited() const noexcept {
    if (data_ == nullptr) return false;
    const detail::ThreadCache* cache =
        zp_v1_thread->caches[detail::state_of(pool_)->index].load(std::memory_order_relaxed);
    if (cache != nullptr &&
        (word_ & lib::Mark::kHolderMask) == cache->rings[detail::ring_of(word_)].tag) {
      return false;
    }
    const zp_buffer raw = view();
    return zp_inherited(&raw) != 0;
  }

  // To and from the C surface.
  zp_buffer release_to_c() && noexcept {
    const zp_buffer raw = view();
    data_ = nullptr;
    word_ = 0;
    return raw;
  }
  // Takes over what C calls got.
  static Buffer from_c(const zp_buffer& raw) noexcept {
    return Buffer(static_cast<std::byte*>(raw.data), raw.pool, raw.word, raw.slot, raw.size);
  }

 private:
  friend class Pool;
  friend class AsyncGet;
  friend class SharedBuffer;
  Buffer(std::byte* data, zp_pool* pool, std::uint64_t word, std::uint32_t slot,
         std::uint32_t size) noexcept
      : data_(data), pool_(pool), word_(word), slot_(slot), size_(size) {}
  static Buffer failed(std::uint64_t code) noexcept { return Buffer(nullptr, nullptr, code, 0, 0); }

  zp_buffer view() const noexcept { return zp_buffer{data_, pool_, word_, slot_, size_}; }

  // By value and inlined: so a Buffer whose life is one scope stays in registers.
  [[gnu::always_inline]] static void put(zp_pool* pool, std::uint64_t word,
                                         std::uint32_t slot) noexcept {
    detail::ThreadCache* cache =
        zp_v1_thread->caches[detail::state_of(pool)->index].load(std::memory_order_relaxed);
    if (cache != nullptr) [[likely]] {
      detail::RingCache& ring = cache->rings[detail::ring_of(word)];
      // The low bits are {ring, incarnation}: a Buffer inherited by fork must not match a slot of the child's own.
      const lib::Mark generation = lib::generation_if(word, ring.tag);
      if (lib::is_generation(generation)) [[likely]] {
        if (lib::put_hit(*cache, ring, slot, generation)) [[likely]]
          return;
      }
    }
    zp_v1_put_slow(pool, word, slot);
  }

  std::byte* data_ = nullptr;
  zp_pool* pool_ = nullptr;
  std::uint64_t word_ = 0;
  std::uint32_t slot_ = 0;
  std::uint32_t size_ = 0;
};

static_assert(sizeof(Buffer) == 32);

inline Buffer SharedBuffer::to_buffer() && noexcept {
  zp_buffer raw{};
  const int code = zp_unshare(&raw_, &raw);
  return code == 0 ? Buffer::from_c(raw) : Buffer::failed(static_cast<std::uint64_t>(code));
}

}  // namespace v1
}  // namespace zeropool
