// iceoryx: chunks loaned from a publisher, published, taken and released by a subscriber. Needs a RouDi that runs. A publisher
// lends at most so many chunks at once, so works that hold more have several publishers of one service.

#include <memory>
#include <mutex>
#include <string>
#include <unistd.h>
#include <vector>

#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>

#include "bench/works/run.hpp"

namespace zeropool_bench {
namespace {

constexpr std::uint32_t kLoans = iox::MAX_CHUNKS_ALLOCATED_PER_PUBLISHER_SIMULTANEOUSLY;

// Registers with RouDi, once in a process; after a fork only.
void start_runtime() {
  static std::once_flag once;
  std::call_once(once, [] {
    const std::string name = "zeropool-bench-" + std::to_string(::getpid());
    iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name));
  });
}

iox::capro::ServiceDescription channel(const std::string& run, const std::string& name) {
  return {iox::capro::IdString_t("zeropool_bench"),
          iox::capro::IdString_t(iox::cxx::TruncateToCapacity, run),
          iox::capro::IdString_t(iox::cxx::TruncateToCapacity, name)};
}

class Iceoryx {
 public:
  // A loan belongs to its publisher's thread: between threads, too, chunks are published and taken.
  static constexpr Traits kTraits{.processes = true, .moves = false};

  explicit Iceoryx(const Options& options) : run_(std::to_string(::getpid())) {
    const bool holds_many =
        options.work == "many" || options.work == "mixed" || options.work == "hand_off_32";
    publishers_ = holds_many ? (kMany + kLoans - 1) / kLoans : 1;
    if (options.work == "ramp") impossible("a publisher lends 8 chunks at most");
  }

  class Local {
   public:
    struct Item {
      void* chunk = nullptr;
      const void* taken = nullptr;  // as the subscriber gave it
      std::uint32_t from = 0;       // the publisher, or the subscriber's channel
    };
    explicit Local(Iceoryx& all, Ends ends = {}) : gives_(ends.gives) {
      start_runtime();
      const std::string name = gives_ >= 0
                                   ? std::to_string(gives_)
                                   : "own" + std::to_string(::getpid()) + "-" + thread_number();
      if (gives_ >= 0 || ends.takes < 0) {
        for (std::size_t i = 0; i < all.publishers_; ++i) {
          publishers_.push_back(
              std::make_unique<iox::popo::UntypedPublisher>(channel(all.run_, name)));
        }
      }
      loans_.resize(publishers_.size());
      if (ends.takes >= 0) {
        first_taken_ = static_cast<std::uint32_t>(ends.takes);
        for (int i = 0; i < ends.channels; ++i) {
          subscribers_.push_back(std::make_unique<iox::popo::UntypedSubscriber>(
              channel(all.run_, std::to_string(ends.takes + i))));
        }
      }
      for (auto& subscriber : subscribers_) {
        while (subscriber->getSubscriptionState() != iox::SubscribeState::SUBSCRIBED)
          ::usleep(1000);
      }
      for (auto& publisher : publishers_) {
        while (gives_ >= 0 && !publisher->hasSubscribers()) ::usleep(1000);
      }
    }
    Local(const Local&) = delete;
    Local& operator=(const Local&) = delete;

    bool get(std::size_t bytes, Item& item) {
      while (loans_[at_] == kLoans) at_ = at_ + 1 == publishers_.size() ? 0 : at_ + 1;
      auto loan = publishers_[at_]->loan(static_cast<std::uint32_t>(bytes));
      if (loan.has_error()) return false;
      ++loans_[at_];
      item = {loan.value(), nullptr, at_};
      return true;
    }
    void put(Item& item) {
      if (item.taken != nullptr) {
        subscribers_[item.from]->release(item.taken);
      } else {
        publishers_[item.from]->release(item.chunk);
        --loans_[item.from];
      }
      item = {};
    }
    std::byte* data(Item& item) { return static_cast<std::byte*>(item.chunk); }
    // What was taken is read-only: it goes on as a copy in a chunk of this publisher's.
    Parcel give(Item& item) {
      if (item.taken != nullptr) {
        const std::size_t bytes =
            iox::mepoo::ChunkHeader::fromUserPayload(item.taken)->userPayloadSize();
        Item copy;
        if (!get(bytes, copy)) fail("iceoryx: no chunk to copy into");
        std::memcpy(copy.chunk, item.taken, bytes);
        put(item);
        item = copy;
      }
      publishers_[item.from]->publish(item.chunk);
      --loans_[item.from];
      item = {};
      return {{static_cast<std::uint64_t>(gives_)}};
    }
    bool take(const Parcel& parcel, Item& item) {
      const auto number = static_cast<std::uint32_t>(parcel.words[0]) - first_taken_;
      auto chunk = subscribers_[number]->take();
      if (chunk.has_error()) return false;
      item = {const_cast<void*>(chunk.value()), chunk.value(), number};
      return true;
    }

   private:
    static std::string thread_number() {
      static std::atomic<int> next{0};
      return std::to_string(next.fetch_add(1));
    }
    int gives_;
    std::uint32_t first_taken_ = 0;
    std::uint32_t at_ = 0;  // the publisher that lends now
    std::vector<std::uint32_t> loans_;
    std::vector<std::unique_ptr<iox::popo::UntypedPublisher>> publishers_;
    std::vector<std::unique_ptr<iox::popo::UntypedSubscriber>> subscribers_;
  };

 private:
  std::string run_;
  std::size_t publishers_ = 1;
};

}  // namespace
}  // namespace zeropool_bench

int main(int argc, char** argv) {
  return zeropool_bench::run<zeropool_bench::Iceoryx>(zeropool_bench::read_options(argc, argv));
}
