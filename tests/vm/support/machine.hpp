#pragma once
// The guest as scenes see and change it: nodes, where pages lie, where a thread runs, hugepages, free memory.
//
// Thread safety: where_pages_are is any thread's; the rest is for the scene's one thread.
// Errors: std::runtime_error that names the file or the call.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace zeropool::vm {

struct Node {
  std::uint32_t id = 0;
  std::vector<std::uint32_t> cpus;
  std::uint64_t memory_bytes = 0;
};
std::vector<Node> nodes();                             // online ones, by id
std::vector<Node> nodes_with(bool cpus, bool memory);  // those that have what is asked for

// How many pages of [at, at + bytes) lie on each node, a look at every `page_bytes`. Pages that nobody has touched in
// this process are touched by reading. Key -1: pages that the kernel says nothing about.
std::map<int, std::size_t> where_pages_are(const void* at, std::size_t bytes,
                                           std::size_t page_bytes = 4096);
bool all_on(const std::map<int, std::size_t>& pages, std::uint32_t node);
// "3 on node 0, 5 on node 1"
std::string describe(const std::map<int, std::size_t>& pages);

// This thread runs on that node's CPUs, on one CPU, or anywhere again.
void run_on(const Node& node);
void run_on_cpu(std::uint32_t cpu);
void run_anywhere();

std::uint64_t free_bytes(std::uint32_t node);  // MemFree
std::uint64_t minor_faults();                  // of this process, so far

// Sets a number in sysfs; its end puts back what was there. Read back: granted().
class Setting {
 public:
  Setting(std::string path, const std::string& value);
  ~Setting();
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;
  std::string granted() const;

 private:
  std::string path_;
  std::string before_;
};

// So many hugepages on that node while it lives.
class Hugepages {
 public:
  Hugepages(std::uint32_t node, std::uint64_t count, std::uint64_t page_bytes = 2 << 20);
  std::uint64_t granted() const;

 private:
  Setting setting_;
};
std::uint64_t free_hugepages(std::uint32_t node, std::uint64_t page_bytes = 2 << 20);

// Ordinary memory of a node, taken until so much of it is free.
class FullNode {
 public:
  FullNode(std::uint32_t node, std::uint64_t leave_bytes);
  ~FullNode();
  FullNode(const FullNode&) = delete;
  FullNode& operator=(const FullNode&) = delete;

 private:
  void* memory_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace zeropool::vm
