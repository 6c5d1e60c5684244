#pragma once
// Aligned columns for a terminal, and numbers as people read them.
//
// Thread safety: values. Text from elsewhere is made harmless: control characters become '?'.

#include <cstdint>
#include <string>
#include <vector>

namespace zeropool::ctl {

enum class Align { kLeft, kRight };

class Table {
 public:
  struct Column {
    std::string title;
    Align align = Align::kRight;
  };
  explicit Table(std::vector<Column> columns);
  // Missing cells are empty, surplus ones are left out.
  void add(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  // The titles, then a line each row; no trailing blanks.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

std::string human_size(std::uint64_t bytes);        // 0 B, 1.50 GiB
std::string human_duration(std::uint64_t seconds);  // 45 s, 3 min, 5 h 12 min, 2 d 3 h
std::string human_percent(double part);             // 99.31%
std::string human_count(std::uint64_t count);       // 1,234,567

// Cuts nothing, but leaves no byte that a terminal would obey.
std::string printable(const std::string& text);

}  // namespace zeropool::ctl
