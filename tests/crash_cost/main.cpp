// zeropool_crash_bench reclaim | daemon-kills. Needs $ZEROPOOLD and $ZEROPOOLCTL; scripts/bench --crash sets them.

#include <cstdio>
#include <cstring>
#include <exception>

#include "crash_bench.hpp"

int main(int count, char** words) {
  try {
    if (count == 2 && std::strcmp(words[1], "reclaim") == 0) {
      zeropool_bench::bench_reclaim();
    } else if (count == 2 && std::strcmp(words[1], "daemon-kills") == 0) {
      zeropool_bench::bench_daemon_kills();
    } else {
      std::fprintf(stderr, "usage: zeropool_crash_bench reclaim | daemon-kills\n");
      return 2;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "zeropool_crash_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
