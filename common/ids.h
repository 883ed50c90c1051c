// Ids are types, indices are ints: a ServerId names a process for as long as it lives, a RequestId
// one request, while `*_idx` counts places in an array. Experts are numbered by the model from 0 to
// E - 1 in every layer and index arrays everywhere, so an expert is an int32_t.
#pragma once

#include <cstdint>

namespace conclave {

enum class ServerId : int32_t {};
enum class RequestId : uint64_t {};

}  // namespace conclave
