#pragma once
// What waiting costs, each printed as one line or two.
//
// Errors: exceptions, with a sentence.

#include <chrono>

namespace zeropool_bench {

// Sixteen greedy clients on a spent budget.
void bench_fairness(std::chrono::seconds time);
// P8: how fast memory comes, and how long gets take while demand grows at half of that.
void bench_growth();
// P9: from an order to its grant, orderer and daemon asleep.
void bench_grant();
// P16: an async hit beside a sync one, and the way from a put to the coroutine that waits in another process.
void bench_async();

}  // namespace zeropool_bench
