#pragma once
// Connections on the control socket: strangers until they have attached, bounded in number and patience.
//
// Thread safety: the loop thread's.
// Trust: a stranger can send anything, descriptors too: it is answered once with why not, counted, logged once
// a second at most, and dropped. A descriptor may come with an attach that is the first message only, and that a pidfd; nothing else is
// received or closed here (peer_message.hpp). While the Closer is full nobody is let in.

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "daemon/access.hpp"
#include "daemon/attach.hpp"
#include "daemon/closer.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/listener.hpp"
#include "daemon/logging.hpp"
#include "zeropool/lib/wire.hpp"

namespace zeropool::daemon {

struct SessionHooks {
  std::function<AttachOutcome(int socket, const Peer&, lib::Received&, std::uint64_t connected_ns)>
      attach;
  // Sends its reply itself. False: the connection is broken.
  std::function<bool(int socket, const Peer&, const lib::AdminRequest&)> administer;
  std::function<bool(const Peer&, const lib::ReattachRequest&)> reattach;
  std::function<void(std::uint32_t client)> detach;
  std::function<void(std::uint32_t client)> hung_up;
};

class Sessions {
 public:
  Sessions(EventLoop& loop, Closer& closer, SessionHooks hooks);
  ~Sessions();
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  bool listen(Listener& listener, std::uint32_t pending_limit, std::string& why);
  void stop_listening();
  void set_pending_limit(std::uint32_t limit) { pending_limit_ = limit; }
  // Closes the connection of a client that is gone.
  void client_gone(std::uint32_t client);

  // Attaches and messages refused, by error name.
  const std::map<std::string, std::uint64_t>& rejections() const { return rejections_; }

 private:
  struct Session {
    lib::UniqueFd fd;
    Peer peer;
    std::uint64_t connected_ns = 0;
    std::uint64_t heard_ns = 0;
    std::uint32_t client = 0;  // 0: not attached
    bool spoke = false;        // a message of it was received
    std::list<int>::iterator pending;
  };

  void accept_some();
  void pause_accepting(const std::string& why);
  void resume_accepting_soon();
  void admit(lib::UniqueFd fd);
  void read(int fd);
  // False: the session is over.
  bool handle(Session& session, lib::Received& message);
  bool handle_attach(Session& session, lib::Received& message);
  bool handle_reattach(Session& session, const lib::ReattachRequest& request);
  bool handle_detach(Session& session);
  void reject(const Session& session, lib::ErrorCode code, const std::string& sentence,
              bool answer);
  void close(int fd);
  void touch(Session& session);
  void drop_silent();
  void arm();

  EventLoop& loop_;
  Closer& closer_;
  SessionHooks hooks_;
  Listener* listener_ = nullptr;
  std::uint32_t pending_limit_ = 64;
  std::unordered_map<int, Session> sessions_;
  std::unordered_map<std::uint32_t, int> fd_of_client_;
  std::list<int> pending_;  // not attached: the one silent for longest first
  EventLoop::TimerId silence_timer_ = 0;
  EventLoop::TimerId pause_timer_ = 0;
  std::map<std::string, std::uint64_t> rejections_;
  LogGate gate_;
};

}  // namespace zeropool::daemon
