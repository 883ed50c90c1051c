// What the header parser must keep, whatever bytes it gets:
//   - a good header gives every tensor with its shape and place, in the order of the data;
//   - a bad one is an error whose one line names the file and what is wrong; nothing crashes or
//   hangs.

#include "model/checkpoint/safetensors_header.h"

#include <string>

#include "tests/model/checkpoint/expect_status.h"
#include "tests/model/checkpoint/fake_checkpoint.h"

namespace conclave {
namespace {

using absl::StatusCode;

absl::StatusOr<SafetensorsHeader> parse(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file.data(), file.size())), "m.st");
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST(SafetensorsHeader, ReadsTensorsInTheOrderOfTheirData) {
  const std::string header = R"({"b":)" + entry("F32", "[2]", "[4,12]") +
                             R"(,"__metadata__":{"format":"pt"},"a":)" +
                             entry("BF16", "[1,2]", "[0,4]") + "}   ";
  const auto parsed = parse(raw_safetensors(header, std::string(12, 'x')));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_EQ(parsed->tensors.size(), 2u);
  EXPECT_EQ(parsed->data_begin, 8 + header.size());
  EXPECT_EQ(parsed->tensors[0].name, "a");
  EXPECT_EQ(parsed->tensors[0].dtype, "BF16");
  EXPECT_EQ(parsed->tensors[0].shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(parsed->tensors[1].begin, 4u);
  EXPECT_EQ(parsed->tensors[1].end, 12u);
}

TEST(SafetensorsHeader, AcceptsWhatTheFormatAllows) {
  EXPECT_TRUE(parse(raw_safetensors("{}", "")).ok());
  EXPECT_TRUE(parse(raw_safetensors(R"({"__metadata__":null})", "")).ok());
  const std::string scalar = R"({"s":)" + entry("I64", "[]", "[0,8]") + "}";
  EXPECT_TRUE(parse(raw_safetensors(scalar, std::string(8, 'x'))).ok());
  // Empty tensors share their place with the next one.
  const std::string empty = R"({"x":)" + entry("U8", "[1]", "[0,1]") + R"(,"e":)" +
                            entry("F32", "[0,7]", "[0,0]") + R"(,"f":)" +
                            entry("F32", "[0]", "[1,1]") + "}";
  EXPECT_TRUE(parse(raw_safetensors(empty, "x")).ok());
}

struct BadHeader {
  const char* label;
  std::string file;
  std::vector<std::string> words;
  StatusCode code = StatusCode::kInvalidArgument;
};

std::string with(const std::string& entries, size_t data_bytes) {
  return raw_safetensors("{" + entries + "}", std::string(data_bytes, 'x'));
}

std::vector<BadHeader> badly_formed() {
  return {
      {"TooShort", "1234567", {"7 bytes"}},
      {"Empty", "", {"0 bytes"}},
      {"HugeHeader", std::string(8, '\xff') + "{}", {"18446744073709551615", "100000000"}},
      {"HeaderPastTheEnd", raw_safetensors("{}", "").substr(0, 9), {"header of 2 bytes", "9"}},
      {"BrokenJson", raw_safetensors(R"({"a":)", ""), {"broken JSON"}},
      {"NotJson", raw_safetensors("hello", ""), {"broken JSON"}},
      {"NotUtf8", raw_safetensors("{\"\xff\":{}}", ""), {"broken JSON"}},
      {"TrailingText", raw_safetensors("{} x", ""), {"broken JSON"}},
      {"EmptyHeader", raw_safetensors("", ""), {"broken JSON"}},
      {"List", raw_safetensors("[]", ""), {"a list", "object"}},
      {"Number", raw_safetensors("7", ""), {"a number", "object"}},
      {"DeepNesting", raw_safetensors(std::string(1000000, '['), ""), {"a list"}},
      {"DeepInside", raw_safetensors(R"({"a":)" + std::string(100000, '['), ""), {"entry a"}},
      {"TensorIsNumber", with(R"("a":7)", 0), {"entry a"}},
      {"NoDtype", with(R"("a":{"shape":[],"data_offsets":[0,4]})", 4), {"tensor a", "no dtype"}},
      {"NoShape", with(R"("a":{"dtype":"F32","data_offsets":[0,4]})", 4), {"tensor a", "no shape"}},
      {"NoOffsets", with(R"("a":{"dtype":"F32","shape":[]})", 0), {"tensor a", "data_offsets"}},
      {"DtypeTwice", with(R"("a":{"dtype":"F32","dtype":"F32"})", 0), {"tensor a", "dtype twice"}},
      {"UnknownField", with(R"("a":{"dtyp":"F32"})", 0), {"tensor a", "\"dtyp\""}},
      {"UnknownDtype",
       with(R"("a":)" + entry("F4", "[2]", "[0,1]"), 1),
       {"tensor a", "unknown dtype F4"},
       StatusCode::kUnimplemented},
  };
}

std::vector<BadHeader> badly_measured() {
  const std::string good = R"("a":)" + entry("F32", "[2]", "[0,8]");
  return {
      {"NegativeDim", with(R"("a":)" + entry("F32", "[-1]", "[0,4]"), 4), {"tensor a", "negative"}},
      {"FractionDim", with(R"("a":)" + entry("F32", "[1.5]", "[0,4]"), 4), {"tensor a"}},
      {"ShapeIsText", with(R"("a":{"dtype":"F32","shape":"x"})", 4), {"tensor a", "a string"}},
      {"NestedShape", with(R"("a":)" + entry("F32", "[[1]]", "[0,4]"), 4), {"tensor a", "a list"}},
      {"TooManyDims",
       with(R"("a":)" + entry("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4),
       {"tensor a", "dimensions"}},
      {"ShapeOverflows",
       with(R"("a":)" + entry("F32", "[4294967296,4294967296]", "[0,0]"), 0),
       {"tensor a", "overflows"}},
      {"DimOverflows",
       with(R"("a":)" + entry("U8", "[18446744073709551615]", "[0,0]"), 0),
       {"tensor a", "overflows"}},
      {"HugeNumber", with(R"("a":)" + entry("U8", "[1e999]", "[0,0]"), 0), {"broken JSON"}},
      {"OneOffset", with(R"("a":)" + entry("U8", "[4]", "[4]"), 4), {"tensor a", "two"}},
      {"ThreeOffsets", with(R"("a":)" + entry("U8", "[4]", "[0,4,4]"), 4), {"tensor a"}},
      {"EndBeforeBegin", with(R"("a":)" + entry("U8", "[4]", "[4,0]"), 4), {"tensor a", "before"}},
      {"WrongSize",
       with(R"("a":)" + entry("F32", "[2]", "[0,7]"), 7),
       {"tensor a", "8 bytes", "7"}},
      {"Overlap",
       with(good + R"(,"b":)" + entry("F32", "[2]", "[4,12]"), 12),
       {"tensor b", "inside", "8"}},
      {"Gap",
       with(good + R"(,"b":)" + entry("F32", "[2]", "[9,17]"), 17),
       {"tensor b", "gap", "8"}},
      {"GapAtTheStart", with(R"("a":)" + entry("F32", "[2]", "[1,9]"), 9), {"tensor a", "gap"}},
      {"Truncated", with(good, 7), {"tensor a", "truncated", "7"}},
      {"TrailingBytes", with(good, 9), {"end at 8", "9"}},
      {"OffsetsPastTheEnd",
       with(R"("a":)" + entry("U8", "[9223372036854775807]", "[0,9223372036854775807]"), 1),
       {"tensor a", "truncated"}},
      {"TensorTwice", with(good + "," + good, 8), {"tensor a", "twice"}},
      {"MetadataTwice", with(R"("__metadata__":{},"__metadata__":{})", 0), {"__metadata__"}},
      {"MetadataIsNumber", with(R"("__metadata__":{"a":1})", 0), {"a number"}},
      {"EvilName", with("\"a\\nb\":7", 0), {"entry a\\nb"}},
      {"LongName", with("\"" + std::string(5000, 'q') + "\":7", 0), {"..."}},
  };
}

class BadHeaderTest : public testing::TestWithParam<BadHeader> {};

TEST_P(BadHeaderTest, NamesFileAndThing) {
  std::vector<std::string> words = GetParam().words;
  words.push_back("m.st");
  expect_error(parse(GetParam().file).status(), GetParam().code, words);
}

INSTANTIATE_TEST_SUITE_P(Form, BadHeaderTest, testing::ValuesIn(badly_formed()),
                         [](const auto& param_info) {
                           return std::string(param_info.param.label);
                         });
INSTANTIATE_TEST_SUITE_P(Measure, BadHeaderTest, testing::ValuesIn(badly_measured()),
                         [](const auto& param_info) {
                           return std::string(param_info.param.label);
                         });

// Every cut and every changed byte of a real file is an answer, never a crash.
TEST(SafetensorsHeader, SurvivesEveryCutAndChange) {
  const std::string header = R"({"a":)" + entry("F32", "[2]", "[0,8]") + R"(,"b":)" +
                             entry("BF16", "[3,1]", "[8,14]") + "}";
  const std::string file = raw_safetensors(header, std::string(14, 'x'));
  ASSERT_TRUE(parse(file).ok());
  for (size_t length = 0; length < file.size(); ++length) {
    EXPECT_FALSE(parse(file.substr(0, length)).ok()) << length;
  }
  for (size_t at = 0; at < file.size(); ++at) {
    for (const char change : {'\0', '\xff', '"', '{', '}', '[', '9', '-'}) {
      std::string changed = file;
      changed[at] = change;
      parse(changed).status().IgnoreError();
    }
  }
}

}  // namespace
}  // namespace conclave
