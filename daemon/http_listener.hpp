#pragma once
// One listening address, served by a thread of libmicrohttpd.
//
// Thread safety: made, stopped and destroyed by one thread; requests are answered on the listener's own.

#include <functional>
#include <memory>
#include <microhttpd.h>
#include <mutex>
#include <string>

#include "daemon/basic_auth.hpp"
#include "daemon/http_connections.hpp"
#include "daemon/http_reply.hpp"
#include "daemon/web_config.hpp"
#include "zeropool/lib/unique_fd.hpp"

namespace zeropool::daemon {

// What all listeners of a server share.
struct HttpService {
  HttpHandlers handlers;
  std::mutex mutex;  // one handler at a time
};

// How they are secured: one object for each WebConfig.
struct HttpSecurity {
  explicit HttpSecurity(WebConfig config);
  const WebConfig web;
  BasicAuth passwords;
  std::string priorities;  // of TLS
};

class HttpListener {
 public:
  struct Limits {
    unsigned connections;
    unsigned timeout_seconds;
    unsigned patience_seconds;
  };
  // Takes `socket` over when it succeeds. Null: the server does not start, the socket is as it was.
  static std::unique_ptr<HttpListener> start(lib::UniqueFd& socket, HttpService& service,
                                             std::shared_ptr<HttpSecurity> security, Limits limits);
  ~HttpListener();  // waits for the request that is being answered
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;

  // Accepts nobody any more, and gives the socket back; who is connected stays.
  lib::UniqueFd retire();

 private:
  HttpListener(HttpService& service, std::shared_ptr<HttpSecurity> security, Limits limits);
  static MHD_Result handle(void* self, MHD_Connection* connection, const char* path,
                           const char* method, const char* version, const char* upload,
                           std::size_t* upload_bytes, void** request);
  static void connection_changed(void* self, MHD_Connection* connection, void** context,
                                 MHD_ConnectionNotificationCode what);
  static void request_ended(void* self, MHD_Connection* connection, void** request,
                            MHD_RequestTerminationCode how);
  HttpReply reply(MHD_Connection* connection, const char* method, const char* path);
  MHD_Result send(MHD_Connection* connection, const HttpReply& reply) const;

  HttpService& service_;
  std::shared_ptr<HttpSecurity> security_;
  HttpConnections connections_;
  lib::UniqueFd socket_;
  MHD_Daemon* daemon_ = nullptr;
};

}  // namespace zeropool::daemon
