#include "pipeline/progress.hpp"

#include <algorithm>
#include <unistd.h>

#include "pipeline/figures.hpp"

namespace pipeline {
namespace {

constexpr auto kEvery = std::chrono::seconds(1);
constexpr auto kEveryOnTerminal = std::chrono::milliseconds(200);

}  // namespace

Progress::Progress(std::FILE* out, const FileList& list)
    : out_(out), list_(list), terminal_(::isatty(::fileno(out)) != 0) {}

void Progress::start() {
  started_ = true;
  start_ = last_ = Clock::now();
  next_ = start_ + (terminal_ ? Clock::duration(kEveryOnTerminal) : Clock::duration(kEvery));
}

int Progress::milliseconds_to_next() const {
  if (!started_) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_ - Clock::now()).count();
  return static_cast<int>(std::max<std::int64_t>(left, 0));
}

void Progress::show(const WorkList& work) {
  const Clock::time_point now = Clock::now();
  if (!started_ || now < next_) return;
  next_ = now + (terminal_ ? Clock::duration(kEveryOnTerminal) : Clock::duration(kEvery));
  const std::uint64_t bytes = work.settled_bytes();
  const double since = std::chrono::duration<double>(now - last_).count();
  const double speed = bytes > last_bytes_ ? static_cast<double>(bytes - last_bytes_) / since : 0;
  last_ = now;
  last_bytes_ = bytes;
  const double percent =
      list_.bytes == 0 ? 100.0
                       : 100.0 * static_cast<double>(bytes) / static_cast<double>(list_.bytes);
  std::fprintf(out_, "%s%5.1f s  %5.1f %%  %s of %s  %llu of %zu files  %s%s",
               terminal_ ? "\r\033[K" : "", std::chrono::duration<double>(now - start_).count(),
               percent, bytes_text(bytes).c_str(), bytes_text(list_.bytes).c_str(),
               static_cast<unsigned long long>(work.done_files()), list_.files.size(),
               speed_text(speed).c_str(), terminal_ ? "" : "\n");
  std::fflush(out_);
  line_open_ = terminal_;
}

void Progress::say(const std::string& line) {
  end();
  std::fprintf(out_, "%s\n", line.c_str());
  std::fflush(out_);
}

void Progress::end() {
  if (line_open_) std::fputc('\n', out_);
  line_open_ = false;
}

}  // namespace pipeline
