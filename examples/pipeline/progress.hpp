#pragma once
// Progress: about one line a second while the run lasts; on a terminal, one line that changes.

#include <cstdint>
#include <cstdio>
#include <string>

#include "pipeline/child_process.hpp"
#include "pipeline/file_list.hpp"
#include "pipeline/work_list.hpp"

namespace pipeline {

class Progress {
 public:
  Progress(std::FILE* out, const FileList& list);
  void start();
  int milliseconds_to_next() const;  // for poll: when show() will have something to say
  void show(const WorkList& work);   // if it is time
  void say(const std::string& line);
  void end();

 private:
  std::FILE* out_;
  const FileList& list_;
  bool terminal_;
  bool line_open_ = false;
  bool started_ = false;
  Clock::time_point start_{};
  Clock::time_point next_{};
  std::uint64_t last_bytes_ = 0;
  Clock::time_point last_{};
};

}  // namespace pipeline
