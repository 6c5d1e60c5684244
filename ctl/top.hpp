#pragma once
// `zeropoolctl top`: the daemon, live.
//
// Thread safety: the program's one thread.

#include <string>

namespace zeropool::ctl {

struct TopOptions {
  std::string socket;
  double interval_seconds = 2;
  bool once = false;     // two looks, an interval apart, as plain text
  bool as_json = false;  // the daemon's document as it is, once
  std::string view = "pools";
  std::string sort;  // a column's title; empty: the view's own
};

// An exit code; a signal that ended it is raised again when the terminal is as it was.
int run_top(const TopOptions& options);

}  // namespace zeropool::ctl
