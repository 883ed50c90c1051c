// How large a model may claim to be. Far above every published one, and low enough that no product
// of two of them that we form in 64 bits overflows; products that must fit an int32_t are checked
// where the last factor is read: heads by the widest row in mla_config.cc, shared experts by their
// width in gate_config.cc.
#pragma once

#include <cstdint>

namespace conclave {

constexpr int32_t kMaxLayers = 1024;
constexpr int32_t kMaxHiddenDim = 1 << 20;
constexpr int32_t kMaxFfnDim = 1 << 22;
constexpr int32_t kMaxVocabSize = 1 << 24;
constexpr int32_t kMaxHeads = 1 << 14;
constexpr int32_t kMaxHeadDim = 1 << 16;
constexpr int32_t kMaxLatentRank = 1 << 20;
constexpr int32_t kMaxExperts = 1 << 16;
constexpr int32_t kMaxGroups = 256;  // what the gates have room for: router/gates/rules.h
constexpr int32_t kMaxSharedExperts = 1 << 10;
constexpr int32_t kMaxMtpLayers = 16;
constexpr int32_t kMaxPositions = 1 << 30;
constexpr int32_t kMaxFp8Block = 1 << 20;

}  // namespace conclave
