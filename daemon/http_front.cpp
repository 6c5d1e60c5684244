#include "daemon/http_front.hpp"

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>
#include <utility>

#include <spdlog/spdlog.h>

#include "daemon/admin_json.hpp"
#include "daemon/exporter.hpp"
#include "daemon/status_page.hpp"

namespace zeropool::daemon {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 2s;
constexpr auto kStep = 20ms;

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address.starts_with("[::1]:");
}

enum class Phase { kStarting, kRunning, kStopping };

}  // namespace

// Shared with the work that was sent to the loop, which may run after an HTTP thread has given up.
struct HttpFront::Questions : std::enable_shared_from_this<HttpFront::Questions> {
  Questions(EventLoop& in_loop, std::function<DaemonSnapshot()> source,
            std::function<StatusView()> view, std::function<bool()> attaches)
      : loop(in_loop),
        snapshot(std::move(source)),
        status_view(std::move(view)),
        attaches_clients(std::move(attaches)) {}

  EventLoop& loop;
  std::function<DaemonSnapshot()> snapshot;
  std::function<StatusView()> status_view;
  std::function<bool()> attaches_clients;
  std::mutex mutex;  // while the phase changes, work is sent, or a snapshot is completed (F2)
  std::atomic<Phase> phase{Phase::kStarting};

  void expect_running() const {
    const Phase now = phase.load();
    if (now == Phase::kRunning) return;
    throw Unavailable(now == Phase::kStarting ? "the daemon is starting"
                                              : "the daemon is stopping");
  }

  // What `work` makes on the loop's thread.
  template <typename Work>
  auto on_loop(Work work) -> decltype(work()) {
    auto answer = std::make_shared<std::promise<decltype(work())>>();
    auto ready = answer->get_future();
    {
      const std::lock_guard lock(mutex);
      expect_running();  // so the loop lives
      loop.run_in_loop([self = shared_from_this(), answer, work] {
        // The loop's thread changes the phase, and waits for nobody here.
        if (self->phase.load() == Phase::kRunning) answer->set_value(work());
      });
    }
    for (auto waited = 0ms; waited < kPatience; waited += kStep) {  // F1
      if (ready.wait_for(kStep) == std::future_status::ready) return ready.get();
      expect_running();
    }
    throw Unavailable("the daemon is busy");
  }

  DaemonStatistics ask() {
    DaemonSnapshot taken = on_loop([this] { return snapshot(); });
    const std::lock_guard lock(mutex);
    expect_running();
    return complete(std::move(taken));
  }

  StatusView ask_view() {
    return on_loop([this] { return status_view(); });
  }

  bool ready() {
    return on_loop([this] { return attaches_clients(); });
  }

  void enter(Phase next) {
    const std::lock_guard lock(mutex);
    phase.store(next);
  }
};

HttpFront::HttpFront(EventLoop& loop, std::function<DaemonSnapshot()> snapshot,
                     std::function<StatusView()> status_view,
                     std::function<bool()> attaches_clients)
    : loop_(loop),
      questions_(std::make_shared<Questions>(loop, std::move(snapshot), std::move(status_view),
                                             std::move(attaches_clients))) {}

HttpFront::~HttpFront() { stopping(); }

void HttpFront::running() { questions_->enter(Phase::kRunning); }

void HttpFront::stopping() { questions_->enter(Phase::kStopping); }

HttpHandlers HttpFront::handlers() const {
  const std::shared_ptr<Questions> questions = questions_;
  auto collectable =
      std::make_shared<StatisticsCollectable>([questions] { return questions->ask(); });
  HttpHandlers handlers;
  handlers.metrics = [collectable](MetricsFormat format) {
    return metrics_text(*collectable, format);
  };
  handlers.ready = [questions] { return questions->ready(); };
  handlers.status_page = [questions] { return status_page(questions->ask_view()); };
  handlers.status_json = [questions] {
    return document_text(status_view_document(questions->ask_view()));
  };
  handlers.page_policy = status_page_policy();
  return handlers;
}

void HttpFront::start(const MetricsConfig& config) {
  config_ = config;
  if (config.listen.empty()) return;
  if (!config.web_config) return serve({});
  files_ = std::make_unique<FileWatch>(loop_, [this] { reread(); });
  reread();
  if (!server_) {
    spdlog::warn("metrics: not served before {} is mended", *config.web_config);  // F3
  }
}

void HttpFront::serve(WebConfig web) {
  server_ = std::make_unique<HttpServer>(config_.listen, handlers(), HttpLimits{}, web);
  for (const std::string& problem : server_->start()) spdlog::warn("metrics: {}", problem);
  for (const std::string& address : server_->bound_addresses()) {
    spdlog::info("metrics at {}://{}/metrics", web.tls ? "https" : "http", address);
  }
  warn_of_openness(web);
  web_ = std::move(web);
}

void HttpFront::warn_of_openness(const WebConfig& web) const {
  if (web.authenticates()) return;
  for (const std::string& address : server_->bound_addresses()) {
    if (is_loopback(address)) continue;
    spdlog::warn(
        "metrics: whoever reaches {} can read the metrics, names of clients included; listen on a "
        "loopback address, or give metrics.web_config users (docs/metrics.md)",
        address);
  }
}

void HttpFront::reread() {
  if (!files_) return;
  WebConfigOutcome outcome = load_web_config(*config_.web_config);
  std::vector<std::string> complaints = files_->watch(outcome.files);
  for (const ConfigError& error : outcome.errors) complaints.push_back(error.to_string());
  if (complaints != complaints_) {
    for (const std::string& complaint : complaints)
      spdlog::error("metrics.web_config: {}", complaint);
    if (!outcome.config && server_) {
      spdlog::warn("metrics: still served by the web configuration of before");
    }
  }
  complaints_ = std::move(complaints);
  if (!outcome.config) return;
  if (!server_) return serve(*std::move(outcome.config));
  if (*outcome.config == web_) return;
  for (const std::string& problem : server_->secure(*outcome.config))
    spdlog::error("metrics: {}", problem);
  spdlog::info("metrics: served by the changed web configuration ({}, {} users)",
               outcome.config->tls ? "TLS" : "no TLS", outcome.config->users.size());
  warn_of_openness(*outcome.config);
  web_ = *std::move(outcome.config);
}

std::vector<std::string> HttpFront::bound_addresses() const {
  return server_ ? server_->bound_addresses() : std::vector<std::string>();
}

}  // namespace zeropool::daemon
