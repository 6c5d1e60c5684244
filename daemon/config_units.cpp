#include "daemon/config_units.hpp"

#include <array>
#include <limits>
#include <span>

#include "daemon/config_keys.hpp"

namespace zeropool::daemon {
namespace {

__extension__ using Wide = unsigned __int128;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 5> kByteUnits = {
    {{"B", 1}, {"KiB", kKiB}, {"MiB", kMiB}, {"GiB", kGiB}, {"TiB", kTiB}}};
constexpr std::array<Unit, 6> kTimeUnits = {{{"ns", 1},
                                             {"us", 1'000},
                                             {"ms", 1'000'000},
                                             {"s", 1'000'000'000},
                                             {"m", 60'000'000'000},
                                             {"h", 3'600'000'000'000}}};
constexpr std::string_view kByteHelp = "a number with B, KiB, MiB, GiB or TiB, as in 64KiB";
constexpr std::string_view kTimeHelp = "a number with ns, us, ms, s, m or h, as in 5s";
constexpr std::size_t kMaxFractionDigits = 18;  // 10^18 fits 64 bits

struct Number {
  std::string_view whole;
  std::string_view fraction;
  std::string_view unit;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::size_t digits_at(std::string_view text, std::size_t from) {
  std::size_t end = from;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end - from;
}

std::optional<Number> split(std::string_view text) {
  Number number;
  number.whole = text.substr(0, digits_at(text, 0));
  if (number.whole.empty()) return std::nullopt;
  if (number.whole.size() > 1 && number.whole.front() == '0') return std::nullopt;
  std::size_t at = number.whole.size();
  if (at < text.size() && text[at] == '.') {
    number.fraction = text.substr(at + 1, digits_at(text, at + 1));
    if (number.fraction.empty()) return std::nullopt;
    at += 1 + number.fraction.size();
    while (!number.fraction.empty() && number.fraction.back() == '0') {
      number.fraction.remove_suffix(1);
    }
  }
  const bool spaced = at < text.size() && text[at] == ' ';
  number.unit = text.substr(at + (spaced ? 1 : 0));
  if (spaced && number.unit.empty()) return std::nullopt;
  return number;
}

enum class ScaleError { kNone, kOverflow, kInexact };

// number × factor, exactly.
ScaleError scale(const Number& number, std::uint64_t factor, std::uint64_t& result) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  Wide whole = 0;
  for (char c : number.whole) {
    whole = whole * 10 + static_cast<unsigned>(c - '0');
    if (whole > kMax) return ScaleError::kOverflow;
  }
  if (number.fraction.size() > kMaxFractionDigits) return ScaleError::kInexact;
  Wide fraction = 0;
  Wide power = 1;
  for (char c : number.fraction) {
    fraction = fraction * 10 + static_cast<unsigned>(c - '0');
    power *= 10;
  }
  if ((fraction * factor) % power != 0) return ScaleError::kInexact;
  const Wide total = whole * factor + fraction * factor / power;
  if (total > kMax) return ScaleError::kOverflow;
  result = static_cast<std::uint64_t>(total);
  return ScaleError::kNone;
}

const Unit* find_unit(std::span<const Unit> units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

// KB, mb, G and the like: the unit that was probably meant.
std::string_view meant_byte_unit(std::string_view unit) {
  const std::string low = lower_ascii(unit);
  for (const Unit& known : kByteUnits) {
    const std::string name = lower_ascii(known.name);
    if (low == name || low == name.substr(0, 1) || low == name.substr(0, 1) + "b") {
      return known.name;
    }
  }
  return {};
}

template <typename T>
Parsed<T> failure(std::string sentence) {
  return {std::nullopt, std::move(sentence)};
}

std::string format_in(std::span<const Unit> units, std::uint64_t count) {
  for (std::size_t i = units.size(); i-- > 0;) {
    const bool exact = count % units[i].factor == 0;
    if (exact && count != 0) {
      return std::to_string(count / units[i].factor) + std::string(units[i].name);
    }
  }
  return "0";
}

std::string expected(std::string_view help) { return "is not " + std::string(help); }

}  // namespace

std::uint64_t Amount::of(std::uint64_t total_bytes) const {
  if (kind == Kind::kBytes) return value;
  return static_cast<std::uint64_t>(static_cast<Wide>(total_bytes) * value / 10'000);
}

Parsed<std::uint64_t> parse_bytes(std::string_view text) {
  using Failed = std::uint64_t;
  const std::optional<Number> number = split(text);
  if (!number) return failure<Failed>(expected(kByteHelp));
  if (number->unit == "%") return failure<Failed>("is a percentage, which this key does not take");
  const Unit* unit = number->unit.empty() ? &kByteUnits[0] : find_unit(kByteUnits, number->unit);
  if (unit == nullptr) {
    const std::string_view meant = meant_byte_unit(number->unit);
    if (meant.empty()) return failure<Failed>(expected(kByteHelp));
    return failure<Failed>("has no unit known here: write " + std::string(meant) +
                           " (sizes are powers of 1024)");
  }
  std::uint64_t bytes = 0;
  switch (scale(*number, unit->factor, bytes)) {
    case ScaleError::kOverflow: return failure<Failed>("is more than 64 bits can count");
    case ScaleError::kInexact: return failure<Failed>("is not a whole number of bytes");
    case ScaleError::kNone: break;
  }
  return {bytes, {}};
}

Parsed<Amount> parse_amount(std::string_view text) {
  const std::optional<Number> number = split(text);
  if (!number || number->unit != "%") {
    Parsed<std::uint64_t> bytes = parse_bytes(text);
    if (!bytes.value) return failure<Amount>(std::move(bytes.error) + ", or a percentage");
    return {Amount::bytes(*bytes.value), {}};
  }
  std::uint64_t hundredths = 0;
  if (scale(*number, 100, hundredths) != ScaleError::kNone || hundredths == 0 ||
      hundredths > 10'000) {
    return failure<Amount>("is not a percentage from 0.01% to 100% with at most two decimals");
  }
  return {Amount::percent_hundredths(hundredths), {}};
}

Parsed<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  using Failed = std::chrono::nanoseconds;
  const std::optional<Number> number = split(text);
  if (!number) return failure<Failed>(expected(kTimeHelp));
  if (number->unit.empty()) {
    if (text == "0") return {Failed(0), {}};
    return failure<Failed>("has no unit: write ns, us, ms, s, m or h after it, as in 5s");
  }
  const Unit* unit = find_unit(kTimeUnits, number->unit);
  if (unit == nullptr) return failure<Failed>(expected(kTimeHelp));
  std::uint64_t count = 0;
  const ScaleError error = scale(*number, unit->factor, count);
  if (error == ScaleError::kInexact) return failure<Failed>("is not a whole number of nanoseconds");
  if (error == ScaleError::kOverflow ||
      count > static_cast<std::uint64_t>(std::numeric_limits<Failed::rep>::max())) {
    return failure<Failed>("is longer than 64 bits of nanoseconds can count");
  }
  return {Failed(static_cast<Failed::rep>(count)), {}};
}

std::string format_bytes(std::uint64_t bytes) { return format_in(kByteUnits, bytes); }

std::string format_amount(const Amount& amount) {
  if (amount.kind == Amount::Kind::kBytes) return format_bytes(amount.value);
  std::string text = std::to_string(amount.value / 100);
  if (const std::uint64_t rest = amount.value % 100; rest != 0) {
    text += rest < 10 ? ".0" : ".";
    text += std::to_string(rest % 10 == 0 ? rest / 10 : rest);
  }
  return text + "%";
}

std::string format_duration(std::chrono::nanoseconds duration) {
  if (duration.count() < 0) return "-" + format_duration(-duration);
  return format_in(kTimeUnits, static_cast<std::uint64_t>(duration.count()));
}

}  // namespace zeropool::daemon
