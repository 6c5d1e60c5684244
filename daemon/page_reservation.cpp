#include "daemon/page_reservation.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include "daemon/statistics_words.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {
namespace {

std::string first_line(std::istream& from) {
  std::string line;
  std::getline(from, line);
  return line;
}

bool size_of(const std::string& word, PageSize& size) {
  for (const PageSize known : {PageSize::kHuge1GiB, PageSize::kHuge2MiB}) {
    if (word != page_size_word(known)) continue;
    size = known;
    return true;
  }
  return false;
}

bool write_all(int fd, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t part = ::write(fd, text.data() + done, text.size() - done);
    if (part < 0 && errno == EINTR) continue;
    if (part <= 0) return false;
    done += static_cast<std::size_t>(part);
  }
  return true;
}

}  // namespace

PageReservation::PageReservation(PageReservationPaths paths) : paths_(std::move(paths)) {
  std::ifstream boot(paths_.boot_id);
  boot_ = first_line(boot);
  load();
}

PageReservation::~PageReservation() {
  if (!give_back_ || raised_.empty()) return;
  std::vector<Raised> kept;
  for (Raised entry : raised_) {
    const std::uint64_t now = hugepages_on(entry.node, entry.size, paths_.sys);
    const std::uint64_t wanted = std::max(entry.least, now - std::min(now, entry.pages));  // R2
    int error = 0;
    const std::uint64_t after = lower_pages(entry.node, entry.size, wanted, error, paths_.sys);
    const std::string where =
        "pages.reserve: node " + std::to_string(entry.node) + ": " + page_size_word(entry.size);
    if (now > after) spdlog::info("{} pages given back: {}", where, now - after);
    if (after <= wanted) continue;
    spdlog::warn(
        "{} pages left: {} ({}); the next zeropoold takes them over; as root: echo {} > {}", where,
        after - wanted, error == 0 ? "clients still map them" : std::strerror(error), wanted,
        hugepages_folder(entry.node, entry.size, paths_.sys) + "nr_hugepages");
    entry.pages = after - wanted;
    kept.push_back(entry);
  }
  raised_ = std::move(kept);
  save();
}

// "BOOT-ID", then "NODE SIZE LEAST PAGES" a line.
void PageReservation::load() {
  struct stat info {};
  if (::lstat(paths_.record.c_str(), &info) != 0 || !S_ISREG(info.st_mode) ||
      info.st_uid != ::geteuid())
    return;
  std::ifstream file(paths_.record);
  if (first_line(file) != boot_) return;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    Raised entry;
    std::string size;
    if (!(words >> entry.node >> size >> entry.least >> entry.pages) || !size_of(size, entry.size))
      continue;
    raised_.push_back(entry);
  }
  settle();
}

// The kernel may have granted less than was recorded before it was asked, or the daemon was killed in between.
void PageReservation::settle() {
  for (Raised& entry : raised_) {
    const std::uint64_t now = hugepages_on(entry.node, entry.size, paths_.sys);
    entry.pages = std::min(entry.pages, now - std::min(now, entry.least));
  }
  std::erase_if(raised_, [](const Raised& entry) { return entry.pages == 0; });
}

bool PageReservation::save() const {
  if (raised_.empty()) return ::unlink(paths_.record.c_str()) == 0 || errno == ENOENT;
  std::ostringstream text;
  text << boot_ << '\n';
  for (const Raised& entry : raised_) {
    text << entry.node << ' ' << page_size_word(entry.size) << ' ' << entry.least << ' '
         << entry.pages << '\n';
  }
  const std::string next = paths_.record + ".new";
  ::unlink(next.c_str());
  const lib::UniqueFd fd(
      ::open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  return fd && write_all(fd.get(), text.str()) &&
         ::rename(next.c_str(), paths_.record.c_str()) == 0;
}

PageReservation::Raised& PageReservation::entry_of(const PageGrant& grant) {
  for (Raised& entry : raised_) {
    if (entry.node == grant.node && entry.size == grant.size) return entry;
  }
  raised_.push_back({grant.node, grant.size, grant.before, 0});
  return raised_.back();
}

std::vector<PageGrant> PageReservation::raise(const std::vector<PageWish>& wishes) {
  const BeforeRaise record = [&](const PageGrant& intent) {
    entry_of(intent).pages += intent.after - intent.before;
    if (save()) return true;  // R1
    spdlog::warn("pages.reserve: {} cannot be written ({}): no page is asked for without it",
                 paths_.record, std::strerror(errno));
    entry_of(intent).pages -= intent.after - intent.before;
    return false;
  };
  std::vector<PageGrant> grants = reserve_pages(wishes, record, paths_.sys);
  settle();
  save();
  return grants;
}

}  // namespace zeropool::daemon
