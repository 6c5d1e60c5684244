// config/page-cache.yaml at work: a server reads pages of a file into its cache, backends look at them in place.

#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <memory>
#include <string>
#include <unistd.h>
#include <unordered_map>
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
using zeropool::Buffer;
using zeropool::Handle;
using zeropool::Pool;
using zeropool::SharedBuffer;

namespace {

constexpr std::size_t kPageBytes = 8192;
constexpr std::uint64_t kFilePages = 8192;
constexpr std::size_t kReadAhead = 16;

std::string table_file(const TemporaryFolder& folder) {
  std::string bytes(kPageBytes * kFilePages, 0);
  for (std::uint64_t page = 0; page < kFilePages; ++page) {
    write_pattern(reinterpret_cast<std::byte*>(bytes.data()) + page * kPageBytes, kPageBytes, page);
  }
  write_file(folder.path() + "/table", bytes);
  return folder.path() + "/table";
}

// What a server keeps: pages by number, shared, the one read longest ago first to go.
class PageCache {
 public:
  PageCache(Pool pool, const std::string& path)
      : pool_(std::move(pool)), file_(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC)) {
    if (file_ < 0)
      file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);  // tmpfs of old has no O_DIRECT
  }
  ~PageCache() { ::close(file_); }
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  const SharedBuffer& page(std::uint64_t number) {
    const auto found = pages_.find(number);
    if (found != pages_.end()) return found->second;
    read_from(number);
    return pages_.at(number);
  }
  std::size_t evicted() const { return evicted_; }
  std::size_t size() const { return pages_.size(); }

 private:
  // The page that is wanted and some behind it, by one batch.
  void read_from(std::uint64_t first) {
    std::vector<Buffer> frames(kReadAhead);
    std::size_t got = 0;
    while ((got = pool_.get_batch(kPageBytes, frames)) == 0) evict(kReadAhead);
    for (std::size_t i = 0; i < got && first + i < kFilePages; ++i) {
      const auto at = static_cast<off_t>((first + i) * kPageBytes);
      REQUIRE(::pread(file_, frames[i].data(), kPageBytes, at) == kPageBytes);
      if (pages_.count(first + i) != 0) continue;  // it goes back by itself
      SharedBuffer shared = std::move(frames[i]).share();
      REQUIRE_MESSAGE(shared, shared.error().sentence);
      pages_.emplace(first + i, std::move(shared));
      order_.push_back(first + i);
    }
  }
  void evict(std::size_t many) {
    for (; many > 0 && !order_.empty(); --many, order_.pop_front(), ++evicted_) {
      pages_.erase(order_.front());
    }
  }

  Pool pool_;
  int file_;
  std::unordered_map<std::uint64_t, SharedBuffer> pages_;
  std::deque<std::uint64_t> order_;
  std::size_t evicted_ = 0;
};

struct Query {
  Handle handle;
  std::uint64_t page = UINT64_MAX;  // UINT64_MAX: the connection has ended
};

void serve_backend(const DaemonProcess& daemon, Link& server) {
  auto pages = daemon.open("pages");
  auto work = daemon.open("work");
  expect(pages && work, "cannot open the pools");
  server.signal();
  for (Query query = server.receive<Query>(); query.page != UINT64_MAX;
       query = server.receive<Query>()) {
    const SharedBuffer page = pages->adopt_shared(query.handle);
    expect(static_cast<bool>(page), page.error().sentence);
    expect(broken_at(page.data(), page.size(), query.page) == kPageBytes, "another page's bytes");
    Buffer sort = work->get(1 << 20);
    expect(static_cast<bool>(sort), sort.error().sentence);
    std::memcpy(sort.data(), page.data(), page.size());
    server.send(query.page);
  }
}

}  // namespace

TEST_CASE("backends read pages in place while the server evicts; a killed backend costs no page") {
  // 32 MiB of pages for a file of 64 MiB.
  const DaemonProcess daemon(small_setup("page-cache", 256));
  const TemporaryFolder folder;
  const std::string file = table_file(folder);
  std::vector<std::unique_ptr<ChildProcess>> backends;
  for (int i = 0; i < 3; ++i) {
    backends.push_back(
        std::make_unique<ChildProcess>([&](Link& server) { serve_backend(daemon, server); }));
    backends.back()->link().await();
  }
  auto options = daemon.options();
  options.direct_io = true;
  auto pool = Pool::open("pages", options);
  REQUIRE_MESSAGE(pool, pool.error().sentence);
  {
    PageCache cache(*pool, file);
    Random random(8);
    for (int query = 0; query < 3000; ++query) {
      const std::uint64_t number = random.below(kFilePages);
      const SharedBuffer& page = cache.page(number);
      REQUIRE(broken_at(page.data(), page.size(), number) == kPageBytes);
      const Handle handle = page.handle();
      REQUIRE(handle);
      const std::size_t backend = static_cast<std::size_t>(query) % backends.size();
      backends[backend]->link().send(Query{handle, number});
      if (query > 1500 && backend == 2) {  // with a page in its hands, or on its way to it
        backends.back()->kill();
        backends.pop_back();
      } else {
        CHECK(backends[backend]->link().receive<std::uint64_t>() == number);
      }
    }
    CHECK(backends.size() == 2);
    CHECK(cache.evicted() > 0);
    CHECK(cache.size() > 1000);
    CHECK(daemon.metric("zeropool_slots", {"pool=\"pages\"", "state=\"shared\""}) >= cache.size());
    CHECK(daemon.metric("zeropool_released_bytes_total", {"pool=\"pages\"", "reason=\"idle\""}) ==
          0);
  }
  for (const auto& backend : backends) {
    backend->link().send(Query{});
    CHECK(backend->wait().well());
    CHECK(backend->failure() == "");
  }
  // The handle that nobody used any more ends with its lease, of 30 s in this set-up.
  CHECK(becomes_all_free(daemon, 100s));
  CHECK(daemon.metric("zeropool_pool_reserved_bytes", {"pool=\"pages\""}) == 8.0 * (1 << 30) / 256);
  CHECK(daemon.metric("zeropool_repairs_total") == 0);
}
