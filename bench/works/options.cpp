#include "options.hpp"

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace zeropool_bench {
namespace {

std::string program = "bench";

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "usage: %s WORK [--bytes N] [--seconds S] [--cpus A,B,...] [--variant WORD]\n"
               "prints one line of JSON: the work's figure, and the probe's where there is one\n",
               program.c_str());
  std::exit(2);
}

}  // namespace

Options read_options(int argc, char** argv) {
  program = argv[0];
  if (argc < 2) usage();
  Options options;
  options.work = argv[1];
  for (int i = 2; i < argc; i += 2) {
    if (i + 1 >= argc) usage();
    const std::string name = argv[i];
    const std::string value = argv[i + 1];
    char* end = nullptr;
    if (name == "--bytes") {
      options.bytes = std::strtoull(value.c_str(), &end, 10);
      if (*end != 0 || options.bytes == 0) usage();
    } else if (name == "--seconds") {
      options.seconds = std::strtod(value.c_str(), &end);
      if (*end != 0 || options.seconds <= 0) usage();
    } else if (name == "--cpus") {
      std::istringstream words(value);
      for (std::string word; std::getline(words, word, ',');) {
        options.cpus.push_back(static_cast<int>(std::strtol(word.c_str(), &end, 10)));
        if (word.empty() || *end != 0) usage();
      }
    } else if (name == "--variant") {
      options.variant = value;
    } else {
      usage();
    }
  }
  if (options.cpus.empty()) options.cpus.push_back(0);
  return options;
}

void fail(const std::string& sentence) {
  std::fprintf(stderr, "%s: %s\n", program.c_str(), sentence.c_str());
  std::_Exit(1);
}

void impossible(const std::string& sentence) {
  std::fprintf(stderr, "%s: %s\n", program.c_str(), sentence.c_str());
  std::_Exit(kImpossible);
}

}  // namespace zeropool_bench
