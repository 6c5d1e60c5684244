// zeropool_waiting_bench fairness SECONDS | growth | grant | async. Needs $ZEROPOOLD and $ZEROPOOLCTL; scripts/bench sets them.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "waiting_bench.hpp"

int main(int count, char** words) {
  try {
    if (count == 3 && std::strcmp(words[1], "fairness") == 0) {
      zeropool_bench::bench_fairness(std::chrono::seconds(std::atoi(words[2])));
    } else if (count == 2 && std::strcmp(words[1], "growth") == 0) {
      zeropool_bench::bench_growth();
    } else if (count == 2 && std::strcmp(words[1], "grant") == 0) {
      zeropool_bench::bench_grant();
    } else if (count == 2 && std::strcmp(words[1], "async") == 0) {
      zeropool_bench::bench_async();
    } else {
      std::fprintf(stderr,
                   "usage: zeropool_waiting_bench fairness SECONDS | growth | grant | async\n");
      return 2;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "zeropool_waiting_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
