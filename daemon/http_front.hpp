#pragma once
// The HTTP server's questions, asked on its threads and answered on the loop's.
//
// Thread safety: made and destroyed on the loop's thread; `statistics` and `status_view` are called there only.
// Invariants:
//   F1  An HTTP thread waits 2 s at most, and not at all once closing has begun: destruction never deadlocks.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/event_loop.hpp"
#include "daemon/http_server.hpp"
#include "daemon/statistics.hpp"
#include "daemon/status_view.hpp"

namespace zeropool::daemon {

class HttpFront {
 public:
  HttpFront(EventLoop& loop, std::function<DaemonStatistics()> statistics,
            std::function<StatusView()> status_view);
  ~HttpFront();
  HttpFront(const HttpFront&) = delete;
  HttpFront& operator=(const HttpFront&) = delete;

  // Logs what cannot be served, and where it is.
  void start(const std::vector<std::string>& listen);

 private:
  struct Questions;
  std::shared_ptr<Questions> questions_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace zeropool::daemon
