#include <algorithm>
#include <clocale>
#include <string>

#include <doctest/doctest.h>

#include "ctl/display_text.hpp"
#include "ctl/top_screen.hpp"
#include "daemon/admin_json.hpp"
#include "daemon/status_view.hpp"
#include "tests/unit/statistics_example.hpp"

// zeropoolctl is a program and no library: what is tested is compiled in here.
#include "ctl/display_text.cpp"  // NOLINT(bugprone-suspicious-include)
#include "ctl/top_rows.cpp"      // NOLINT(bugprone-suspicious-include)
#include "ctl/top_screen.cpp"    // NOLINT(bugprone-suspicious-include)

namespace zeropool::ctl {
namespace {

nlohmann::json view_of(daemon::DaemonStatistics statistics, std::uint64_t second) {
  return nlohmann::json::parse(daemon::document_text(daemon::status_view_document(
      {std::move(statistics), nullptr, {1'700'000'000 + second, second * 1'000'000'000}, "host"})));
}

// Without what only a terminal sees.
std::size_t columns_of(const std::string& line) {
  std::string text;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      i = line.find('m', i);
    } else {
      text += line[i];
    }
  }
  return displayed(text, text.size()).columns;
}

}  // namespace

TEST_CASE("text is cut by columns, and no byte is left that a terminal obeys") {
  std::setlocale(LC_CTYPE, "C.UTF-8");
  CHECK(displayed("plain", 10).text == "plain");
  CHECK(displayed("plain", 5).text == "plain");
  CHECK(displayed("plain", 4).text == "pla~");
  CHECK(displayed("plain", 0).text.empty());
  CHECK(displayed("摄像机", 6).columns == 6);
  CHECK(displayed("摄像机", 5).text == "摄像~");
  CHECK(displayed("摄像机", 4).text == "摄~");
  CHECK(displayed("e\xcc\x81t", 2).columns == 2);  // the accent takes none
  CHECK(displayed("a\x1b[31m\xc2\x9b\xff\n", 20).text == "a?[31m???");
  std::setlocale(LC_CTYPE, "C");
  CHECK(displayed("gr\xc3\xb6\xc3\x9f"
                  "er",
                  20)
            .text == "gr????er");
  CHECK(displayed(std::string("a\0b", 3), 20).text == "a?b");
}

TEST_CASE("rates are of the time between two looks at the same daemon") {
  daemon::DaemonStatistics statistics = test::example_statistics();
  const nlohmann::json before = view_of(statistics, 10);
  statistics.pools[0].rings[0].tls_hits += 3000;
  statistics.pools[0].rings[0].allocations += 1000;
  const nlohmann::json now = view_of(statistics, 12);
  const TopList pools = top_list(TopView::kPools, now, before);
  CHECK(pools.rows[0][2].text == "2000");
  CHECK(pools.rows[0][3].text == "75.00%");
  CHECK(pools.rows[1][2].text == "0");
  CHECK(pools.rows[1][3].text != "-");  // nothing was got: of all that was
  CHECK(top_list(TopView::kClasses, now, before).rows[0][2].text == "2000");
  CHECK(top_list(TopView::kPools, now, nlohmann::json()).rows[0][2].text == "-");
  nlohmann::json other = before;
  other["started_unix_seconds"] = 1;
  CHECK(top_list(TopView::kPools, now, other).rows[0][2].text == "-");
  CHECK(top_list(TopView::kPools, before, now).rows[0][2].text == "-");  // time goes one way
  CHECK(human_rate(365'700) == "365.7 k");
  CHECK(human_rate(999'960) == "1.00 M");
}

TEST_CASE("a screen is filled and never left, whatever its size and whatever the document") {
  daemon::DaemonStatistics statistics = test::example_statistics();
  statistics.pools[0].name = std::string(60, 'p');
  statistics.pools[0].orders_waiting = 3;
  const nlohmann::json now = view_of(statistics, 12);
  for (const nlohmann::json& document :
       {now, nlohmann::json(), nlohmann::json::object(),
        nlohmann::json::parse(R"({"pools":[null,{"name":7}],"warnings":[3],"clients":[[]]})")}) {
    for (std::size_t columns : {0U, 1U, 7U, 40U, 80U, 300U}) {
      for (std::size_t lines : {0U, 1U, 3U, 6U, 24U}) {
        for (std::size_t view = 0; view < kTopViews; ++view) {
          for (const bool help : {false, true}) {
            TopState state;
            state.view = static_cast<TopView>(view);
            state.help = help;
            state.first_row = 1000;
            state.gone = "no daemon";
            const auto screen = top_screen(document, now, state, {columns, lines});
            CHECK(screen.size() == lines);
            for (const std::string& line : screen) CHECK(columns_of(line) <= columns);
          }
        }
      }
    }
  }
}

TEST_CASE("what does not fit is left out as whole columns, and said") {
  const nlohmann::json now = view_of(test::example_statistics(), 12);
  TopState state;
  state.colour = false;
  const auto narrow = top_screen(now, nlohmann::json(), state, {50, 12});
  CHECK(narrow.back().find("columns hidden") != std::string::npos);
  const auto wide = top_screen(now, nlohmann::json(), state, {250, 12});
  CHECK(wide.back().find("hidden") == std::string::npos);
  const auto text = top_text(now, nlohmann::json(), state);
  CHECK(text.find("IN TRANSIT") != std::string::npos);
  CHECK(text.find('\x1b') == std::string::npos);
}

}  // namespace zeropool::ctl
