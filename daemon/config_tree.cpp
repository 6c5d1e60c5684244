#include "daemon/config_tree.hpp"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <map>
#include <sstream>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

namespace zeropool::daemon {
namespace {

struct TreeFault {
  ConfigTextFault fault;
};

[[noreturn]] void fail(ConfigPosition position, std::string message) {
  throw TreeFault{{position, std::move(message)}};
}

// yaml-cpp's own columns count bytes.
class Positions {
 public:
  explicit Positions(std::string_view text) : columns_(character_columns(text)) {}

  ConfigPosition of(const YAML::Mark& mark) const {
    if (mark.is_null() || mark.pos < 0) return {};
    const auto at = std::min(static_cast<std::size_t>(mark.pos), columns_.size() - 1);
    return {mark.line + 1, static_cast<int>(columns_[at])};
  }

 private:
  std::vector<std::uint32_t> columns_;
};

class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const Positions& positions) : positions_(positions) {}

  ConfigTree take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) fail(positions_.of(mark), "a second document; one file holds one");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(ConfigTree::Kind::kNull, mark), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_tag(mark, tag);
    ConfigTree node = make(ConfigTree::Kind::kScalar, mark);
    node.text = value;
    add(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchored_.find(anchor);
    if (found == anchored_.end()) fail(positions_.of(mark), "an alias inside what it stands for");
    count(found->second, positions_.of(mark));
    ConfigTree copy = found->second;
    copy.position = positions_.of(mark);
    place(std::move(copy));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(ConfigTree::Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(ConfigTree::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    ConfigTree node;
    YAML::anchor_t anchor;
  };

  ConfigTree make(ConfigTree::Kind kind, const YAML::Mark& mark) const {
    ConfigTree node;
    node.kind = kind;
    node.position = positions_.of(mark);
    return node;
  }

  // yaml-cpp gives "?" to plain and "!" to quoted nodes that have no tag.
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (tag.empty() || tag == "?" || tag == "!") return;
    fail(positions_.of(mark), "a YAML tag; nothing here needs one");
  }

  void open(ConfigTree::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    refuse_tag(mark, tag);
    if (open_.size() >= kMaxConfigDepth) {
      fail(positions_.of(mark),
           "nested deeper than " + std::to_string(kMaxConfigDepth) + " levels");
    }
    open_.push_back({make(kind, mark), anchor});
  }

  void close() {
    Open closed = std::move(open_.back());
    open_.pop_back();
    add_counted(std::move(closed.node), closed.anchor);
    count_one(0, ConfigPosition{});
  }

  void add(ConfigTree node, YAML::anchor_t anchor) {
    count_one(node.text.size(), node.position);
    add_counted(std::move(node), anchor);
  }

  void add_counted(ConfigTree node, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) anchored_[anchor] = node;
    place(std::move(node));
  }

  void place(ConfigTree node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    ConfigTree& parent = open_.back().node;
    const bool is_key =
        parent.kind == ConfigTree::Kind::kMap && parent.keys.size() == parent.items.size();
    if (!is_key) {
      parent.items.push_back(std::move(node));
      return;
    }
    if (node.kind != ConfigTree::Kind::kScalar) fail(node.position, "a key that is not a word");
    parent.keys.push_back(std::move(node));
  }

  void count(const ConfigTree& node, ConfigPosition blamed) {
    count_one(node.text.size(), blamed);
    for (const ConfigTree& key : node.keys) count(key, blamed);
    for (const ConfigTree& item : node.items) count(item, blamed);
  }

  void count_one(std::size_t text_bytes, ConfigPosition blamed) {
    nodes_ += 1;
    text_bytes_ += text_bytes;
    if (nodes_ > kMaxConfigNodes) {
      fail(blamed, "more than " + std::to_string(kMaxConfigNodes) + " keys and values");
    }
    if (text_bytes_ > kMaxConfigFileBytes) {
      fail(blamed, "more than " + format_bytes(kMaxConfigFileBytes) + " once aliases are expanded");
    }
  }

  const Positions& positions_;
  ConfigTree root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, ConfigTree> anchored_;
  std::size_t documents_ = 0;
  std::size_t nodes_ = 0;
  std::size_t text_bytes_ = 0;
};

ConfigTreeOutcome faulty(ConfigPosition position, std::string message) {
  return {std::nullopt, ConfigTextFault{position, std::move(message)}};
}

}  // namespace

ConfigTreeOutcome build_config_tree(std::string_view text) {
  const Positions positions(text);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder(positions);
    while (parser.HandleNextDocument(builder)) {
    }
    return {builder.take_root(), std::nullopt};
  } catch (const TreeFault& stopped) {
    return {std::nullopt, stopped.fault};
  } catch (const YAML::Exception& error) {
    return faulty(positions.of(error.mark), "not valid YAML: " + error.msg);
  } catch (const std::exception& error) {
    return faulty({}, std::string("cannot be parsed: ") + error.what());
  }
}

}  // namespace zeropool::daemon
