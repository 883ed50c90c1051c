// What the numeric profile must keep:
//   - one checkpoint has one fingerprint, however it is opened; another training of the same shapes
//     has another one;
//   - profiles agree when everything that both say is equal, and a difference is named.

#include "model/numeric_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/check.h"
#include "tests/model/checkpoint/fake_checkpoint.h"

namespace conclave {
namespace {

using testing::HasSubstr;

std::string fingerprint_of_dir(const std::string& dir) {
  const auto checkpoint = Checkpoint::open(dir);
  CHECK(checkpoint.ok());
  return fingerprint_of(**checkpoint);
}

TEST(Fingerprint, IsOfTheNumbersAndNotOfTheFile) {
  const auto golden = Checkpoint::open(golden_dir("moonlight"));
  ASSERT_TRUE(golden.ok());
  std::vector<FakeTensor> tensors = tensors_of(**golden);
  const std::string original = fingerprint_of(**golden);
  EXPECT_EQ(original.size(), 32u);

  const TempDir dir;
  dir.write("model.safetensors", safetensors_file(tensors, /*padding=*/64));
  EXPECT_EQ(fingerprint_of_dir(dir.path()), original);

  for (const size_t i : {size_t{0}, tensors.size() / 2, tensors.size() - 1}) {
    const TempDir changed;
    std::string& bytes = tensors[i].bytes;
    bytes[bytes.size() / 2] ^= 1;
    changed.write("model.safetensors", safetensors_file(tensors));
    EXPECT_NE(fingerprint_of_dir(changed.path()), original) << tensors[i].name;
    bytes[bytes.size() / 2] ^= 1;
  }
  EXPECT_NE(fingerprint_of_dir(golden_dir("deepseek_v3")), original);
}

TEST(NumericProfile, DifferencesAreNamed) {
  const NumericProfile node = {.weights = "aa",
                               .weight_type = "stored",
                               .kernel_version = 1,
                               .instructions = "avx2",
                               .trunk_type = "stored",
                               .wire_out = "bf16",
                               .wire_back = "bf16",
                               .cache_type = "bf16",
                               .attention_form = "absorbed"};
  NumericProfile server = node;
  server.wire_out = server.wire_back = server.cache_type = server.attention_form = "";
  server.trunk_type = "";
  EXPECT_TRUE(agree(node, node).ok());
  EXPECT_TRUE(agree(node, server).ok()) << "what an expert server does not decide";
  EXPECT_TRUE(agree(server, node).ok());

  NumericProfile other = node;
  other.instructions = "avx512";
  EXPECT_TRUE(absl::IsFailedPrecondition(agree(node, other)));
  EXPECT_THAT(std::string(agree(node, other).message()), HasSubstr("avx512, not avx2"));
  other = node;
  other.cache_type = "f32";
  EXPECT_THAT(std::string(agree(node, other).message()), HasSubstr("cache"));
  other = node;
  other.kernel_version = 2;
  EXPECT_THAT(std::string(agree(node, other).message()), HasSubstr("kernel version"));
  other = server;
  other.weight_type = "int8";
  EXPECT_THAT(std::string(agree(node, other).message()), HasSubstr("experts' weights is int8"));
  other = node;
  other.trunk_type = "head=int8";
  EXPECT_THAT(std::string(agree(node, other).message()), HasSubstr("trunk's weights"));
  EXPECT_TRUE(agree(server, other).ok()) << "it has no trunk";
  other = server;
  other.weights = "bb";
  EXPECT_THAT(std::string(agree(node, other).message()), HasSubstr("fingerprint"));
}

TEST(NumericProfile, OfThisProcess) {
  const auto golden = Checkpoint::open(golden_dir("moonlight"));
  ASSERT_TRUE(golden.ok());
  const NumericProfile profile = profile_of_weights(**golden);
  EXPECT_EQ(profile.weight_type, "stored");
  EXPECT_EQ(profile_of_weights(**golden, {.experts = DType::kI8}).weight_type, "int8");
  EXPECT_EQ(profile.weights, fingerprint_of(**golden));
  EXPECT_EQ(profile.kernel_version, kKernelVersion);
  EXPECT_THAT(profile.instructions, testing::AnyOf("avx2", "avx512"));
}

}  // namespace
}  // namespace conclave
