// A matrix is rank two, row-major: a view (`Rows`) and its owner (`Matrix`). Heads, pages and
// experts are row or column ranges, said in one comment where they matter.
//
// Not thread-safe: who writes a row owns it. Views are two words and four ints; pass them by value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "common/check.h"

namespace conclave {

template <typename T>
struct Rows {
  T* data = nullptr;
  int32_t num_rows = 0;
  int32_t num_cols = 0;
  int64_t stride = 0;  // elements from one row to the next, >= num_cols

  T* row(int64_t row_idx) const { return data + row_idx * stride; }

  Rows rows(int32_t first, int32_t count) const {
    CHECK(first >= 0);
    CHECK(count >= 0);
    CHECK(count <= num_rows - first);
    return {row(first), count, num_cols, stride};
  }
  Rows cols(int32_t first, int32_t count) const {
    CHECK(first >= 0);
    CHECK(count >= 0);
    CHECK(count <= num_cols - first);
    if (num_rows == 0) return {data, 0, count, stride};  // data may be null, which has no column
    return {data + first, num_rows, count, stride};
  }

  operator Rows<const T>() const  // NOLINT(google-explicit-constructor): adding const is free
      requires(!std::is_const_v<T>) {
    return {data, num_rows, num_cols, stride};
  }
};

// Owns [num_rows, num_cols] without padding. Zero when made.
template <typename T>
class Matrix {
 public:
  Matrix() = default;
  Matrix(int32_t num_rows, int32_t num_cols)
      : num_rows_(num_rows), num_cols_(num_cols), values_(num_values(num_rows, num_cols)) {}

  Rows<T> view() { return {values_.data(), num_rows_, num_cols_, num_cols_}; }
  Rows<const T> view() const { return {values_.data(), num_rows_, num_cols_, num_cols_}; }
  Rows<T> first_rows(int32_t count) { return view().rows(0, count); }

  T* row(int32_t row_idx) { return view().row(row_idx); }
  int32_t num_rows() const { return num_rows_; }
  int32_t num_cols() const { return num_cols_; }

 private:
  static size_t num_values(int32_t num_rows, int32_t num_cols) {
    CHECK(num_rows >= 0);
    CHECK(num_cols >= 0);
    return static_cast<size_t>(num_rows) * static_cast<size_t>(num_cols);
  }

  int32_t num_rows_ = 0;
  int32_t num_cols_ = 0;
  std::vector<T> values_;
};

}  // namespace conclave
