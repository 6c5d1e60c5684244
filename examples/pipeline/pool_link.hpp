#pragma once
// PoolLink: chunks are pool buffers, handed off by handle over a SOCK_SEQPACKET pair.
//
// At most kWindow chunks are on the way of one link: the hasher gives credit back as it puts buffers, so memory is
// bounded by links × kWindow × kMaxChunkBytes. A buffer is tied to the hasher's life when it is released: if the
// hasher dies with handles unread, zeropoold takes them back.

#include <zeropool/zeropool.hpp>

#include "pipeline/chunk_link.hpp"
#include "pipeline/packet_socket.hpp"

namespace pipeline {

class PoolSink : public ChunkSink {
 public:
  PoolSink(zeropool::Pool pool, UniqueFd socket, std::uint32_t hasher_client_id);
  std::span<std::byte> prepare(std::size_t bytes) override;
  bool send(const ChunkHead& head) override;

 private:
  bool await_credit();

  zeropool::Pool pool_;
  PacketSocket socket_;
  std::uint32_t hasher_client_id_;
  std::uint32_t credits_;
  zeropool::Buffer buffer_;
};

class PoolSource : public ChunkSource {
 public:
  PoolSource(zeropool::Pool pool, UniqueFd socket);
  int fd() const override { return socket_.fd(); }
  Outcome receive(ChunkHead& head, std::span<const std::byte>& bytes) override;
  void done() override;

 private:
  zeropool::Pool pool_;
  PacketSocket socket_;
  zeropool::Buffer buffer_;
  std::uint32_t owed_ = 0;  // credits not given back yet
};

}  // namespace pipeline
