// Bytes that go from hand to hand without being copied: all copies of a value share one piece of
// memory, which is freed, or given back to whoever lent it, with the last of them.
//
// Copies may be on different threads. Whoever makes the memory fills it before it hands copies on;
// from then on nobody writes to it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "common/check.h"

namespace conclave {

class SharedBytes {
 public:
  SharedBytes() = default;

  // Memory that `owner` keeps.
  SharedBytes(std::span<const std::byte> bytes, std::shared_ptr<const void> owner)
      : data_(std::move(owner), bytes.data()), size_(bytes.size()) {}

  // Takes them over.
  SharedBytes(std::vector<std::byte> bytes) {  // NOLINT(google-explicit-constructor)
    const auto owner = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
    *this = SharedBytes(*owner, owner);
  }

  // New memory with anything in it, for fill().
  static SharedBytes of_size(size_t num_bytes) {
    const auto memory = std::make_shared_for_overwrite<std::byte[]>(num_bytes);
    SharedBytes bytes({memory.get(), num_bytes}, memory);
    bytes.writable_ = memory.get();
    return bytes;
  }

  static SharedBytes copy_of(std::span<const std::byte> bytes) {
    SharedBytes copy = of_size(bytes.size());
    std::copy(bytes.begin(), bytes.end(), copy.fill());
    return copy;
  }

  // REQUIRES: of_size() made it
  std::byte* fill() {
    CHECK(writable_ != nullptr || size_ == 0);
    return writable_;
  }

  const std::byte* data() const { return data_.get(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const std::byte* begin() const { return data(); }
  const std::byte* end() const { return data() + size_; }
  void clear() { *this = {}; }

  operator std::span<const std::byte>() const {  // NOLINT(google-explicit-constructor)
    return {data(), size_};
  }

  friend bool operator==(const SharedBytes& a, const SharedBytes& b) {
    return a.size_ == b.size_ && (a.size_ == 0 || std::memcmp(a.data(), b.data(), a.size_) == 0);
  }

 private:
  std::shared_ptr<const std::byte> data_;
  size_t size_ = 0;
  std::byte* writable_ = nullptr;
};

}  // namespace conclave
