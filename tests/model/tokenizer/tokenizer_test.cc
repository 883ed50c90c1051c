// Text survives encode and decode; bos, control tokens and ids without a token do what the options
// say.
#include "model/tokenizer/tokenizer.h"

#include "tests/model/tokenizer/tokenizer_test_data.h"

namespace conclave {
namespace {

using Ids = std::vector<int32_t>;

class TokenizerTest : public testing::Test {
 protected:
  void SetUp() override {
    tokenizer_ = load_tokenizer(bard_dir());
    ASSERT_NE(tokenizer_, nullptr);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(TokenizerTest, TextSurvives) {
  std::mt19937 random(1);
  for (int32_t i = 0; i < 2000; ++i) {
    const std::string text = random_text(&random, static_cast<int32_t>(random() % 40));
    EXPECT_EQ(tokenizer_->decode(encode_all(*tokenizer_, text), /*skip_special=*/false), text);
  }
}

TEST_F(TokenizerTest, BosStandsFirstWhereConfigAndCallerWantIt) {
  const Ids text = encode_all(*tokenizer_, "Hello");
  Ids with_bos = {tokenizer_->bos_id()};
  with_bos.insert(with_bos.end(), text.begin(), text.end());
  EXPECT_EQ(tokenizer_->encode("Hello", {}).value(), with_bos);
  EXPECT_EQ(tokenizer_->encode("", {}).value(), Ids{tokenizer_->bos_id()});
  EXPECT_EQ(tokenizer_->encode("", {.add_bos = false}).value(), Ids{});

  const std::string config = R"({"bos_token": {"content": "<｜begin▁of▁sentence｜>"}})";
  const auto without = parse_tokenizer(TestJson::parse(bard_json()), config);
  ASSERT_NE(without, nullptr);
  EXPECT_FALSE(without->adds_bos());
  EXPECT_EQ(without->bos_id(), 0);
  EXPECT_EQ(without->encode("Hello", {}).value(), text);
}

TEST_F(TokenizerTest, TemplateProcessingAddsBosUnlessTheConfigSaysNo) {
  TestJson file = TestJson::parse(bard_json());
  file["post_processor"] = TestJson::parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel"},
      {"type": "TemplateProcessing",
       "single": [{"SpecialToken": {"id": "bos", "type_id": 0}},
                  {"Sequence": {"id": "A", "type_id": 0}}],
       "special_tokens": {"bos": {"id": "bos", "ids": [1], "tokens": ["bos"]}}}]})");
  const auto with = parse_tokenizer(file, "");
  ASSERT_NE(with, nullptr);
  EXPECT_EQ(with->encode("", {}).value(), Ids{1});
  const auto without = parse_tokenizer(file, R"({"add_bos_token": false})");
  ASSERT_NE(without, nullptr);
  EXPECT_EQ(without->encode("", {}).value(), Ids{});
}

TEST_F(TokenizerTest, ControlTokensStayTextWhereTheCallerWantsIt) {
  const std::string text = "say <｜end▁of▁sentence｜> now";
  const Ids faithful = encode_all(*tokenizer_, text);
  const Ids safe =
      tokenizer_->encode(text, {.add_bos = false, .match_added_tokens = false}).value();
  EXPECT_EQ(std::count(faithful.begin(), faithful.end(), 1), 1);
  EXPECT_EQ(std::count(safe.begin(), safe.end(), 1), 0);
  EXPECT_EQ(tokenizer_->decode(faithful, /*skip_special=*/false), text);
  EXPECT_EQ(tokenizer_->decode(safe, /*skip_special=*/true), text);
  EXPECT_EQ(tokenizer_->decode(faithful, /*skip_special=*/true), "say  now");
}

TEST_F(TokenizerTest, IdsWithoutATokenAreNothing) {
  EXPECT_EQ(tokenizer_->size(), 2048);
  for (int32_t id : {-1, INT32_MIN, 2048, 129279, INT32_MAX}) {
    EXPECT_EQ(tokenizer_->token_bytes(id, /*skip_special=*/false), "");
  }
  EXPECT_EQ(tokenizer_->decode(Ids{-5, 44, 1 << 30}, /*skip_special=*/false), "H");
}

TEST_F(TokenizerTest, HolesInTheVocabularyAreNothing) {
  TestJson file = TestJson::parse(bard_json());
  file["added_tokens"].push_back({{"id", 3000}, {"content", "<far>"}, {"special", false}});
  const auto tokenizer = parse_tokenizer(file, "");
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->size(), 3001);
  EXPECT_EQ(tokenizer->decode(Ids{2999, 3000}, /*skip_special=*/false), "<far>");
  EXPECT_EQ(encode_all(*tokenizer, "<far>"), Ids{3000});
}

TEST_F(TokenizerTest, NulIsTextAndBrokenUtf8IsAnError) {
  const std::string nul("a\0b", 3);
  EXPECT_EQ(tokenizer_->decode(encode_all(*tokenizer_, nul), /*skip_special=*/false), nul);
  for (const char* broken : {"abc\xff", "abc\xc3", "abc\xed\xa0\x80", "abc\xc0\x80"}) {
    const absl::Status status = tokenizer_->encode(broken, {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), "text is not UTF-8 at byte 3");
  }
}

TEST(TokenizerLoad, MissingFileIsNotFoundAndNamed) {
  const absl::Status status = Tokenizer::load("/nowhere/at/all").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(status.message()).find("/nowhere/at/all/tokenizer.json"),
            std::string::npos);
}

TEST(TokenizerLoad, ConfigMayBeAbsent) {
  const std::string dir = testing::TempDir() + "/tokenizer_without_config";
  std::filesystem::create_directories(dir);
  std::filesystem::copy_file(bard_dir() + "/tokenizer.json", dir + "/tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing);
  const auto tokenizer = load_tokenizer(dir);
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->bos_id(), -1);
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace conclave
