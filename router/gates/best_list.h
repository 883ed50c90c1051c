// The best `capacity` of the ids offered, best first, in memory that somebody else owns.
//
// Offer ids in ascending order: an id enters only by a strictly larger key, so of equal keys the
// lower ids stay. Keys are finite or -infinity, never NaN. One comparison for most ids; no
// allocation.
#pragma once

#include <cstdint>

namespace conclave {

struct BestList {
  int32_t* id = nullptr;  // [capacity]
  float* key = nullptr;   // [capacity], descending
  int32_t capacity = 0;   // > 0
  int32_t size = 0;

  void offer(int32_t new_id, float new_key) {
    if (size == capacity && !(new_key > key[size - 1])) return;
    int32_t place = size < capacity ? size++ : size - 1;
    for (; place > 0 && new_key > key[place - 1]; --place) {
      id[place] = id[place - 1];
      key[place] = key[place - 1];
    }
    id[place] = new_id;
    key[place] = new_key;
  }
};

}  // namespace conclave
