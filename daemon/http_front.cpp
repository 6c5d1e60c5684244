#include "daemon/http_front.hpp"

#include <chrono>
#include <future>
#include <stdexcept>
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

}  // namespace

// Shared with the work that was sent to the loop, which may run after an HTTP thread has given up.
struct HttpFront::Questions : std::enable_shared_from_this<HttpFront::Questions> {
  Questions(EventLoop& in_loop, std::function<DaemonStatistics()> source,
            std::function<StatusView()> view)
      : loop(in_loop), statistics(std::move(source)), status_view(std::move(view)) {}

  EventLoop& loop;
  std::function<DaemonStatistics()> statistics;
  std::function<StatusView()> status_view;
  std::atomic<bool> closing{false};

  DaemonStatistics ask() { return answer_of(statistics); }
  StatusView ask_view() { return answer_of(status_view); }

  template <typename Answer>
  Answer answer_of(const std::function<Answer()>& question) {
    auto answer = std::make_shared<std::promise<Answer>>();
    std::future<Answer> ready = answer->get_future();
    loop.run_in_loop([self = shared_from_this(), &question, answer] {
      if (!self->closing.load()) answer->set_value(question());
    });
    for (auto waited = 0ms; waited < kPatience && !closing.load(); waited += kStep) {  // F1
      if (ready.wait_for(kStep) == std::future_status::ready) return ready.get();
    }
    throw std::runtime_error("the daemon is busy or stopping");
  }
};

HttpFront::HttpFront(EventLoop& loop, std::function<DaemonStatistics()> statistics,
                     std::function<StatusView()> status_view)
    : questions_(std::make_shared<Questions>(loop, std::move(statistics), std::move(status_view))) {
}

HttpFront::~HttpFront() { questions_->closing.store(true); }

void HttpFront::start(const std::vector<std::string>& listen) {
  if (listen.empty()) return;
  const std::shared_ptr<Questions> questions = questions_;
  auto collectable =
      std::make_shared<StatisticsCollectable>([questions] { return questions->ask(); });
  HttpHandlers handlers;
  handlers.metrics = [collectable] { return metrics_text(*collectable); };
  handlers.ready = [questions] { return questions->ask().state == "running"; };
  handlers.status_page = [questions] { return status_page(questions->ask_view()); };
  handlers.status_json = [questions] {
    return document_text(status_view_document(questions->ask_view()));
  };
  handlers.page_policy = status_page_policy();
  server_ = std::make_unique<HttpServer>(listen, std::move(handlers));
  for (const std::string& problem : server_->start()) spdlog::warn("metrics: {}", problem);
  for (const std::string& address : server_->bound_addresses()) {
    spdlog::info("metrics at http://{}/metrics", address);
  }
}

}  // namespace zeropool::daemon
