// What --weights may say, and that everything else is an error that quotes the word.

#include "model/weights/weight_types.h"

#include <gtest/gtest.h>

#include "tests/model/checkpoint/expect_status.h"

namespace conclave {
namespace {

constexpr WeightGroup kGroups[] = {WeightGroup::kExperts, WeightGroup::kShared,
                                   WeightGroup::kAttention, WeightGroup::kHead};

WeightTypes parsed(const std::string& text) {
  const auto types = parse_weight_types(text);
  EXPECT_TRUE(types.ok()) << types.status();
  return types.value_or(WeightTypes());
}

TEST(WeightTypesTest, OneWordIsForAllGroups) {
  EXPECT_EQ(parsed("stored"), WeightTypes());
  for (const WeightGroup group : kGroups) {
    EXPECT_EQ(parsed("int8").of(group), DType::kI8);
    EXPECT_EQ(parsed("bf16").of(group), DType::kBF16);
    EXPECT_EQ(parsed("stored").of(group), std::nullopt);
  }
  EXPECT_EQ(parsed("int8").of(WeightGroup::kFixed), std::nullopt);
}

TEST(WeightTypesTest, GroupsAreNamedOneByOne) {
  const WeightTypes types = parsed("experts=int8,attention=f32,head=stored");
  EXPECT_EQ(types.experts, DType::kI8);
  EXPECT_EQ(types.shared, std::nullopt);
  EXPECT_EQ(types.attention, DType::kF32);
  EXPECT_EQ(types.head, std::nullopt);
  EXPECT_TRUE(types.head_is_named);
  EXPECT_FALSE(parsed("int8").head_is_named);
}

TEST(WeightTypesTest, ExceptionsFollowAWordForAll) {
  const WeightTypes types = parsed("int8,head=stored,shared=bf16");
  EXPECT_EQ(types.experts, DType::kI8);
  EXPECT_EQ(types.attention, DType::kI8);
  EXPECT_EQ(types.shared, DType::kBF16);
  EXPECT_EQ(types.head, std::nullopt);
}

TEST(WeightTypesTest, OtherWordsAreErrorsThatQuoteThem) {
  const std::pair<const char*, const char*> bad[] = {
      {"", "\"\""},
      {"int4", "int4"},
      {"INT8", "INT8"},
      {" int8", "\" int8\""},
      {"int8,", "\"\""},
      {"gate=int8", "\"gate\""},
      {"experts", "\"experts\""},
      {"experts=", "\"\""},
      {"experts=int9", "int9"},
      {"=int8", "\"\""},
      {"experts=int8,int8", "\"int8\""},
      {"experts=int8,experts=stored", "\"experts\""},
      {"experts=int8=int8", "int8=int8"},
  };
  for (const auto& [text, word] : bad) {
    SCOPED_TRACE(text);
    expect_error(parse_weight_types(text).status(), absl::StatusCode::kInvalidArgument, {word});
  }
}

TEST(WeightTypesTest, ProfilesSayWhatIsNotAsStored) {
  EXPECT_EQ(WeightTypes().experts_to_string(), "stored");
  EXPECT_EQ(WeightTypes().trunk_to_string(), "stored");
  EXPECT_EQ(parsed("int8").experts_to_string(), "int8");
  EXPECT_EQ(parsed("int8").trunk_to_string(), "shared=int8,attention=int8,head=int8");
  EXPECT_EQ(parsed("experts=int8").trunk_to_string(), "stored");
  EXPECT_EQ(parsed("attention=int8").experts_to_string(), "stored");
}

}  // namespace
}  // namespace conclave
