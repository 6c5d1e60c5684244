#include "file_crowd.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <deque>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

#include "pattern.hpp"
#include "program.hpp"

namespace zeropool::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBacklog = 64;  // connections begun at a time

constexpr int kSmallBuffer = 16 * 1024;  // what the kernel takes for a client that does not read

int connect_to(std::uint16_t port, int flags, int receive_buffer = 0) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "socket");
  if (receive_buffer > 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 &&
      errno != EINPROGRESS) {
    const int error = errno;
    ::close(fd);
    throw std::system_error(error, std::generic_category(), "connect");
  }
  return fd;
}

enum class Habit { kReads, kDeaf, kQuits };

struct Client {
  int fd = -1;
  Habit habit = Habit::kReads;
  std::size_t left = 0;  // files that it will still ask for
  const FileSet::Item* item = nullptr;
  std::string header;  // as far as it has come
  bool headed = false;
  std::size_t received = 0;
  Clock::time_point asked;
};

class Crowd {
 public:
  Crowd(std::uint16_t port, const FileSet& files, const CrowdPlan& plan)
      : port_(port), files_(files), clients_(plan.clients), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      clients_[i].habit = i < plan.deaf                   ? Habit::kDeaf
                          : i < plan.deaf + plan.quitters ? Habit::kQuits
                                                          : Habit::kReads;
      clients_[i].left = clients_[i].habit == Habit::kReads ? plan.files : 1;
    }
    deaf_ = plan.deaf;
  }
  ~Crowd() {
    for (Client& client : clients_) {
      if (client.fd >= 0) ::close(client.fd);
    }
    ::close(epoll_);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  CrowdReport run(std::chrono::seconds limit) {
    auto begin = Clock::now();
    const auto deadline = begin + limit;
    std::size_t begun = 0;
    while (connected_ < clients_.size() && Clock::now() < deadline) {
      // As many at a time as who listens surely keeps.
      while (begun < clients_.size() && begun - connected_ < kBacklog) connect(clients_[begun++]);
      turn(100);
    }
    report_.most_at_once = connected_;
    begin = Clock::now();
    for (Client& client : clients_) {
      if (client.fd >= 0) ask(client);
    }
    while (ended_ < clients_.size() && Clock::now() < deadline) {
      turn(100);
      if (!deaf_read_ && ended_ + deaf_ >= clients_.size()) {
        deaf_read_ = true;
        for (Client& client : clients_) {
          if (client.habit == Habit::kDeaf && client.fd >= 0) watch(client, EPOLLIN, EPOLL_CTL_MOD);
        }
      }
    }
    report_.unfinished = clients_.size() - ended_;
    report_.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    return report_;
  }

 private:
  void connect(Client& client) {
    client.fd = connect_to(port_, SOCK_NONBLOCK, client.habit == Habit::kDeaf ? kSmallBuffer : 0);
    watch(client, EPOLLOUT, EPOLL_CTL_ADD);
  }
  void watch(Client& client, std::uint32_t events, int operation) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &client;
    ::epoll_ctl(epoll_, operation, client.fd, &event);
  }
  void end(Client& client) {
    ::close(client.fd);
    client.fd = -1;
    ++ended_;
  }
  void turn(int wait_ms) {
    epoll_event events[256];
    const int count = ::epoll_wait(epoll_, events, 256, wait_ms);
    for (int i = 0; i < count; ++i) {
      Client& client = *static_cast<Client*>(events[i].data.ptr);
      if (client.item == nullptr) {  // connected, or refused
        ++connected_;
        watch(client, 0, EPOLL_CTL_MOD);
        if ((events[i].events & EPOLLERR) != 0) {
          ++report_.refused;
          end(client);
        }
      } else if (client.habit != Habit::kDeaf || deaf_read_) {
        read(client);
      } else if ((events[i].events & (EPOLLHUP | EPOLLERR)) != 0) {
        ++report_.refused;
        end(client);
      }
    }
  }
  void ask(Client& client) {
    const auto& items = files_.items();
    client.item =
        client.habit == Habit::kReads ? &items[random_.below(items.size())] : &files_.largest();
    const std::string line = client.item->name + "\n";
    client.header.clear();
    client.headed = false;
    client.received = 0;
    client.asked = Clock::now();
    if (::send(client.fd, line.data(), line.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(line.size())) {
      ++report_.refused;
      end(client);
      return;
    }
    watch(client, client.habit == Habit::kDeaf ? 0u : std::uint32_t{EPOLLIN}, EPOLL_CTL_MOD);
  }
  void read(Client& client) {
    const ssize_t got = ::recv(client.fd, room_.data(), room_.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
      ++report_.refused;
      end(client);
      return;
    }
    std::size_t at = 0;
    while (!client.headed && at < static_cast<std::size_t>(got)) {
      const char letter = room_[at++];
      client.header += letter;
      client.headed = letter == '\n';
    }
    if (!client.headed) return;
    const std::string& wanted = client.item->bytes;
    const std::size_t count = static_cast<std::size_t>(got) - at;
    if (client.header != "OK " + std::to_string(wanted.size()) + "\n" ||
        count > wanted.size() - client.received ||
        std::memcmp(room_.data() + at, wanted.data() + client.received, count) != 0) {
      ++report_.wrong;
      end(client);
      return;
    }
    client.received += count;
    report_.bytes += count;
    if (client.habit == Habit::kQuits && client.received > 0) {
      // With bytes unread: the server gets a reset, at whatever point it is.
      end(client);
      return;
    }
    if (client.received < wanted.size()) return;
    ++report_.files;
    if (client.habit == Habit::kReads) {
      report_.file_ms.push_back(
          std::chrono::duration<float, std::milli>(Clock::now() - client.asked).count());
    }
    if (--client.left == 0) {
      end(client);
    } else {
      ask(client);
    }
  }

  std::uint16_t port_;
  const FileSet& files_;
  std::vector<Client> clients_;
  int epoll_;
  CrowdReport report_;
  std::size_t ended_ = 0;
  std::size_t connected_ = 0;
  std::size_t deaf_ = 0;
  bool deaf_read_ = false;
  Random random_{7};
  std::vector<char> room_ = std::vector<char>(256 * 1024);
};

}  // namespace

