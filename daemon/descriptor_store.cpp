#include "daemon/descriptor_store.hpp"

#include <cstdlib>
#include <fcntl.h>

#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include "daemon/holder_client.hpp"

namespace zeropool::daemon {
namespace {

constexpr const char* kPrefix = "zeropool-";  // beside names that others may use (socket units)

class SystemdStore : public DescriptorStore {
 public:
  KeptDescriptors take() override {
    KeptDescriptors kept;
    char** names = nullptr;
    const int count = ::sd_listen_fds_with_names(0, &names);
    for (int i = 0; i < count; ++i) {
      const std::string name = names != nullptr && names[i] != nullptr ? names[i] : "";
      if (!is_kept_name(name)) continue;
      const int fd = SD_LISTEN_FDS_START + i;
      ::fcntl(fd, F_SETFD, FD_CLOEXEC);
      kept[name.substr(std::char_traits<char>::length(kPrefix))] = lib::UniqueFd(fd);
    }
    for (int i = 0; i < count && names != nullptr; ++i) std::free(names[i]);
    std::free(static_cast<void*>(names));
    return kept;
  }
  // FDPOLL=0: a pidfd is readable once its process has ended, and systemd drops what polls as hung up.
  void keep(const std::string& name, int fd) override {
    forget(name);
    send("FDSTORE=1\nFDPOLL=0\nFDNAME=" + (kPrefix + name), &fd, 1);
  }
  void forget(const std::string& name) override {
    send("FDSTOREREMOVE=1\nFDNAME=" + (kPrefix + name), nullptr, 0);
  }
  // systemd drops them when the unit stops, and keeps them through a restart.
  void end() override {}
  bool outlives_a_stop() const override { return true; }
  std::string describe() const override { return "systemd's descriptor store"; }

 private:
  static void send(const std::string& state, const int* fds, unsigned count) {
    if (::sd_pid_notify_with_fds(0, 0, state.c_str(), fds, count) < 0) {
      spdlog::warn("systemd did not take a message about a kept descriptor: {}", state);
    }
  }
};

bool systemd_offers_a_store() {
  const char* most = std::getenv("FDSTORE");
  return std::getenv("NOTIFY_SOCKET") != nullptr && most != nullptr && std::atoi(most) > 0;
}

std::string numbered(const char* what, std::uint32_t number) {
  return what + std::to_string(number);
}

}  // namespace

bool is_kept_name(const std::string& name) { return name.rfind(kPrefix, 0) == 0; }

std::string control_name(std::uint32_t pool) { return numbered("control-", pool); }
std::string data_name(std::uint32_t pool, std::uint32_t arena) {
  return numbered("data-", pool) + "-" + std::to_string(arena);
}
std::string doorbell_name(std::uint32_t pool) { return numbered("doorbell-", pool); }
std::string pidfd_name(std::uint32_t client) { return numbered("pidfd-", client); }
std::string wake_name(std::uint32_t client) { return numbered("wake-", client); }

std::unique_ptr<DescriptorStore> open_descriptor_store(const std::string& socket_path,
                                                       std::string& why) {
  if (systemd_offers_a_store()) return std::make_unique<SystemdStore>();
  return HolderClient::open(socket_path + ".holder", why);
}

}  // namespace zeropool::daemon
