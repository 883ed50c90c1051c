// Ids and texts equal Hugging Face's `tokenizers`: for bard, for DeepSeek-V3's published file, and
// for bard's vocabulary behind the pre-tokenizers of other families (make_hugging_face.js).
#include "tests/model/tokenizer/tokenizer_test_data.h"

namespace conclave {
namespace {

void expect_vectors(const Tokenizer& tokenizer, const TestJson& vectors) {
  for (const TestJson& vector : vectors) {
    const std::string text = vector["text"];
    SCOPED_TRACE(testing::PrintToString(text));
    const std::vector<int32_t> ids = encode_all(tokenizer, text);
    EXPECT_EQ(ids, vector["ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(tokenizer.decode(ids, /*skip_special=*/false), vector.value("decoded", text));
  }
}

TEST(TokenizerVectors, Bard) {
  const auto tokenizer = load_tokenizer(bard_dir());
  ASSERT_NE(tokenizer, nullptr);
  const TestJson vectors = TestJson::parse(read_text(bard_dir() + "/tokenizer_vectors.json"));
  ASSERT_EQ(vectors.size(), 44);
  expect_vectors(*tokenizer, vectors);
}

TEST(TokenizerVectors, DeepSeekV3) {
  const std::string path = shared_dir() + "/spec/vectors/deepseek_v3_tokenizer_67.json";
  if (!std::filesystem::exists(deepseek_v3_dir()) || !std::filesystem::exists(path)) {
    GTEST_SKIP() << "DeepSeek-V3's tokenizer is not under " << shared_dir();
  }
  const auto tokenizer = load_tokenizer(deepseek_v3_dir());
  ASSERT_NE(tokenizer, nullptr);
  const TestJson vectors = TestJson::parse(read_text(path));
  ASSERT_EQ(vectors.size(), 67);
  expect_vectors(*tokenizer, vectors);
  EXPECT_EQ(tokenizer->size(), 128815);
  EXPECT_EQ(tokenizer->bos_id(), 0);
  EXPECT_TRUE(tokenizer->adds_bos());
}

TEST(TokenizerVectors, DeepSeekV3ControlTokens) {
  if (!std::filesystem::exists(deepseek_v3_dir())) {
    GTEST_SKIP() << "DeepSeek-V3's tokenizer is not under " << shared_dir();
  }
  const auto tokenizer = load_tokenizer(deepseek_v3_dir());
  ASSERT_NE(tokenizer, nullptr);
  const std::pair<std::string, std::vector<int32_t>> vectors[] = {
      {"<｜User｜>Hi<｜Assistant｜>", {128803, 23166, 128804}},
      {"<｜begin▁of▁sentence｜>You are helpful.<｜User｜>Hi<｜Assistant｜><think>\n",
       {0, 3476, 477, 11502, 16, 128803, 23166, 128804, 30, 37947, 1018}},
      {"naïve Führer ÀÁõö÷øùúûüýþÿ",
       {2720, 91223, 80110, 42243, 50353, 28064, 7841, 2061, 14109, 6308, 8841, 4180, 19258, 2134,
        4266, 80782, 107047}},
      {"User: Hi\n\nAssistant:", {6756, 28, 31661, 271, 88031, 28}},
      {"Hello!", {19923, 3}},
      {"<think>", {30, 37947, 32}},
      {"</think>", {1718, 37947, 32}}};
  for (const auto& [text, ids] : vectors) {
    EXPECT_EQ(encode_all(*tokenizer, text), ids) << text;
    EXPECT_EQ(tokenizer->decode(ids, /*skip_special=*/false), text);
  }
}

TEST(TokenizerVectors, OtherPreTokenizers) {
  const TestJson variants =
      TestJson::parse(read_text(CONCLAVE_SOURCE_DIR "/tests/model/tokenizer/hugging_face.json"));
  ASSERT_EQ(variants.size(), 12);
  for (const TestJson& variant : variants) {
    SCOPED_TRACE(variant["name"]);
    TestJson file = TestJson::parse(bard_json());
    if (variant.contains("pre_tokenizer")) file["pre_tokenizer"] = variant["pre_tokenizer"];
    if (variant.contains("ignore_merges")) file["model"]["ignore_merges"] = true;
    if (variant.contains("renamed")) {
      TestJson& vocab = file["model"]["vocab"];
      vocab[variant["renamed"][1].get<std::string>()] = vocab[variant["renamed"][0]];
      vocab.erase(variant["renamed"][0]);
    }
    for (const TestJson& token : variant.value("added_tokens", TestJson::array())) {
      file["added_tokens"].push_back(token);
    }
    const auto tokenizer = parse_tokenizer(file, "");
    ASSERT_NE(tokenizer, nullptr);
    for (const TestJson& vector : variant["cases"]) {
      const std::string text = vector["text"];
      SCOPED_TRACE(testing::PrintToString(text));
      const std::vector<int32_t> ids = encode_all(*tokenizer, text);
      EXPECT_EQ(ids, vector["ids"].get<std::vector<int32_t>>());
      EXPECT_EQ(tokenizer->decode(ids, /*skip_special=*/true), vector["decoded"]);
    }
  }
}

}  // namespace
}  // namespace conclave
