#pragma once
// What the coordinator and its children say to each other, one message a packet on a SOCK_SEQPACKET pair.
//
//   child → coordinator   kHello, kJobsEnded (reader), kDigests (hasher), kFinal, kFailure
//   coordinator → child   kChannel (with a descriptor), kJobs (reader), kFinish
//
// All of it is between processes of one program on one machine: plain structs in memory order.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <type_traits>
#include <vector>

#include "pipeline/unique_fd.hpp"

namespace pipeline {

inline constexpr std::size_t kMaxMessageBytes = 32 * 1024;
inline constexpr std::size_t kMaxChunkBytes = 1024 * 1024;

enum class MessageType : std::uint32_t {
  kHello = 1,  // HelloBody: attached, ready for channels and jobs
  kChannel,    // ChannelBody and a descriptor: a link between one reader and one hasher
  kJobs,       // JobsBody, then {JobEntry, path} each
  kJobsEnded,  // JobEndEntry each: the reader is through with a whole kJobs
  kDigests,    // DigestEntry each
  kFinish,     // no more will come: send kFinal and exit
  kFinal,      // FinalBody
  kFailure,    // text: why this child gives up
};

struct MessageHead {
  MessageType type{};
  std::uint32_t count = 0;  // of entries
};

struct HelloBody {
  std::uint32_t client_id = 0;  // in the pool; 0 in pipes mode
};

// A hasher's incarnation grows by one with each replacement, so that jobs for a dead one are told apart.
struct ChannelBody {
  std::uint32_t peer = 0;  // the reader's or hasher's number
  std::uint32_t incarnation = 0;
  std::uint32_t client_id = 0;  // of the hasher: what its buffers are tied to
};

struct JobsBody {
  std::uint32_t hasher = 0;
  std::uint32_t incarnation = 0;
};

struct JobEntry {
  std::uint32_t file = 0;
  std::uint32_t path_bytes = 0;
};

enum class JobOutcome : std::uint32_t {
  kSent,        // all of it is with the hasher
  kUnreadable,  // `error` says why; the hasher knows nothing of it, or was told to forget it
  kHasherGone,  // to be done again with another one
};

struct JobEndEntry {
  std::uint32_t file = 0;
  JobOutcome outcome{};
  std::uint64_t bytes = 0;
  std::int32_t error = 0;
  std::uint32_t reserved = 0;
};

using Digest = std::array<std::uint8_t, 32>;

struct DigestEntry {
  std::uint32_t file = 0;
  std::uint32_t reserved = 0;
  std::uint64_t bytes = 0;
  Digest digest{};
};

struct FinalBody {
  std::uint64_t gets = 0;
  std::uint64_t tls_hits = 0;
  std::uint64_t shared_hits = 0;
  std::uint64_t allocations = 0;
  std::uint64_t released = 0;
  std::uint64_t adopted = 0;
};

// What travels from a reader to a hasher before, or instead of, the bytes themselves.
struct ChunkHead {
  std::uint32_t file = 0;
  std::uint32_t length = 0;
  std::uint64_t offset = 0;
  std::uint32_t flags = 0;
  std::uint32_t reserved = 0;
};
inline constexpr std::uint32_t kLastChunk = 1;
inline constexpr std::uint32_t kForgetFile = 2;  // it turned out unreadable half-way

// A message under construction.
class Message {
 public:
  explicit Message(MessageType type) { add(MessageHead{type, 0}); }
  template <typename T>
  void add(const T& part) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto bytes = std::as_bytes(std::span(&part, 1));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void add_text(std::string_view text);
  void count_entry() { ++head()->count; }
  std::uint32_t count() const { return reinterpret_cast<const MessageHead*>(bytes_.data())->count; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  MessageHead* head() { return reinterpret_cast<MessageHead*>(bytes_.data()); }
  std::vector<std::byte> bytes_;
};

// A message that came, taken apart from front to back. Throws std::runtime_error where there is less than asked.
class MessageView {
 public:
  explicit MessageView(std::span<const std::byte> bytes) : rest_(bytes) {
    head_ = take<MessageHead>();
  }
  MessageType type() const { return head_.type; }
  std::uint32_t count() const { return head_.count; }
  template <typename T>
  T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T part;
    const std::span<const std::byte> bytes = take_bytes(sizeof(T));
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(&part));
    return part;
  }
  std::string take_text(std::size_t bytes);
  std::string rest_text() { return take_text(rest_.size()); }

 private:
  std::span<const std::byte> take_bytes(std::size_t bytes) {
    if (bytes > rest_.size()) throw std::runtime_error("a message is cut short");
    const auto front = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return front;
  }
  MessageHead head_;
  std::span<const std::byte> rest_;
};

}  // namespace pipeline
