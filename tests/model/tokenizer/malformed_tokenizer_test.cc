// A tokenizer.json that is broken, contradicts itself or asks for what we do not have is refused
// with the file's name and the thing's.
#include "tests/model/tokenizer/tokenizer_test_data.h"

namespace conclave {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

struct Case {
  std::string spoil;  // a JSON pointer
  std::string value;  // what stands there instead, in JSON
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
    SCOPED_TRACE(spoilt.spoil + " = " + spoilt.value);
    TestJson file = good;
    file[TestJson::json_pointer(spoilt.spoil)] = TestJson::parse(spoilt.value);
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
  const std::string steps = "/pre_tokenizer/pretokenizers";
  expect_all_refused({{"/model", "1", kInvalid, "model"},
                      {"/model", "null", kInvalid, "model"},
                      {"/model/type", "2", kInvalid, "type"},
                      {"/model/vocab", "[]", kInvalid, "vocab"},
                      {"/model/merges", "\"th\"", kInvalid, "merges"},
                      {"/model/merges/3", "5", kInvalid, "merges[3]"},
                      {"/model/merges/3", R"(["a", "b", "c"])", kInvalid, "merges[3]"},
                      {"/model/merges/3", R"(["a", 1])", kInvalid, "merges[3]"},
                      {"/model/ignore_merges", "\"yes\"", kInvalid, "ignore_merges"},
                      {"/pre_tokenizer", "null", kInvalid, "pre_tokenizer"},
                      {"/pre_tokenizer", "\"ByteLevel\"", kInvalid, "pre_tokenizer"},
                      {steps, "1", kInvalid, "pretokenizers"},
                      {steps + "/0", "1", kInvalid, "pretokenizers[0]"},
                      {steps + "/0/pattern", "\"a\"", kInvalid, "pattern"},
                      {steps + "/0/pattern/Regex", "1", kInvalid, "Regex"},
                      {steps + "/0/pattern/Regex", "\"\"", kInvalid, "pattern"},
                      {steps + "/0/pattern/Regex", "\"(\"", kInvalid, "'('"},
                      {steps + "/3/use_regex", "1", kInvalid, "use_regex"},
                      {"/added_tokens", "1", kInvalid, "added_tokens"},
                      {"/added_tokens/0", "1", kInvalid, "added_tokens[0]"},
                      {"/added_tokens/1/content", "1", kInvalid, "added_tokens[1]"},
                      {"/added_tokens/1/content", "\"\"", kInvalid, "added_tokens[1]"},
                      {"/added_tokens/1/special", "\"x\"", kInvalid, "special"},
                      {"/decoder", "null", kInvalid, "decoder"},
                      {"/normalizer", "1", kInvalid, "normalizer"},
                      {"/post_processor", R"({"type": 1})", kInvalid, "post_processor"}});
}

TEST(MalformedTokenizer, Ids) {
  for (const char* id : {"-1", "1.5", "\"7\"", "-9223372036854775808", "9223372036854775807",
                         "18446744073709551615", "1e300", "1048576", "null", "[1]"}) {
    expect_all_refused({{"/model/vocab/th", id, kInvalid, "'th'"},
                        {"/added_tokens/1/id", id, kInvalid, "added_tokens[1]"}});
  }
  expect_all_refused({{"/model/vocab/th", "44", kInvalid, "id 44"},
                      {"/added_tokens/1/id", "5", kInvalid, "<｜end▁of▁sentence｜>"},
                      {"/added_tokens/1/content", "\"<｜begin▁of▁sentence｜>\"", kInvalid,
                       "<｜begin▁of▁sentence｜>"}});
}

TEST(MalformedTokenizer, APieceThatStandsTwice) {
  std::string file = bard_json();
  const std::string vocab = "\"vocab\":";
  const size_t begin = file.find('{', file.find(vocab) + vocab.size());
  file.insert(begin + 1, "\"th\": 2047, ");
  expect_refused(file, kInvalid, "th");
}

TEST(MalformedTokenizer, PiecesThatAreMissing) {
  TestJson file = TestJson::parse(bard_json());
  file["model"]["vocab"].erase("A");
  expect_refused(file.dump(), kInvalid, "byte 65");
  expect_all_refused({{"/model/merges/3", R"(["zq", "e"])", kInvalid, "'zq'"},
                      {"/model/merges/3", R"(["q", "zq"])", kInvalid, "merges[3]"},
                      {"/model/merges/3", R"(["q", "~"])", kInvalid, "'q~'"},
                      {"/model/merges/3", R"("qe")", kInvalid, "'qe'"},
                      {"/model/merges/3", R"("q e u")", kInvalid, "'q e u'"}});
}

TEST(MalformedTokenizer, WhatWeDoNotHave) {
  const std::string step = "/pre_tokenizer/pretokenizers/0";
  expect_all_refused(
      {{"/model/type", R"("Unigram")", kUnimplemented, "'Unigram'"},
       {"/model/dropout", "0.1", kUnimplemented, "dropout"},
       {"/model/unk_token", R"("<unk>")", kUnimplemented, "unk_token"},
       {"/model/continuing_subword_prefix", R"("##")", kUnimplemented, "continuing_subword_prefix"},
       {"/model/end_of_word_suffix", R"("</w>")", kUnimplemented, "end_of_word_suffix"},
       {"/model/byte_fallback", "true", kUnimplemented, "byte_fallback"},
       {"/normalizer", R"({"type": "NFC"})", kUnimplemented, "'NFC'"},
       {"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "NFC"}]})", kUnimplemented,
        "'NFC'"},
       {step, R"({"type": "Metaspace"})", kUnimplemented, "'Metaspace'"},
       {step, R"({"type": "ByteLevel"})", kUnimplemented, "after ByteLevel"},
       {step + "/behavior", R"("Scattered")", kUnimplemented, "'Scattered'"},
       {step + "/pattern/Regex", R"("\\bthe\\b")", kUnimplemented, "\\b"},
       {"/pre_tokenizer", R"({"type": "Digits"})", kUnimplemented, "no ByteLevel"},
       {"/decoder", R"({"type": "WordPiece"})", kUnimplemented, "'WordPiece'"},
       {"/decoder", R"({"type": "Sequence", "decoders": []})", kUnimplemented, "decoder"},
       {"/post_processor", R"({"type": "BertProcessing"})", kUnimplemented, "'BertProcessing'"},
       {"/post_processor", R"({"type": "TemplateProcessing", "single": []})", kUnimplemented,
        "template"},
       {"/added_tokens/1/single_word", "true", kUnimplemented, "single_word"}});
}

TEST(MalformedTokenizer, SequencesWithoutEnd) {
  std::string nested = R"({"type": "ByteLevel"})";
  for (int32_t i = 0; i < 20; ++i) {
    nested = R"({"type": "Sequence", "pretokenizers": [)" + nested + "]}";
  }
  expect_all_refused({{"/pre_tokenizer", nested, kUnimplemented, "deeper"}});
}

TEST(MalformedTokenizer, EmptySequencesAndAffixesAreNone) {
  TestJson file = TestJson::parse(bard_json());
  file["normalizer"] = TestJson::parse(R"({"type": "Sequence", "normalizers": []})");
  file["model"]["end_of_word_suffix"] = "";
  file["decoder"] = TestJson::parse(R"({"type": "Sequence", "decoders": [{"type": "ByteLevel"}]})");
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
