#pragma once
// Messages on the control socket (SOCK_SEQPACKET): attach, detach, administer. One message a packet.
//
// Trust: nothing in a message is believed before `decode_*` has checked it; a text field may lack its
// terminating zero.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <zeropool/lib/error_code.hpp>
#include <zeropool/lib/layout_constants.hpp>
#include <zeropool/lib/unique_fd.hpp>

namespace zeropool::inline v1::lib {

inline constexpr std::uint32_t kWireMagic = 0x5a50574dU;  // "MWPZ"
inline constexpr std::uint32_t kWireVersion = 1;
inline constexpr std::size_t kMaxMessageBytes = 4096;
inline constexpr std::size_t kMaxMessageFds = kMaxArenas + 4;
inline constexpr std::size_t kSentenceBytes = 512;

enum class MessageType : std::uint32_t {
  kAttach = 1,
  kAttachReply = 2,
  kDetach = 3,  // no body; answered by kDetachReply when everything is back
  kDetachReply = 4,
  kAdmin = 5,  // AdminRequest; answered by kAdminReply
  kAdminReply = 6,
  kReattach =
      7,  // to a daemon that has taken the pool up; answered by kAttachReply without descriptors
};

struct MessageHeader {
  std::uint32_t magic = kWireMagic;
  std::uint32_t version = kWireVersion;
  MessageType type = MessageType::kAttach;
  std::uint32_t bytes = 0;  // of the whole message
};

// The kernel may write into the slots that it holds after its death (registered buffers, O_DIRECT, RDMA): they are
// quarantined then.
inline constexpr std::uint32_t kAttachDirectIo = 1;

// The connection was made by another process (OpenOptions.fd): whoever attaches is the one whose pidfd travels
// along, and not the one that connected.
inline constexpr std::uint32_t kAttachOwnPidfd = 2;

// A pidfd of the sender may travel along: then pid namespaces do not matter.
struct AttachRequest {
  MessageHeader header;
  std::uint32_t layout_version = kLayoutVersion;
  std::uint32_t flags = 0;
  std::uint64_t layout_hash = 0;
  char pool_name[kPoolNameBytes] = {};
  char client_name[kClientNameBytes] = {};
};

// With `code` kOk these descriptors travel along, in this order: control segment, doorbell eventfd (client to
// daemon), wake socket (daemon to client, for async gets), one data segment per arena.
struct AttachReply {
  MessageHeader header;
  ErrorCode code = ErrorCode::ok;
  std::uint32_t client_id = 0;
  std::uint32_t epoch = 0;
  std::uint32_t client_number = 0;  // of its ClientRecord
  std::uint32_t arena_count = 0;
  std::uint32_t reserved = 0;
  std::uint64_t control_bytes = 0;
  std::uint64_t arena_bytes[kMaxArenas] = {};
  char sentence[kSentenceBytes] = {};  // why not
};

// From a client whose connection ended with the daemon before. It is told by its process, not by what it says.
struct ReattachRequest {
  MessageHeader header;
  std::uint32_t client_id = 0;
  std::uint32_t epoch = 0;
};

struct DetachMessage {
  MessageHeader header;
};

inline constexpr std::size_t kAdminTextBytes = 256;
// "status", "pools", "clients", "trim", "reload", "audit", ... and an argument (a pool's name).
struct AdminRequest {
  MessageHeader header;
  char command[32] = {};
  char argument[kAdminTextBytes] = {};
};

// With kOk a memfd with a JSON document of `document_bytes` travels along.
struct AdminReply {
  MessageHeader header;
  ErrorCode code = ErrorCode::ok;
  std::uint32_t reserved = 0;
  std::uint64_t document_bytes = 0;
  char sentence[kSentenceBytes] = {};
};

template <typename Message>
Message make_message(MessageType type) noexcept {
  Message message;
  message.header.type = type;
  message.header.bytes = sizeof(Message);
  return message;
}

// A text field as a view that ends at its zero or its end.
template <std::size_t N>
std::string_view text_of(const char (&field)[N]) noexcept {
  std::size_t length = 0;
  while (length < N && field[length] != 0) ++length;
  return {field, length};
}
// Cuts what does not fit, always terminates.
template <std::size_t N>
void set_text(char (&field)[N], std::string_view text) noexcept {
  const std::size_t length = text.size() < N - 1 ? text.size() : N - 1;
  for (std::size_t i = 0; i < length; ++i) field[i] = text[i];
  for (std::size_t i = length; i < N; ++i) field[i] = 0;
}

enum class ReceiveOutcome { kMessage, kClosed, kNothingYet, kTimedOut, kBroken };

struct Received {
  ReceiveOutcome outcome = ReceiveOutcome::kBroken;
  std::vector<std::byte> bytes;
  std::vector<UniqueFd> fds;
  int error =
      0;  // errno with kBroken, 0 where the message itself was bad (too long, too many descriptors)
};

// Sends one message with descriptors. False: errno says why. Never raises SIGPIPE, never blocks when
// `socket` is non-blocking.
bool send_message(int socket, const void* message, std::size_t bytes, const int* fds = nullptr,
                  std::size_t fd_count = 0) noexcept;

// Receives one message. `timeout_ms` < 0: as the socket blocks or not.
Received receive_message(int socket, int timeout_ms = -1);

// The header, when the bytes are a whole message of this wire version and of type `type` with exactly the size
// of Message.
template <typename Message>
const Message* decode(const Received& received, MessageType type) noexcept {
  if (received.bytes.size() != sizeof(Message)) return nullptr;
  const auto* message = reinterpret_cast<const Message*>(received.bytes.data());
  const MessageHeader& header = message->header;
  if (header.magic != kWireMagic || header.version != kWireVersion || header.type != type ||
      header.bytes != sizeof(Message)) {
    return nullptr;
  }
  return message;
}

}  // namespace zeropool::v1::lib
