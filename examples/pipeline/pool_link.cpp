#include "pipeline/pool_link.hpp"

#include <stdexcept>
#include <utility>

namespace pipeline {
namespace {

constexpr std::uint32_t kWindow = 8;
constexpr std::uint32_t kCreditsAtOnce = kWindow / 2;

struct ChunkPacket {
  ChunkHead head;
  zeropool::Handle handle;
};

struct CreditPacket {
  std::uint32_t credits = 0;
};

template <typename T>
std::span<std::byte> writable_bytes(T& packet) {
  return std::as_writable_bytes(std::span(&packet, 1));
}

[[noreturn]] void fail(const char* what, const zeropool::Error& error) {
  throw std::runtime_error(std::string(what) + ": " + error.name() + ": " + error.sentence);
}

}  // namespace

PoolSink::PoolSink(zeropool::Pool pool, UniqueFd socket, std::uint32_t hasher_client_id)
    : pool_(std::move(pool)),
      socket_(std::move(socket)),
      hasher_client_id_(hasher_client_id),
      credits_(kWindow) {}

// Takes what credit has come, and waits for some while there is none.
bool PoolSink::await_credit() {
  while (true) {
    CreditPacket packet;
    std::size_t bytes = 0;
    switch (socket_.receive_into(writable_bytes(packet), bytes, credits_ == 0)) {
      case ReceiveOutcome::kMessage: credits_ += packet.credits; break;
      case ReceiveOutcome::kNothingYet: return true;
      case ReceiveOutcome::kPeerGone: return false;
    }
    if (credits_ >= kWindow) return true;
  }
}

std::span<std::byte> PoolSink::prepare(std::size_t bytes) {
  // Credit before memory: who waits holds nothing.
  if (!await_credit()) return {};
  buffer_ = pool_.get(bytes);
  if (!buffer_) fail("no buffer", buffer_.error());
  return buffer_.span();
}

bool PoolSink::send(const ChunkHead& head) {
  ChunkPacket packet{head, {}};
  if (head.length > 0) {
    packet.handle = std::move(buffer_).release(hasher_client_id_);
    if (!packet.handle) throw std::runtime_error(std::string("release: ") + zp_last_error());
  } else {
    buffer_.reset();
    if (!await_credit()) return false;
  }
  if (socket_.send(std::as_bytes(std::span(&packet, 1))) == SendOutcome::kSent) {
    --credits_;
    return true;
  }
  // Ours again, and put back here, unless zeropoold was faster to take it from the dead hasher.
  if (packet.handle) pool_.adopt(packet.handle).reset();
  return false;
}

PoolSource::PoolSource(zeropool::Pool pool, UniqueFd socket)
    : pool_(std::move(pool)), socket_(std::move(socket)) {}

ChunkSource::Outcome PoolSource::receive(ChunkHead& head, std::span<const std::byte>& bytes) {
  ChunkPacket packet;
  std::size_t packet_bytes = 0;
  switch (socket_.receive_into(writable_bytes(packet), packet_bytes, false)) {
    case ReceiveOutcome::kMessage: break;
    case ReceiveOutcome::kNothingYet: return Outcome::kNothingYet;
    case ReceiveOutcome::kPeerGone: return Outcome::kReaderGone;
  }
  if (packet_bytes != sizeof(packet)) throw std::runtime_error("a chunk's packet is cut short");
  head = packet.head;
  bytes = {};
  if (head.length > 0) {
    buffer_ = pool_.adopt(packet.handle);
    if (!buffer_) fail("adopt", buffer_.error());
    if (buffer_.size() < head.length) throw std::runtime_error("a chunk is longer than its buffer");
    bytes = buffer_.span().first(head.length);
  }
  return Outcome::kChunk;
}

void PoolSource::done() {
  buffer_.reset();
  if (++owed_ < kCreditsAtOnce) return;
  const CreditPacket packet{owed_};
  owed_ = 0;
  // A reader that has ended needs no credit. There is always room: no more than kWindow are on the way.
  socket_.send(std::as_bytes(std::span(&packet, 1)));
}

}  // namespace pipeline
