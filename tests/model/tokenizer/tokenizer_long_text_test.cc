// Megabytes of one kind of character, as one word or as a million, are encoded and come back. Times
// are printed, not judged: twice the text should take about twice the time.
#include <chrono>
#include <iostream>

#include "tests/model/tokenizer/tokenizer_test_data.h"

namespace conclave {
namespace {

constexpr size_t kMegabyte = size_t{1} << 20;

std::string repeated(std::string_view unit, size_t min_bytes) {
  std::string text;
  text.reserve(min_bytes + unit.size());
  while (text.size() < min_bytes) text += unit;
  return text;
}

// What stands again and again, and what stands once at the end.
struct Kind {
  const char* name;
  std::string unit;
  std::string end;
};

const Kind kKinds[] = {{"one letter", "a", ""},
                       {"alphabet", "abcdefghijklmnopqrstuvwxyz", ""},
                       {"a word without end", "the", ""},
                       {"digits", "1234567890", ""},
                       {"spaces", " ", ""},
                       {"spaces, a letter", " ", "x"},
                       {"spaces, a digit", " ", "5"},
                       {"spaces, a stop", " ", "."},
                       {"newlines", "\n", ""},
                       {"newlines and spaces", "\n ", "x"},
                       {"tabs", "\t", "\n"},
                       {"Chinese", "中文字", ""},
                       {"one sign", "!", ""},
                       {"signs", "!?.,;-_", "a"},
                       {"letters and spaces", "a b", ""},
                       {"combining marks", "\u0301", ""},
                       {"emoji", "👍🏽", ""},
                       {"NUL", std::string(1, '\0'), ""},
                       {"half a control token", "<｜", ""},
                       {"control tokens", "<｜end▁of▁sentence｜>", ""},
                       {"everything", " The 12 kings, of 中文!\n\n", ""}};

void encode_long_texts(const Tokenizer& tokenizer, size_t max_megabytes) {
  for (const Kind& kind : kKinds) {
    std::cout << kind.name << ":";
    for (size_t num_megabytes = 1; num_megabytes <= max_megabytes; num_megabytes *= 2) {
      const std::string text = repeated(kind.unit, num_megabytes * kMegabyte) + kind.end;
      const auto begin = std::chrono::steady_clock::now();
      const std::vector<int32_t> ids = encode_all(tokenizer, text);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      std::cout << " " << num_megabytes << " MB " << seconds.count() << " s";
      EXPECT_TRUE(tokenizer.decode(ids, /*skip_special=*/false) == text) << kind.name;
    }
    std::cout << "\n";
  }
}

TEST(TokenizerLongText, Bard) {
  const auto tokenizer = load_tokenizer(bard_dir());
  ASSERT_NE(tokenizer, nullptr);
  encode_long_texts(*tokenizer, 4);
}

TEST(TokenizerLongText, DeepSeekV3) {
  if (!std::filesystem::exists(deepseek_v3_dir())) {
    GTEST_SKIP() << "DeepSeek-V3's tokenizer is not under " << shared_dir();
  }
  const auto tokenizer = load_tokenizer(deepseek_v3_dir());
  ASSERT_NE(tokenizer, nullptr);
  encode_long_texts(*tokenizer, 2);
}

TEST(TokenizerLongText, OtherPreTokenizers) {
  const TestJson variants =
      TestJson::parse(read_text(CONCLAVE_SOURCE_DIR "/tests/model/tokenizer/hugging_face.json"));
  for (const TestJson& variant : variants) {
    const std::string name = variant["name"];
    if (name != "deepseek v2" && name != "deepseek coder" && name != "llama 3") continue;
    std::cout << "-- " << name << "\n";
    TestJson file = TestJson::parse(bard_json());
    file["pre_tokenizer"] = variant["pre_tokenizer"];
    const auto tokenizer = parse_tokenizer(file, "");
    ASSERT_NE(tokenizer, nullptr);
    encode_long_texts(*tokenizer, 1);
  }
}

TEST(TokenizerLongText, TenMegabytesInOneWord) {
  const auto tokenizer = load_tokenizer(bard_dir());
  ASSERT_NE(tokenizer, nullptr);
  const std::string text = repeated("the", 10 * kMegabyte);
  const std::vector<int32_t> ids = encode_all(*tokenizer, text);
  EXPECT_TRUE(tokenizer->decode(ids, /*skip_special=*/false) == text);
}

}  // namespace
}  // namespace conclave
