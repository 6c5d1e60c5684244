#pragma once
// PipeLink: chunks are malloc'ed, and their bytes go through a pipe: the same pipeline without a pool.

#include <memory>
#include <utility>

#include "pipeline/chunk_link.hpp"
#include "pipeline/unique_fd.hpp"

namespace pipeline {

// {read end, write end}, as large as the system lets anybody have it (1 MiB).
std::pair<UniqueFd, UniqueFd> make_pipe();

class PipeSink : public ChunkSink {
 public:
  explicit PipeSink(UniqueFd pipe) : pipe_(std::move(pipe)) {}
  std::span<std::byte> prepare(std::size_t bytes) override;
  bool send(const ChunkHead& head) override;

 private:
  UniqueFd pipe_;
  std::unique_ptr<std::byte[]> buffer_;
};

class PipeSource : public ChunkSource {
 public:
  explicit PipeSource(UniqueFd pipe) : pipe_(std::move(pipe)) {}
  int fd() const override { return pipe_.get(); }
  Outcome receive(ChunkHead& head, std::span<const std::byte>& bytes) override;
  void done() override { buffer_.reset(); }

 private:
  UniqueFd pipe_;
  std::unique_ptr<std::byte[]> buffer_;
};

}  // namespace pipeline
