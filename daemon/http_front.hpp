#pragma once
// The HTTP server's questions: asked on its threads, answered by the loop's; and the web configuration that it is
// served by.
//
// Thread safety: the loop's thread; `snapshot` and `status_view` are called there only.
// Invariants:
//   F1  An HTTP thread waits 2 s at most, and not at all before running() and after stopping(): destruction never
//       deadlocks.
//   F2  After stopping() no HTTP thread looks at what a snapshot names.
//   F3  Nothing is served by a web configuration that cannot be read: before the first good one nothing at all, later by
//       the last good one.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/config.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/file_watch.hpp"
#include "daemon/http_server.hpp"
#include "daemon/statistics_snapshot.hpp"
#include "daemon/status_view.hpp"

namespace zeropool::daemon {

class HttpFront {
 public:
  HttpFront(EventLoop& loop, std::function<DaemonSnapshot()> snapshot,
            std::function<StatusView()> status_view, std::function<bool()> attaches_clients);
  ~HttpFront();
  HttpFront(const HttpFront&) = delete;
  HttpFront& operator=(const HttpFront&) = delete;

  // From now on it answers that the daemon is starting. Logs what cannot be served, and where it is.
  void start(const MetricsConfig& config);
  void running();
  void stopping();
  // The web configuration, if it has changed.
  void reread();

  std::vector<std::string> bound_addresses() const;

 private:
  struct Questions;
  HttpHandlers handlers() const;
  void serve(WebConfig web);
  void warn_of_openness(const WebConfig& web) const;

  EventLoop& loop_;
  MetricsConfig config_;
  std::shared_ptr<Questions> questions_;
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<FileWatch> files_;
  WebConfig web_;
  std::vector<std::string> complaints_;  // about the web configuration as it is now, said once
};

}  // namespace zeropool::daemon
