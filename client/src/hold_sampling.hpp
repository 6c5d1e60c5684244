#pragma once
// HoldSampling: some gets of a process that asks for it are written down while they are held: when, and from where.
//
// Which ones is left to chance, for every get alike: one in `sample_gets` on average. Only the slow path sees each get, so
// such an attachment shows its caches to nobody but the slow path (thread_state.hpp), as one that is watched for bugs does;
// there is nothing about all this in a hit. (To sample only gets that the slow path serves anyway would be no substitute:
// a loop that gets two buffers, and puts the first one, would meet an empty magazine with its first get every time, and the
// second one, the leak, would never be seen.)
//
// Thread safety: choose() before the attach; begin() under guard->lock; got() any thread's, which waits for nothing.
// Crash safety: hold_sample.hpp.

#include <cstdint>

#include <zeropool.h>

namespace zeropool::client {

struct Attachment;
struct ClientCache;

class HoldSampling {
 public:
  bool on() const noexcept { return mean_ != 0; }

  // Before the attach. 0: as the environment says.
  void choose(std::uint32_t sample_gets) noexcept;
  // A thread has its cache: asks the daemon for its cells, where they are not there yet.
  void begin(ClientCache& cache) const noexcept;
  // A get or an adoption has served it, by the calling thread.
  void got(Attachment& attachment, const zp_buffer& buffer) noexcept;

 private:
  void sample(Attachment& attachment, ClientCache& cache, const zp_buffer& buffer) const noexcept;

  std::uint32_t mean_ = 0;
};

}  // namespace zeropool::client
