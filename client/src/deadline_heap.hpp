#pragma once
// DeadlineHeap: who of many must be told first that its time is up. A pairing heap whose links lie in the nodes: nothing is
// allocated, and any node can leave.
//
// Thread safety: one thread at a time. All zero is an empty heap.
// Cost: push O(1); remove O(log n) on the average.

#include <cstdint>

namespace zeropool::client {

// Node: heap_child, heap_next, heap_back (pointers to Node), deadline_ns.
template <typename Node>
class DeadlineHeap {
 public:
  Node* first() const noexcept { return root_; }

  void push(Node& node) noexcept {
    node.heap_child = node.heap_next = node.heap_back = nullptr;
    root_ = root_ == nullptr ? &node : meld(root_, &node);
  }
  // It must be in the heap.
  void remove(Node& node) noexcept {
    if (&node != root_) {
      // `heap_back` is the sibling before it, or its parent where it is the first child.
      if (node.heap_back->heap_child == &node) {
        node.heap_back->heap_child = node.heap_next;
      } else {
        node.heap_back->heap_next = node.heap_next;
      }
      if (node.heap_next != nullptr) node.heap_next->heap_back = node.heap_back;
    }
    Node* rest = combine(node.heap_child);
    if (&node == root_) {
      root_ = rest;
    } else if (rest != nullptr) {
      root_ = meld(root_, rest);
    }
    node.heap_child = node.heap_next = node.heap_back = nullptr;
  }

 private:
  // Two roots.
  static Node* meld(Node* one, Node* other) noexcept {
    Node* parent = other->deadline_ns < one->deadline_ns ? other : one;
    Node* child = parent == one ? other : one;
    child->heap_back = parent;
    child->heap_next = parent->heap_child;
    if (child->heap_next != nullptr) child->heap_next->heap_back = child;
    parent->heap_child = child;
    parent->heap_next = parent->heap_back = nullptr;
    return parent;
  }
  // Siblings, made one tree: in pairs from the left, then the pairs from the right.
  static Node* combine(Node* first) noexcept {
    Node* pairs = nullptr;  // linked by heap_next, the last one first
    while (first != nullptr) {
      Node* one = first;
      Node* other = one->heap_next;
      first = other == nullptr ? nullptr : other->heap_next;
      one->heap_next = one->heap_back = nullptr;
      if (other != nullptr) {
        other->heap_next = other->heap_back = nullptr;
        one = meld(one, other);
      }
      one->heap_next = pairs;
      pairs = one;
    }
    Node* tree = nullptr;
    while (pairs != nullptr) {
      Node* next = pairs->heap_next;
      pairs->heap_next = nullptr;
      tree = tree == nullptr ? pairs : meld(tree, pairs);
      pairs = next;
    }
    return tree;
  }

  Node* root_ = nullptr;
};

}  // namespace zeropool::client
