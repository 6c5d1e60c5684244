// A word that tells one process from those that are forked from it.

#include <atomic>
#include <new>

#include <zeropool/detail/pool_state.hpp>
#include <zeropool/lib/segment.hpp>

namespace {

using Word = std::atomic<std::uint32_t>;

Word unwiped{
    0};  // where there was no memory that fork wipes: then a child is not told from its parent
Word* word = &unwiped;
Word numbers{0};  // given out so far; a child goes on from its parent's

// Before main(), so that no two threads do it.
__attribute__((constructor)) void make_word() {
  std::string why;
  zeropool::lib::Mapping mapping = zeropool::lib::map_wiped_on_fork(4096, why);
  if (!mapping) return;
  word = ::new (static_cast<void*>(mapping.data())) Word(0);
  ::new (static_cast<void*>(&mapping))
      zeropool::lib::Mapping();  // kept for the life of the process
}

}  // namespace

extern "C" const std::atomic<std::uint32_t>* zp_v1_process_word() noexcept {
  if (word->load(std::memory_order_acquire) == 0) {
    const std::uint32_t mine = numbers.fetch_add(1, std::memory_order_relaxed) + 1;
    std::uint32_t none = 0;
    word->compare_exchange_strong(none, mine, std::memory_order_acq_rel);
  }
  return word;
}
