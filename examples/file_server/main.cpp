// Sends the files of a folder over TCP, read by io_uring into buffers of a pool. README.md; docs/event-loops.md.

#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>

#include <zeropool/zeropool.hpp>

#include "file_server/chunks.hpp"
#include "file_server/folder.hpp"
#include "file_server/ring.hpp"
#include "file_server/server.hpp"

namespace {

constexpr int kNoUring = 77;

struct Options {
  std::string folder;
  unsigned short port = 0;
  std::string pool;
  std::string socket;
  std::size_t chunk_bytes = 64 * 1024;
  bool heap = false;
};

// A descriptor for a client, and one for its file.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int run(const Options& options) {
  boost::asio::io_context context(1);
  file_server::Ring ring(context.get_executor());
  file_server::Folder folder(options.folder, ring);
  std::optional<file_server::Chunks> chunks;
  if (options.heap) {
    chunks.emplace(options.chunk_bytes);
  } else {
    zeropool::OpenOptions open;
    open.socket = options.socket;
    open.direct_io = true;  // the kernel reads into its buffers, also when it has been killed
    auto pool = zeropool::Pool::open(options.pool, open);
    if (!pool) {
      std::fprintf(stderr, "file_server: %s\n", pool.error().sentence.c_str());
      return 1;
    }
    chunks.emplace(options.chunk_bytes, context, *pool, ring);
  }
  file_server::Server server(context, options.port, folder, *chunks);
  std::printf("port %u, %zu buffers registered\n", server.port(), chunks->registered());
  std::fflush(stdout);
  server.run();
  const file_server::Served& served = server.served();
  std::printf("%llu files, %llu bytes, %llu read again, %llu clients hung up on\n",
              static_cast<unsigned long long>(served.files),
              static_cast<unsigned long long>(served.bytes),
              static_cast<unsigned long long>(served.again),
              static_cast<unsigned long long>(served.failed));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Sends the files of a folder over TCP: a line with a name brings \"OK BYTES\" and the file.");
  app.add_option("folder", options.folder, "where the files are; nothing else is sent")->required();
  app.add_option("--port", options.port, "of 127.0.0.1; 0: one that is free");
  app.add_option("--pool", options.pool, "its name; the daemon's only one unless given");
  app.add_option("--socket", options.socket, "of zeropoold");
  app.add_option("--chunk", options.chunk_bytes, "bytes that are read at a time")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(file_server::kAlignment, std::size_t{1} << 24));
  app.add_flag("--heap", options.heap, "std::vector in place of a pool's buffers, for comparison");
  CLI11_PARSE(app, argc, argv);
  if (options.chunk_bytes % file_server::kAlignment != 0) {
    std::fprintf(stderr, "file_server: --chunk is to be a multiple of 4096\n");
    return 2;
  }
  if (const std::string why = file_server::Ring::why_not(); !why.empty()) {
    std::fprintf(stderr,
                 "file_server: no io_uring here (a container's seccomp profile, "
                 "kernel.io_uring_disabled, or an old kernel): %s\n",
                 why.c_str());
    return kNoUring;
  }
  raise_descriptor_limit();
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "file_server: %s\n", error.what());
    return 1;
  }
}
