// A program of somebody else: opens a pool where no daemon is, and expects to be told so.
#include <cstdio>
#include <string>
#include <type_traits>

#include <zeropool.h>
#include <zeropool/zeropool.hpp>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: consumer SOCKET\n");
    return 2;
  }
  zeropool::OpenOptions options;
  options.socket = argv[1];
  const auto pool = zeropool::Pool::open("frames", options);
  if (pool) {
    std::fprintf(stderr, "opened a pool where there is no daemon\n");
    return 1;
  }
  const auto error = pool.error();
  using Code = std::remove_cvref_t<decltype(error.code)>;
  const std::string sentence{error.sentence};
  std::printf("%s\n", sentence.c_str());
  if (error.code != Code::no_daemon || sentence.find(argv[1]) == std::string::npos) {
    std::fprintf(stderr, "not the error no_daemon, or it does not name the socket\n");
    return 1;
  }
  return 0;
}
