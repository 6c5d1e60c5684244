#include "hold_sampling.hpp"

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include <zeropool/lib/hold_sample_block.hpp>

#include "attachment.hpp"
#include "call_stack.hpp"
#include "order.hpp"
#include "standard_error.hpp"

namespace zeropool::client {
namespace {

namespace detail = zeropool::v1::detail;

constexpr const char* kVariable = "ZEROPOOL_SAMPLE_STACKS";

// One get in so many; 0: none. What is no number is named on standard error, once in a process, and ignored.
std::uint32_t mean_of_environment() noexcept {
  const char* value = ::secure_getenv(kVariable);
  const std::string_view text = value == nullptr ? "" : value;
  if (text.empty()) return 0;
  std::uint32_t mean = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), mean);
  if (parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size()) return mean;
  static std::atomic<bool> complained{false};
  if (!complained.exchange(true, std::memory_order_relaxed)) {
    standard_error_line("%s is a number, one get in so many is sampled; not '%.*s'", kVariable,
                        static_cast<int>(text.size() < 64 ? text.size() : 64), text.data());
  }
  return 0;
}

}  // namespace

void HoldSampling::choose(std::uint32_t sample_gets) noexcept {
  mean_ = sample_gets != 0 ? sample_gets : mean_of_environment();
}

void HoldSampling::begin(ClientCache& cache) const noexcept {
  if (!on()) return;
  cache.chance = lib::SampleChance(static_cast<std::uint64_t>(monotonic_ns()) ^
                                   (std::uint64_t{cache.record_number} << 48));
  cache.gets_to_sample = cache.chance.gap(mean_);
  lib::ControlHeader& header = cache.attachment->header();
  if (cache.record_number < header.samples_published.load(std::memory_order_relaxed)) return;
  header.samples_wanted.store(1, std::memory_order_relaxed);
  ring_if_asleep(*cache.attachment);
}

void HoldSampling::got(Attachment& attachment, const zp_buffer& buffer) noexcept {
  const OwnThread* thread = own_thread_if_any();
  ThreadCache* hot = thread == nullptr ? nullptr : thread->cache(attachment.index);
  // Threads without a record of their own have no cells either.
  if (hot != nullptr) sample(attachment, *client_cache_of(hot), buffer);
}

void HoldSampling::sample(Attachment& attachment, ClientCache& cache,
                          const zp_buffer& buffer) const noexcept {
  if (--cache.gets_to_sample != 0) return;
  cache.gets_to_sample = cache.chance.gap(mean_);
  lib::ControlHeader& header = attachment.header();
  // The daemon publishes a block for each record, once somebody wants samples: soon, or never where the budget is spent. It
  // may have been killed with what begin() told it: the next one is told again, and sees it at a look of its own.
  if (cache.record_number >= header.samples_published.load(std::memory_order_acquire)) {
    if (header.samples_wanted.load(std::memory_order_relaxed) == 0)
      header.samples_wanted.store(1, std::memory_order_relaxed);
    return;
  }
  if (!cache.chance.passes()) return;
  lib::SampledGet get;
  get.mark = lib::Mark::make(detail::generation_of(buffer.word), lib::SlotState::kHeld,
                             attachment.client_id);
  get.got_ns = static_cast<std::uint64_t>(monotonic_ns());
  get.ring = detail::ring_of(buffer.word);
  get.slot = buffer.slot;
  get.weight = cache.chance.weight(mean_);
  get.depth = call_stack(get.frames, lib::kSampleFrames);
  lib::keep_sample(attachment.view.samples(cache.record_number), cache.chance, get,
                   [&](const lib::SampledGet& there) {
                     // Others may write there, too: what lies beyond the tables is not looked at.
                     if (there.ring >= attachment.rings.size()) return false;
                     const lib::SharedRingView& view = attachment.rings[there.ring].view;
                     if (there.slot >= view.slot_bound()) return false;
                     return lib::still_held(
                         there,
                         lib::Mark{view.slots[there.slot].mark.load(std::memory_order_relaxed)});
                   });
}

}  // namespace zeropool::client
