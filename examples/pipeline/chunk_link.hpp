#pragma once
// A link carries chunks of files from one reader to one hasher; what is pool and what is pipes differs here only.
//
//   PoolLink   the chunk is a pool buffer, filled by the reader and hashed in place; 40 bytes travel
//   PipeLink   the chunk is malloc'ed on both sides, and its bytes are written to and read from a pipe
//
// A peer that is dead, whatever it was doing, is an outcome; everything else throws.

#include <cstddef>
#include <memory>
#include <span>

#include "pipeline/messages.hpp"

namespace pipeline {

class ChunkSink {
 public:
  virtual ~ChunkSink() = default;
  // Room to fill, 1 to kMaxChunkBytes. Empty: the hasher is gone.
  virtual std::span<std::byte> prepare(std::size_t bytes) = 0;
  // Sends head.length bytes of what prepare() gave, or a head alone where that is 0. False: the hasher is gone.
  virtual bool send(const ChunkHead& head) = 0;
};

class ChunkSource {
 public:
  enum class Outcome { kChunk, kNothingYet, kReaderGone };

  virtual ~ChunkSource() = default;
  virtual int fd() const = 0;  // to poll
  // `bytes` stays readable until done().
  virtual Outcome receive(ChunkHead& head, std::span<const std::byte>& bytes) = 0;
  virtual void done() = 0;
};

}  // namespace pipeline
