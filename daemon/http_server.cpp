#include "daemon/http_server.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "daemon/http_listen.hpp"
#include "daemon/http_listener.hpp"

namespace zeropool::daemon {
namespace {

bool names_every_ipv4(std::string_view address) { return address.starts_with("0.0.0.0:"); }

// Listeners that are being ended, which may take as long as the request that they answer: by threads of their own.
class Retirement {
 public:
  ~Retirement() {
    std::unique_lock lock(mutex_);
    none_.wait(lock, [this] { return under_way_ == 0; });
  }
  void retire(std::unique_ptr<HttpListener> listener) {
    {
      const std::lock_guard lock(mutex_);
      ++under_way_;
    }
    std::thread([this, old = std::move(listener)]() mutable {
      old.reset();
      const std::lock_guard lock(mutex_);
      --under_way_;
      none_.notify_all();
    }).detach();
  }

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  std::size_t under_way_ = 0;
};

}  // namespace

struct HttpServer::State {
  struct Place {
    std::string address;
    std::unique_ptr<HttpListener> listener;
  };

  std::vector<std::string> listen;
  HttpLimits limits;
  HttpService service;
  std::shared_ptr<HttpSecurity> security;
  std::vector<Place> places;
  Retirement retirement;  // ends first: listeners use what is above

  std::unique_ptr<HttpListener> serve(lib::UniqueFd& socket,
                                      const std::shared_ptr<HttpSecurity>& how) {
    return HttpListener::start(
        socket, service, how,
        {limits.connections, limits.timeout_seconds, limits.patience_seconds});
  }
};

HttpServer::HttpServer(std::vector<std::string> listen, HttpHandlers handlers, HttpLimits limits,
                       WebConfig web)
    : state_(std::make_unique<State>()) {
  state_->listen = std::move(listen);
  state_->service.handlers = std::move(handlers);
  state_->limits = limits;
  state_->security = std::make_shared<HttpSecurity>(std::move(web));
}

HttpServer::~HttpServer() = default;

std::vector<std::string> HttpServer::start() {
  std::vector<std::string> errors;
  const bool ipv6_only =
      std::any_of(state_->listen.begin(), state_->listen.end(), names_every_ipv4);
  for (const std::string& address : state_->listen) {
    ListenOutcome outcome = listen_on(address, ipv6_only);
    if (!outcome.error.empty()) errors.push_back(std::move(outcome.error));
    for (ListenSocket& socket : outcome.sockets) {
      std::unique_ptr<HttpListener> listener = state_->serve(socket.fd, state_->security);
      if (listener) {
        state_->places.push_back({std::move(socket.address), std::move(listener)});
      } else {
        errors.push_back("metrics.listen: cannot serve " + socket.address +
                         ": the HTTP server does not start; look at the limits of threads and "
                         "open files");
      }
    }
  }
  return errors;
}

std::vector<std::string> HttpServer::secure(WebConfig web) {
  std::vector<std::string> errors;
  auto wanted = std::make_shared<HttpSecurity>(std::move(web));
  for (State::Place& place : state_->places) {
    lib::UniqueFd socket = place.listener->retire();
    std::unique_ptr<HttpListener> next = state_->serve(socket, wanted);
    if (!next) {
      errors.push_back("cannot serve " + place.address + " by the new web configuration");
      next = state_->serve(socket, state_->security);
    }
    state_->retirement.retire(std::exchange(place.listener, std::move(next)));
  }
  std::erase_if(state_->places, [](const State::Place& place) { return !place.listener; });
  state_->security = std::move(wanted);
  return errors;
}

std::vector<std::string> HttpServer::bound_addresses() const {
  std::vector<std::string> addresses;
  for (const State::Place& place : state_->places) addresses.push_back(place.address);
  return addresses;
}

}  // namespace zeropool::daemon
