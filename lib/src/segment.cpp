#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <utility>

#include <zeropool/lib/layout_constants.hpp>
#include <zeropool/lib/segment.hpp>

namespace zeropool::inline v1::lib {
namespace {

std::string failed(const char* call, const std::string& what, int error) {
  return std::string(call) + " failed for " + what + ": " + std::strerror(error);
}

std::string bytes_text(std::uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

}  // namespace

UniqueFd create_segment(const std::string& name, std::uint64_t bytes, SegmentPages pages,
                        std::string& why) {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (pages == SegmentPages::kHuge2MiB) flags |= MFD_HUGETLB | MFD_HUGE_2MB;
  if (pages == SegmentPages::kGiant1GiB) flags |= MFD_HUGETLB | MFD_HUGE_1GB;
  UniqueFd fd(::memfd_create(name.c_str(), flags));
  if (!fd) {
    why = failed("memfd_create", name, errno);
    return {};
  }
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    why = failed("ftruncate", name + " to " + bytes_text(bytes), errno) +
          " (RLIMIT_FSIZE limits it: ulimit -f unlimited)";
    return {};
  }
  if (::fchmod(fd.get(), 0600) != 0) {
    why = failed("fchmod", name, errno);
    return {};
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    why = failed("fcntl(F_ADD_SEALS)", name, errno);
    return {};
  }
  return fd;
}

Mapping::Mapping(Mapping&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    Mapping old(std::exchange(address_, other.address_), std::exchange(bytes_, other.bytes_));
    other.address_ = nullptr;
    other.bytes_ = 0;
  }
  return *this;
}

Mapping::~Mapping() {
  if (address_ != nullptr) ::munmap(address_, bytes_);
}

Mapping map_segment(int fd, std::uint64_t bytes, std::uint64_t alignment, std::string& why) {
  // Reserve more than is needed, then place the segment at the aligned address inside.
  const std::uint64_t whole =
      (bytes + kSmallPage - 1) / kSmallPage * kSmallPage;  // what mmap makes of it
  const std::uint64_t reserve = whole + alignment;
  void* reserved =
      ::mmap(nullptr, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) {
    why = failed("mmap", bytes_text(reserve) + " of addresses", errno) +
          " (RLIMIT_AS limits it: ulimit -v unlimited)";
    return {};
  }
  const auto start = reinterpret_cast<std::uintptr_t>(reserved);
  const std::uintptr_t aligned = (start + alignment - 1) / alignment * alignment;
  void* placed = ::mmap(reinterpret_cast<void*>(aligned), bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
  if (placed == MAP_FAILED) {
    why = failed("mmap", "a segment of " + bytes_text(bytes), errno);
    ::munmap(reserved, reserve);
    return {};
  }
  if (aligned > start) ::munmap(reserved, aligned - start);
  const std::uintptr_t end = start + reserve;
  if (aligned + whole < end)
    ::munmap(reinterpret_cast<void*>(aligned + whole), end - (aligned + whole));
  Mapping mapping(placed, bytes);
  if (::madvise(placed, bytes, MADV_DONTFORK) != 0 ||
      ::madvise(placed, bytes, MADV_DONTDUMP) != 0) {
    why = failed("madvise", "a segment of " + bytes_text(bytes), errno);
    return {};
  }
  return mapping;
}

Mapping map_wiped_on_fork(std::size_t bytes, std::string& why) {
  void* address =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    why = failed("mmap", bytes_text(bytes), errno);
    return {};
  }
  Mapping mapping(address, bytes);
  if (::madvise(address, bytes, MADV_WIPEONFORK) != 0) {
    why = failed("madvise(MADV_WIPEONFORK)", bytes_text(bytes), errno);
    return {};
  }
  return mapping;
}

std::uint64_t segment_occupied_bytes(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return 0;
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

}  // namespace zeropool::v1::lib
