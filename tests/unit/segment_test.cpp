#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <zeropool/lib/segment.hpp>

using namespace zeropool::lib;

TEST_CASE("a segment is sized, sparse, private to its owner, and sealed for good") {
  std::string why;
  const UniqueFd fd = create_segment("zeropool-test", 1 << 20, SegmentPages::kSmall, why);
  REQUIRE_MESSAGE(fd, why);
  struct stat info {};
  REQUIRE(::fstat(fd.get(), &info) == 0);
  CHECK(info.st_size == 1 << 20);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(segment_occupied_bytes(fd.get()) == 0);
  CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(::fcntl(fd.get(), F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
  CHECK(::ftruncate(fd.get(), 1 << 19) != 0);
  CHECK(errno == EPERM);
  CHECK(::ftruncate(fd.get(), 1 << 21) != 0);
  CHECK(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE) != 0);
}

TEST_CASE("a segment that cannot be made says which call failed") {
  std::string why;
  CHECK_FALSE(create_segment("zeropool-test", ~std::uint64_t{0}, SegmentPages::kSmall, why));
  CHECK(why.find("ftruncate") != std::string::npos);
  CHECK_FALSE(create_segment(std::string(300, 'x'), 4096, SegmentPages::kSmall, why));
  CHECK(why.find("memfd_create") != std::string::npos);
}

TEST_CASE("a mapping is aligned, shared, and gone when its owner is") {
  std::string why;
  const UniqueFd fd = create_segment("zeropool-test", 1 << 20, SegmentPages::kSmall, why);
  REQUIRE_MESSAGE(fd, why);
  for (const std::uint64_t alignment :
       {std::uint64_t{4096}, std::uint64_t{2} << 20, std::uint64_t{1} << 30}) {
    Mapping first = map_segment(fd.get(), 1 << 20, alignment, why);
    Mapping second = map_segment(fd.get(), 1 << 20, alignment, why);
    REQUIRE_MESSAGE((first && second), why);
    CHECK(reinterpret_cast<std::uintptr_t>(first.data()) % alignment == 0);
    CHECK(first.size() == 1 << 20);
    first.data()[5] = std::byte{42};
    CHECK(second.data()[5] == std::byte{42});
    std::byte* const place = second.data();
    Mapping moved = std::move(second);
    CHECK_FALSE(second);  // NOLINT: moved from on purpose
    CHECK(moved.data() == place);
    moved = Mapping{};
    CHECK(::msync(place, 4096, MS_ASYNC) != 0);
    CHECK(errno == ENOMEM);
  }
  CHECK(segment_occupied_bytes(fd.get()) == 4096);
}

TEST_CASE("a mapping of rubbish is refused with a sentence") {
  std::string why;
  CHECK_FALSE(map_segment(-1, 4096, 4096, why));
  CHECK(why.find("mmap") != std::string::npos);
  const UniqueFd fd = create_segment("zeropool-test", 4096, SegmentPages::kSmall, why);
  why.clear();
  CHECK_FALSE(map_segment(fd.get(), std::uint64_t{1} << 60, 4096, why));
  CHECK(why.find("mmap") != std::string::npos);
}

TEST_CASE("a forked child has no mapping of a segment, and finds wiped memory zeroed") {
  std::string why;
  const UniqueFd fd = create_segment("zeropool-test", 4096, SegmentPages::kSmall, why);
  const Mapping shared = map_segment(fd.get(), 4096, 4096, why);
  const Mapping wiped = map_wiped_on_fork(8192, why);
  REQUIRE_MESSAGE((shared && wiped), why);
  shared.data()[0] = std::byte{1};
  wiped.data()[8191] = std::byte{1};
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const bool gone = ::msync(shared.data(), 4096, MS_ASYNC) != 0 && errno == ENOMEM;
    const bool zero = wiped.data()[8191] == std::byte{0};
    ::_exit((gone ? 0 : 1) | (zero ? 0 : 2));
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(wiped.data()[8191] == std::byte{1});
}
