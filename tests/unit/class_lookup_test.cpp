#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <zeropool/lib/class_lookup.hpp>

using namespace zeropool::lib;

namespace {

std::uint32_t by_search(const std::vector<std::uint64_t>& classes, std::uint64_t bytes) {
  std::uint32_t c = 0;
  while (classes[c] < bytes) ++c;
  return c;
}

// Sizes whose class the table tells wrong.
std::uint64_t wrong_answers(const std::vector<std::uint64_t>& classes, const ClassLookup& lookup,
                            std::mt19937_64& random) {
  std::vector<std::uint64_t> sizes = {1, 2, 63, 64, 65, classes.back()};
  for (const std::uint64_t bytes : classes) {
    for (std::uint64_t d = 0; d <= 130; ++d) {
      sizes.push_back(bytes + d);
      if (bytes > d) sizes.push_back(bytes - d);
    }
  }
  for (int i = 0; i < 500; ++i) sizes.push_back(random() % classes.back() + 1);
  std::uint64_t wrong = 0;
  for (const std::uint64_t bytes : sizes) {
    const bool served = bytes >= 1 && bytes <= classes.back();
    if (lookup.serves(bytes) != served) ++wrong;
    if (served && lookup.class_of(bytes) != by_search(classes, bytes)) ++wrong;
  }
  return wrong;
}

// Told apart by definition: no two boundaries (but the last) fall inside one bucket of 9 bits.
bool far_enough(const std::vector<std::uint64_t>& classes) {
  for (std::size_t i = 1; i < classes.size(); ++i) {
    if ((classes[i] - classes[i - 1]) * 512 < classes[i] + 512 * kClassGranule) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("random class sets answer as a linear search does") {
  std::mt19937_64 random(20);
  std::uint64_t built = 0;
  std::uint64_t refused_though_far = 0;
  for (int set = 0; set < 3000; ++set) {
    std::vector<std::uint64_t> classes;
    const std::size_t count = random() % kMaxClasses + 1;
    while (classes.size() < count) {
      const std::uint64_t magnitude = std::uint64_t{64} << (random() % 25);
      classes.push_back(
          std::min<std::uint64_t>((random() % magnitude / 64 + 1) * 64, kMaxClassBytes));
    }
    std::sort(classes.begin(), classes.end());
    classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
    ClassLookup lookup;
    std::uint32_t near_class = 0;
    if (!ClassLookup::build(classes, lookup, near_class)) {
      CHECK(near_class < classes.size());
      if (far_enough(classes)) ++refused_though_far;
      continue;
    }
    ++built;
    REQUIRE(wrong_answers(classes, lookup, random) == 0);
  }
  CHECK(built > 500);
  CHECK(refused_though_far == 0);
}

TEST_CASE("every size of a small class set answers as a linear search does") {
  std::mt19937_64 random(5);
  for (int set = 0; set < 50; ++set) {
    std::vector<std::uint64_t> classes;
    for (int i = 0; i < 8; ++i) classes.push_back((random() % 300 + 1) * 64);
    std::sort(classes.begin(), classes.end());
    classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
    ClassLookup lookup;
    std::uint32_t near_class = 0;
    if (!ClassLookup::build(classes, lookup, near_class)) continue;
    std::uint64_t wrong = 0;
    for (std::uint64_t bytes = 1; bytes <= classes.back(); ++bytes) {
      if (lookup.class_of(bytes) != by_search(classes, bytes)) ++wrong;
    }
    REQUIRE(wrong == 0);
  }
}

TEST_CASE("32 classes of neighbours 1/512 apart are told apart, nearer ones are named") {
  std::mt19937_64 random(7);
  std::vector<std::uint64_t> classes;
  for (std::uint64_t i = 0; i < kMaxClasses; ++i)
    classes.push_back((std::uint64_t{1} << 20) + i * 2048);
  ClassLookup lookup;
  std::uint32_t near_class = 0;
  REQUIRE(ClassLookup::build(classes, lookup, near_class));
  CHECK(wrong_answers(classes, lookup, random) == 0);
  classes = {std::uint64_t{1} << 20, (std::uint64_t{1} << 29) + 64, (std::uint64_t{1} << 29) + 128,
             (std::uint64_t{1} << 29) + 192, kMaxClassBytes};
  CHECK_FALSE(ClassLookup::build(classes, lookup, near_class));
  CHECK(near_class == 1);
}

TEST_CASE("the smallest, the largest and a single class work") {
  for (const std::vector<std::uint64_t>& classes :
       {std::vector<std::uint64_t>{64}, {kMaxClassBytes}, {64, kMaxClassBytes}, {4096}}) {
    std::mt19937_64 random(1);
    ClassLookup lookup;
    std::uint32_t near_class = 0;
    REQUIRE(ClassLookup::build(classes, lookup, near_class));
    CHECK(wrong_answers(classes, lookup, random) == 0);
    CHECK_FALSE(lookup.serves(0));
    CHECK_FALSE(lookup.serves(classes.back() + 1));
    CHECK_FALSE(lookup.serves(~std::uint64_t{0}));
  }
}

TEST_CASE("what is no class set is refused, not indexed") {
  ClassLookup lookup;
  std::uint32_t near_class = 0;
  CHECK_FALSE(ClassLookup::build({}, lookup, near_class));
  for (const std::vector<std::uint64_t>& classes : {std::vector<std::uint64_t>{0},
                                                    {100},
                                                    {kMaxClassBytes + 64},
                                                    {~std::uint64_t{0} - 63},
                                                    {8192, 4096},
                                                    {4096, 4096},
                                                    std::vector<std::uint64_t>(33, 4096)}) {
    CHECK_FALSE(ClassLookup::build(classes, lookup, near_class));
  }
}
