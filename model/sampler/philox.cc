#include "model/sampler/philox.h"

#include "common/check.h"

namespace conclave {
namespace {

constexpr int32_t kNumRounds = 10;
constexpr uint64_t kMultiplier0 = 0xD2511F53;
constexpr uint64_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;  // golden ratio
constexpr uint32_t kWeyl1 = 0xBB67AE85;  // sqrt(3) - 1

uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

PhiloxBlock one_round(const PhiloxBlock& c, const PhiloxKey& k) {
  const uint64_t product0 = kMultiplier0 * c[0];
  const uint64_t product1 = kMultiplier1 * c[2];
  return {high(product1) ^ c[1] ^ k[0], low(product1), high(product0) ^ c[3] ^ k[1], low(product0)};
}

}  // namespace

PhiloxBlock philox4x32_10(PhiloxBlock counter, PhiloxKey key) {
  for (int32_t round = 0; round < kNumRounds; ++round) {
    counter = one_round(counter, key);
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

double uniform_at(uint64_t seed, int64_t position) {
  CHECK(position >= 0);
  const auto place = static_cast<uint64_t>(position);
  const PhiloxBlock r = philox4x32_10({low(place), high(place), 0, 0}, {low(seed), high(seed)});
  const uint64_t bits = (static_cast<uint64_t>(r[1]) << 32) | r[0];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace conclave
