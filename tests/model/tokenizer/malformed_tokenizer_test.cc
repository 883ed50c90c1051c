// A tokenizer.json that is broken, contradicts itself or asks for what we do not have is refused
// with the file's name and the thing's.
#include <functional>

#include "tests/model/tokenizer/tokenizer_test_data.h"

namespace conclave {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

struct Case {
  std::string spoil;  // a JSON pointer
  TestJson value;     // what stands there instead
  absl::StatusCode code;
  std::string named;  // in the message
};

absl::Status parse_status(const std::string& file, std::string_view config = "") {
  return Tokenizer::parse(file, config, "some/model").status();
}

void expect_refused(const std::string& file, absl::StatusCode code, const std::string& named) {
  const absl::Status status = parse_status(file);
  EXPECT_EQ(status.code(), code) << status;
  const std::string message(status.message());
  EXPECT_NE(message.find("some/model/tokenizer.json"), std::string::npos) << message;
  EXPECT_NE(message.find(named), std::string::npos) << message;
}

void expect_all_refused(const std::vector<Case>& cases) {
  const TestJson good = TestJson::parse(bard_json());
  for (const Case& spoilt : cases) {
    SCOPED_TRACE(spoilt.spoil + " = " + spoilt.value.dump());
    TestJson file = good;
    file[TestJson::json_pointer(spoilt.spoil)] = spoilt.value;
    expect_refused(file.dump(), spoilt.code, spoilt.named);
  }
}

TEST(MalformedTokenizer, BrokenJson) {
  const std::string good = bard_json();
  for (const std::string& broken :
       {std::string(), std::string("{"), std::string("null"), std::string("[]"), std::string("7"),
        std::string("\xff\xfe"), good.substr(0, good.size() / 2), good + "}", std::string("{}"),
        std::string(1 << 20, '['), R"({"a":)" + std::string(100'000, '{')}) {
    expect_refused(broken, kInvalid, "");
  }
  for (size_t num_bytes = 0; num_bytes < good.size(); num_bytes += 997) {
    EXPECT_FALSE(parse_status(good.substr(0, num_bytes)).ok());
  }
}

TEST(MalformedTokenizer, WrongTypes) {
  expect_all_refused({{"/model", 1, kInvalid, "model"},
                      {"/model", nullptr, kInvalid, "model"},
                      {"/model/type", 2, kInvalid, "type"},
                      {"/model/vocab", TestJson::array(), kInvalid, "vocab"},
                      {"/model/merges", "th", kInvalid, "merges"},
                      {"/model/merges/3", 5, kInvalid, "merges[3]"},
                      {"/model/merges/3", {"a", "b", "c"}, kInvalid, "merges[3]"},
                      {"/model/merges/3", {"a", 1}, kInvalid, "merges[3]"},
                      {"/model/ignore_merges", "yes", kInvalid, "ignore_merges"},
                      {"/pre_tokenizer", nullptr, kInvalid, "pre_tokenizer"},
                      {"/pre_tokenizer", "ByteLevel", kInvalid, "pre_tokenizer"},
                      {"/pre_tokenizer/pretokenizers", 1, kInvalid, "pretokenizers"},
                      {"/pre_tokenizer/pretokenizers/0", 1, kInvalid, "pretokenizers[0]"},
                      {"/pre_tokenizer/pretokenizers/0/pattern", "a", kInvalid, "pattern"},
                      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", 1, kInvalid, "Regex"},
                      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "", kInvalid, "pattern"},
                      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "(", kInvalid, "'('"},
                      {"/pre_tokenizer/pretokenizers/3/use_regex", 1, kInvalid, "use_regex"},
                      {"/added_tokens", 1, kInvalid, "added_tokens"},
                      {"/added_tokens/0", 1, kInvalid, "added_tokens[0]"},
                      {"/added_tokens/1/content", 1, kInvalid, "added_tokens[1]"},
                      {"/added_tokens/1/content", "", kInvalid, "added_tokens[1]"},
                      {"/added_tokens/1/id", "1", kInvalid, "added_tokens[1]"},
                      {"/added_tokens/1/id", nullptr, kInvalid, "added_tokens[1]"},
                      {"/added_tokens/1/special", "x", kInvalid, "special"},
                      {"/decoder", nullptr, kInvalid, "decoder"},
                      {"/normalizer", 1, kInvalid, "normalizer"},
                      {"/post_processor", {{"type", 1}}, kInvalid, "post_processor"}});
}

TEST(MalformedTokenizer, Ids) {
  const std::vector<TestJson> bad = {-1,        1.5,        "7",     INT64_MIN,
                                     INT64_MAX, UINT64_MAX, 1 << 20, nullptr};
  for (const TestJson& id : bad) {
    expect_all_refused({{"/model/vocab/th", id, kInvalid, "'th'"},
                        {"/added_tokens/1/id", id, kInvalid, "added_tokens[1]"}});
  }
  expect_all_refused({{"/model/vocab/th", 44, kInvalid, "id 44"},
                      {"/added_tokens/1/id", 5, kInvalid, "<｜end▁of▁sentence｜>"},
                      {"/added_tokens/1/content", "<｜begin▁of▁sentence｜>", kInvalid,
                       "<｜begin▁of▁sentence｜>"}});
}

TEST(MalformedTokenizer, PiecesThatAreMissing) {
  TestJson file = TestJson::parse(bard_json());
  file["model"]["vocab"].erase("A");
  expect_refused(file.dump(), kInvalid, "byte 65");
  expect_all_refused({{"/model/merges/3", {"zq", "e"}, kInvalid, "'zq'"},
                      {"/model/merges/3", {"q", "zq"}, kInvalid, "merges[3]"},
                      {"/model/merges/3", {"q", "~"}, kInvalid, "'q~'"},
                      {"/model/merges/3", "qe", kInvalid, "'qe'"},
                      {"/model/merges/3", "q e u", kInvalid, "'q e u'"}});
}

TEST(MalformedTokenizer, WhatWeDoNotHave) {
  const std::string step = "/pre_tokenizer/pretokenizers/0";
  const TestJson nfc = {{"type", "NFC"}};
  expect_all_refused(
      {{"/model/type", "Unigram", kUnimplemented, "'Unigram'"},
       {"/model/dropout", 0.1, kUnimplemented, "dropout"},
       {"/model/unk_token", "<unk>", kUnimplemented, "unk_token"},
       {"/model/continuing_subword_prefix", "##", kUnimplemented, "continuing_subword_prefix"},
       {"/model/end_of_word_suffix", "</w>", kUnimplemented, "end_of_word_suffix"},
       {"/model/byte_fallback", true, kUnimplemented, "byte_fallback"},
       {"/normalizer", nfc, kUnimplemented, "'NFC'"},
       {"/normalizer", {{"type", "Sequence"}, {"normalizers", {nfc}}}, kUnimplemented, "'NFC'"},
       {step, {{"type", "Metaspace"}}, kUnimplemented, "'Metaspace'"},
       {step, {{"type", "ByteLevel"}}, kUnimplemented, "after ByteLevel"},
       {step + "/behavior", "Scattered", kUnimplemented, "'Scattered'"},
       {step + "/pattern/Regex", "\\bthe\\b", kUnimplemented, "\\b"},
       {"/pre_tokenizer", {{"type", "Digits"}}, kUnimplemented, "no ByteLevel"},
       {"/decoder", {{"type", "WordPiece"}}, kUnimplemented, "'WordPiece'"},
       {"/decoder",
        {{"type", "Sequence"}, {"decoders", TestJson::array()}},
        kUnimplemented,
        "decoder"},
       {"/post_processor", {{"type", "BertProcessing"}}, kUnimplemented, "'BertProcessing'"},
       {"/post_processor",
        {{"type", "TemplateProcessing"}, {"single", TestJson::array()}},
        kUnimplemented,
        "template"},
       {"/added_tokens/1/single_word", true, kUnimplemented, "single_word"}});
}

TEST(MalformedTokenizer, SequencesWithoutEnd) {
  TestJson nested = TestJson::parse(bard_json())["pre_tokenizer"];
  for (int32_t i = 0; i < 20; ++i) nested = {{"type", "Sequence"}, {"pretokenizers", {nested}}};
  expect_all_refused({{"/pre_tokenizer", nested, kUnimplemented, "deeper"}});
}

TEST(MalformedTokenizer, EmptySequencesAndAffixesAreNone) {
  TestJson file = TestJson::parse(bard_json());
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", TestJson::array()}};
  file["model"]["end_of_word_suffix"] = "";
  file["decoder"] = {{"type", "Sequence"}, {"decoders", {{{"type", "ByteLevel"}}}}};
  EXPECT_NE(parse_tokenizer(file, ""), nullptr);
}

TEST(MalformedTokenizer, Configs) {
  const std::pair<std::string_view, std::string_view> configs[] = {
      {"{", ""},
      {"[]", ""},
      {R"({"add_bos_token": 1})", "add_bos_token"},
      {R"({"bos_token": 1})", "bos_token"},
      {R"({"bos_token": {}})", "bos_token"},
      {R"({"add_bos_token": true})", "bos_token"},
      {R"({"add_bos_token": true, "bos_token": "<nope>"})", "<nope>"},
      {R"({"add_eos_token": true})", "add_eos_token"}};
  for (const auto& [config, named] : configs) {
    const absl::Status status = parse_status(bard_json(), config);
    EXPECT_FALSE(status.ok());
    const std::string message(status.message());
    EXPECT_NE(message.find("some/model/tokenizer_config.json"), std::string::npos) << message;
    EXPECT_NE(message.find(named), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace conclave
