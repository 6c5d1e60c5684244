// config/data-loader.yaml at work: loaders assemble batches of samples for one trainer; one of them is killed.

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/zeropool.hpp>

#include "support/child_process.hpp"
#include "support/daemon_process.hpp"
#include "support/pattern.hpp"
#include "support/setup.hpp"

using namespace std::chrono_literals;
using namespace zeropool::testing;
using zeropool::Batch;
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;

namespace {

// Of a batch: encoded samples of different sizes, each decoded to so many bytes of the batch.
constexpr std::array<std::size_t, 8> kSampleBytes = {40'000,  180'000, 60'000,  700'000,
                                                     250'000, 50'000,  120'000, 900'000};
constexpr std::size_t kDecodedBytes = 512 * 1024;
constexpr std::size_t kBatchBytes = kSampleBytes.size() * kDecodedBytes;
constexpr std::uint64_t kBatches = 12;  // of each loader
constexpr std::size_t kStep = 1024;

struct Loaded {
  Handle handle;
  std::uint64_t number = 0;
};

// Batches `first`, `first` + 1, ...: the trainer asks for each by a signal.
void load(const DaemonProcess& daemon, Link& trainer, std::uint64_t first, std::uint32_t receiver) {
  auto samples = daemon.open("samples");
  auto batches = daemon.open("batches");
  expect(samples && batches, "cannot open the pools");
  for (std::uint64_t number = first; number < first + kBatches; ++number) {
    trainer.await();
    Batch encoded = samples->get_batch(kSampleBytes);
    expect(static_cast<bool>(encoded), encoded.error().sentence);
    Buffer batch = batches->get(kBatchBytes);
    expect(static_cast<bool>(batch), batch.error().sentence);
    for (std::size_t i = 0; i < encoded.size(); ++i) {
      write_pattern(encoded[i], number, kStep);                                       // read
      write_pattern(batch.data() + i * kDecodedBytes, kDecodedBytes, number, kStep);  // decoded
    }
    const Handle handle = std::move(batch).release(receiver);
    expect(static_cast<bool>(handle), "not released");
    trainer.send(Loaded{handle, number});
  }
}

// Adopts a batch, keeps its pages where they are as for a GPU, and looks at each sample.
void train(Pool& pool, const Loaded& loaded) {
  Buffer batch = pool.adopt(loaded.handle);
  REQUIRE_MESSAGE(batch, batch.error().sentence);
  CHECK(batch.size() == kBatchBytes);
  const auto pin = pool.pin(batch);
  CHECK(pin);
  for (std::size_t i = 0; i < kSampleBytes.size(); ++i) {
    CHECK(broken_at(batch.data() + i * kDecodedBytes, kDecodedBytes, loaded.number, kStep) ==
          kDecodedBytes);
  }
}

}  // namespace

TEST_CASE("every batch is trained with once, also those of a loader that is killed and replaced") {
  const DaemonProcess daemon(small_setup("data-loader", 16));
  auto pool = daemon.open("batches");
  REQUIRE_MESSAGE(pool, pool.error().sentence);
  std::map<std::uint64_t, int> trained;
  {
    std::vector<std::unique_ptr<ChildProcess>> loaders;
    const auto start = [&](std::uint64_t first) {
      const std::uint32_t me = pool->client_id();
      return std::make_unique<ChildProcess>(
          [&daemon, first, me](Link& trainer) { load(daemon, trainer, first, me); });
    };
    for (std::uint64_t i = 0; i < 3; ++i) loaders.push_back(start(i * 1000));
    for (std::uint64_t round = 0; round < kBatches; ++round) {
      for (const auto& loader : loaders) loader->link().signal();
      if (round == 5) {  // somewhere between its gets and its hand-off
        loaders[1]->kill();
        loaders[1] = start(1000 + round);
        loaders[1]->link().signal();
      }
      for (const auto& loader : loaders) {
        const auto loaded = loader->link().receive<Loaded>();
        train(*pool, loaded);
        ++trained[loaded.number];
      }
    }
    for (std::size_t i = 0; i < loaders.size(); ++i) {
      if (i == 1) continue;  // the new one has batches to come that nobody asks for
      CHECK(loaders[i]->wait().well());
      CHECK(loaders[i]->failure() == "");
    }
  }
  CHECK(trained.size() == 3 * kBatches);
  for (const auto& [number, times] : trained) CHECK_MESSAGE(times == 1, number);
  *pool = Pool();
  // What the killed one had released to the trainer ends with the trainer's attachment.
  CHECK(becomes_all_free(daemon));
  CHECK(daemon.metric("zeropool_reclaims_total") >= 2);
  CHECK(daemon.metric("zeropool_pinned_bytes") == 0);
  CHECK(daemon.metric("zeropool_repairs_total") == 0);
}

TEST_CASE("a loader that runs ahead waits at its quota until the trainer has caught up") {
  const DaemonProcess daemon(small_setup("data-loader", 16));
  ChildProcess loader([&](Link& trainer) {
    auto batches = daemon.open("batches");
    expect(static_cast<bool>(batches), batches.error().sentence);
    std::vector<Buffer> ahead;
    for (;;) {
      Buffer batch = batches->get(kBatchBytes, 20s);
      if (!batch) {
        expect(batch.error_code() == zeropool::ErrorCode::quota_exceeded, batch.error().sentence);
        break;
      }
      ahead.push_back(std::move(batch));
    }
    trainer.send(ahead.size());
    trainer.await();
    ahead.pop_back();
    const Buffer next = batches->get(kBatchBytes);
    expect(static_cast<bool>(next), next.error().sentence);
    trainer.signal();
  });
  const auto ahead = loader.link().receive<std::size_t>();
  CHECK(ahead >= 4);
  CHECK(ahead * kBatchBytes <= (std::size_t{2} << 30) / 16);
  loader.link().signal();
  loader.link().await();
  CHECK(loader.wait().well());
  CHECK(loader.failure() == "");
  CHECK(becomes_all_free(daemon));
}
