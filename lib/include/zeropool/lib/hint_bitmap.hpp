#pragma once
// A two-level bitmap of magazine numbers: which magazines are cold, partial, or empty. A rotating cursor makes
// `take` return about the oldest.
//
// Use it as a hint only: a bit may be stale, missing, or set twice.
//
// Thread safety: any number of setters and takers, no waiting.
// Edge:
//   B-hint: a bit is set after its magazine was released (release), and taken before it is claimed (acquire); as Q-hint
//   of hint_queue.hpp.
// Invariants:
//   B1  A bit is returned by one `take` for each time it was set, at most.
//   B2  A set bit whose summary bit is lost (a taker cleared the summary while a setter set the bit) is set
//       again by that taker's second look.
// Crash safety: a kill loses one hint, or one word's summary bit; the next `set` in that word, or the daemon's
// re-hinting, brings it back.

#include <atomic>
#include <bit>
#include <cstdint>

#include <zeropool/lib/layout_constants.hpp>

namespace zeropool::inline v1::lib {

template <template <typename> class Atom>
struct HintBitmapHead {
  alignas(kCacheLine) Atom<std::uint64_t> cursor;  // the summary word to look at first
};

template <template <typename> class Atom>
class HintBitmap {
 public:
  HintBitmap() = default;
  // `words` hold one bit a magazine; `summary` one bit a word, (word_count + 63) / 64 of them.
  HintBitmap(HintBitmapHead<Atom>* head, Atom<std::uint64_t>* summary, Atom<std::uint64_t>* words,
             std::uint32_t word_count) noexcept
      : head_(head), summary_(summary), words_(words), word_count_(word_count) {}

  void set(std::uint32_t cell) noexcept {
    const std::uint32_t word = cell / 64;
    const std::uint64_t before = words_[word].fetch_or(std::uint64_t{1} << (cell % 64),
                                                       std::memory_order_release);  // B-hint
    // Also where the word was not empty: a killed taker may have left it without its summary bit.
    const std::uint64_t summary_bit = std::uint64_t{1} << (word % 64);
    if (before == 0 || (summary_[word / 64].load(std::memory_order_relaxed) & summary_bit) == 0) {
      summary_[word / 64].fetch_or(summary_bit,
                                   std::memory_order_release);  // B2: pairs with clear_summary
    }
  }

  void clear(std::uint32_t cell) noexcept { clear_bit(cell / 64, std::uint64_t{1} << (cell % 64)); }

  // Takes a number out, or returns kNone. `emptied_word` becomes true when it took the last one of a word.
  std::uint32_t take(std::uint32_t& lost, bool& emptied_word) noexcept {
    const std::uint32_t summary_words = (word_count_ + 63) / 64;
    const auto start = static_cast<std::uint32_t>(head_->cursor.load(std::memory_order_relaxed));
    const std::uint32_t first_word = start < word_count_ ? start : 0;
    // From the cursor's word to the end, then from the beginning up to it.
    for (std::uint32_t step = 0; step <= summary_words; ++step) {
      const std::uint32_t s = (first_word / 64 + step) % summary_words;
      std::uint64_t candidates = summary_[s].load(std::memory_order_relaxed);
      if (step == 0) candidates &= ~std::uint64_t{0} << (first_word % 64);
      while (candidates != 0) {
        const std::uint32_t word =
            s * 64 + static_cast<std::uint32_t>(std::countr_zero(candidates));
        candidates &= candidates - 1;
        if (word >= word_count_) break;
        std::uint64_t bits = words_[word].load(std::memory_order_relaxed);
        if (bits == 0) clear_summary(word);
        while (bits != 0) {
          const std::uint64_t bit = bits & (~bits + 1);
          const std::uint64_t before =
              words_[word].fetch_and(~bit, std::memory_order_acquire);  // B-hint
          if ((before & bit) != 0) {
            if ((before & ~bit) == 0) {
              clear_summary(word);
              emptied_word = true;
              head_->cursor.store(word + 1, std::memory_order_relaxed);
            }
            return word * 64 + static_cast<std::uint32_t>(std::countr_zero(bit));
          }
          ++lost;
          bits = before & ~bit;
        }
      }
    }
    return kNone;
  }

  bool test(std::uint32_t cell) const noexcept {
    return (words_[cell / 64].load(std::memory_order_relaxed) >> (cell % 64) & 1) != 0;
  }

  // Whether more words than that have a number each at least. Looks at the summary only.
  bool has_more_words_than(std::uint32_t words) const noexcept {
    std::uint32_t found = 0;
    for (std::uint32_t s = 0; s < (word_count_ + 63) / 64; ++s) {
      found +=
          static_cast<std::uint32_t>(std::popcount(summary_[s].load(std::memory_order_relaxed)));
      if (found > words) return true;
    }
    return false;
  }

  // Calls `visit` with each number below `cells` whose bit is set.
  template <typename Visit>
  void for_each(std::uint32_t cells, Visit visit) const {
    for (std::uint32_t word = 0; word < (cells + 63) / 64 && word < word_count_; ++word) {
      for (std::uint64_t bits = words_[word].load(std::memory_order_relaxed); bits != 0;
           bits &= bits - 1) {
        const std::uint32_t cell = word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
        if (cell < cells) visit(cell);
      }
    }
  }

  // How many bits are set among the first `cells`; for watermarks and metrics.
  std::uint32_t count_estimate(std::uint32_t cells) const noexcept {
    std::uint32_t total = 0;
    for (std::uint32_t word = 0; word < (cells + 63) / 64 && word < word_count_; ++word) {
      total +=
          static_cast<std::uint32_t>(std::popcount(words_[word].load(std::memory_order_relaxed)));
    }
    return total;
  }

 private:
  void clear_bit(std::uint32_t word, std::uint64_t bit) noexcept {
    const std::uint64_t before = words_[word].fetch_and(~bit, std::memory_order_relaxed);
    if ((before & ~bit) == 0 && before != 0) clear_summary(word);
  }

  void clear_summary(std::uint32_t word) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (word % 64);
    // Its acquire side: whose summary bit is cleared here, that setter's word is seen below.
    summary_[word / 64].fetch_and(~bit, std::memory_order_seq_cst);
    if (words_[word].load(std::memory_order_seq_cst) != 0) {  // B2
      summary_[word / 64].fetch_or(bit, std::memory_order_relaxed);
    }
  }

  HintBitmapHead<Atom>* head_ = nullptr;
  Atom<std::uint64_t>* summary_ = nullptr;
  Atom<std::uint64_t>* words_ = nullptr;
  std::uint32_t word_count_ = 0;
};

}  // namespace zeropool::v1::lib