FileSet::FileSet(const std::string& folder, std::size_t more, std::size_t most_bytes) {
  Random random(11);
  std::vector<std::size_t> sizes = {0, 1, 4095, 4096, 4097, 65535, 65536, 65537, most_bytes};
  for (std::size_t i = 0; i < more; ++i) sizes.push_back(random.below(most_bytes));
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    Item item{"file-" + std::to_string(i), std::string(sizes[i], 0)};
    for (std::size_t at = 0; at < sizes[i]; at += sizeof(std::uint64_t)) {
      const std::uint64_t word = random();
      std::memcpy(item.bytes.data() + at, &word, std::min(sizeof(word), sizes[i] - at));
    }
    write_file(folder + "/" + item.name, item.bytes);
    items_.push_back(std::move(item));
  }
}

const FileSet::Item& FileSet::largest() const {
  return *std::max_element(items_.begin(), items_.end(), [](const Item& left, const Item& right) {
    return left.bytes.size() < right.bytes.size();
  });
}

CrowdReport run_crowd(std::uint16_t port, const FileSet& files, const CrowdPlan& plan) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  return Crowd(port, files, plan).run(plan.limit);
}

std::string ask(std::uint16_t port, const std::string& line) {
  const int fd = connect_to(port, 0);
  const timeval patience{10, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  std::string answer;
  if (::send(fd, line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size())) {
    ::shutdown(fd, SHUT_WR);  // so that it hangs up after the answer
    char room[4096];
    for (ssize_t got; (got = ::recv(fd, room, sizeof(room), 0)) > 0;) {
      answer.append(room, static_cast<std::size_t>(got));
    }
  }
  ::close(fd);
  return answer;
}

}  // namespace zeropool::testing
