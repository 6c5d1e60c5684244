#include "machine.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sched.h>
#include <sstream>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <zeropool/lib/topology.hpp>

namespace zeropool::vm {
namespace {

constexpr const char* kNodes = "/sys/devices/system/node/node";
constexpr int kBind = 2;  // MPOL_BIND

[[noreturn]] void refuse(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

// The one word of a file, or the one in brackets of several.
std::string read_word(const std::string& path) {
  std::ifstream file(path);
  std::string first;
  if (!(file >> first)) refuse(path);
  std::string word = first;
  do {
    if (word.front() == '[') return word.substr(1, word.size() - 2);
  } while (file >> word);
  return first;
}

std::uint64_t meminfo(std::uint32_t node, const std::string& key) {
  std::ifstream file(kNodes + std::to_string(node) + "/meminfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t at = line.find(key + ":");
    if (at == std::string::npos) continue;
    std::istringstream rest(line.substr(at + key.size() + 1));
    std::uint64_t kib = 0;
    rest >> kib;
    return kib << 10;
  }
  refuse("meminfo of node " + std::to_string(node) + ": " + key);
}

std::string hugepage_folder(std::uint32_t node, std::uint64_t page_bytes) {
  return kNodes + std::to_string(node) + "/hugepages/hugepages-" +
         std::to_string(page_bytes / 1024) + "kB/";
}

void set_affinity(const std::vector<std::uint32_t>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const std::uint32_t cpu : cpus) CPU_SET(cpu, &set);
  if (::sched_setaffinity(0, sizeof(set), &set) != 0) refuse("sched_setaffinity");
}

}  // namespace

std::vector<Node> nodes() {
  std::vector<Node> found;
  for (const lib::Topology::Node& from : lib::read_topology().nodes) {
    Node node;
    node.id = from.id;
    node.memory_bytes = from.memory_bytes;
    std::ifstream cpus(kNodes + std::to_string(from.id) + "/cpulist");
    std::string list;
    std::getline(cpus, list);
    node.cpus = lib::parse_cpu_list(list);
    found.push_back(std::move(node));
  }
  return found;
}

std::vector<Node> nodes_with(bool cpus, bool memory) {
  std::vector<Node> found = nodes();
  std::erase_if(found, [&](const Node& node) {
    return (cpus && node.cpus.empty()) || (memory && node.memory_bytes == 0);
  });
  return found;
}

std::map<int, std::size_t> where_pages_are(const void* at, std::size_t bytes,
                                           std::size_t page_bytes) {
  std::vector<void*> pages;
  for (std::size_t offset = 0; offset < bytes; offset += page_bytes) {
    auto* page = const_cast<std::byte*>(static_cast<const std::byte*>(at)) + offset;
    static_cast<void>(*static_cast<const volatile std::byte*>(page));  // into our page table
    pages.push_back(page);
  }
  std::vector<int> status(pages.size(), -1);
  if (::syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, status.data(), 0) != 0) {
    refuse("move_pages");
  }
  std::map<int, std::size_t> count;
  for (const int node : status) ++count[std::max(node, -1)];
  return count;
}

bool all_on(const std::map<int, std::size_t>& pages, std::uint32_t node) {
  return pages.size() == 1 && pages.begin()->first == static_cast<int>(node);
}

std::string describe(const std::map<int, std::size_t>& pages) {
  std::string text;
  for (const auto& [node, count] : pages) {
    text += (text.empty() ? "" : ", ") + std::to_string(count) +
            (node < 0 ? " nowhere" : " on node " + std::to_string(node));
  }
  return text;
}

void run_on(const Node& node) { set_affinity(node.cpus); }
void run_on_cpu(std::uint32_t cpu) { set_affinity({cpu}); }
void run_anywhere() {
  std::vector<std::uint32_t> all;
  for (const Node& node : nodes()) all.insert(all.end(), node.cpus.begin(), node.cpus.end());
  set_affinity(all);
}

std::uint64_t free_bytes(std::uint32_t node) { return meminfo(node, "MemFree"); }

std::uint64_t minor_faults() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_minflt);
}

Setting::Setting(std::string path, const std::string& value)
    : path_(std::move(path)), before_(read_word(path_)) {
  std::ofstream file(path_);
  if (!(file << value << std::flush)) refuse(path_);
}
Setting::~Setting() { std::ofstream(path_) << before_ << std::flush; }
std::string Setting::granted() const { return read_word(path_); }

Hugepages::Hugepages(std::uint32_t node, std::uint64_t count, std::uint64_t page_bytes)
    : setting_(hugepage_folder(node, page_bytes) + "nr_hugepages", std::to_string(count)) {}
std::uint64_t Hugepages::granted() const { return std::stoull(setting_.granted()); }

std::uint64_t free_hugepages(std::uint32_t node, std::uint64_t page_bytes) {
  return std::stoull(read_word(hugepage_folder(node, page_bytes) + "free_hugepages"));
}

FullNode::FullNode(std::uint32_t node, std::uint64_t leave_bytes) {
  const std::uint64_t free = free_bytes(node);
  bytes_ = free > leave_bytes ? (free - leave_bytes) / 4096 * 4096 : 0;
  if (bytes_ == 0) return;
  memory_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory_ == MAP_FAILED) refuse("mmap");
  const unsigned long mask = 1UL << node;
  if (::syscall(SYS_mbind, memory_, bytes_, kBind, &mask, sizeof(mask) * 8, 0) != 0) {
    refuse("mbind");
  }
  std::memset(memory_, 1, bytes_);
}

FullNode::~FullNode() {
  if (memory_ != nullptr) ::munmap(memory_, bytes_);
}

}  // namespace zeropool::vm
