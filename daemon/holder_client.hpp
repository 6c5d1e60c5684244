#pragma once
// The daemon's side of the holder.
//
// Thread safety: the loop thread's.
// Crash safety: a message is in the holder's queue when keep() returns, whatever happens to the daemon then.

#include <map>
#include <memory>
#include <string>

#include "daemon/descriptor_store.hpp"
#include "daemon/holder.hpp"

namespace zeropool::daemon {

class HolderClient : public DescriptorStore {
 public:
  // Connects to the holder at `path`, or starts one there. Null: `why`.
  static std::unique_ptr<HolderClient> open(const std::string& path, std::string& why);

  KeptDescriptors take() override;
  void keep(const std::string& name, int fd) override;
  void forget(const std::string& name) override;
  void end() override;
  int fd() const override { return socket_.get(); }
  // A new holder in place of one that was killed, with all that it had.
  void renew() override;
  std::string describe() const override { return "the holder at " + path_; }

 private:
  explicit HolderClient(std::string path) : path_(std::move(path)) {}
  bool connect();
  bool send(HolderOp op, const std::string& name, int fd);

  std::string path_;
  lib::UniqueFd socket_;
  std::map<std::string, int> kept_;  // whose descriptors are the daemon's own
};

}  // namespace zeropool::daemon
