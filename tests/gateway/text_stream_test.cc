// The pieces, joined, are the decoded ids up to the first stop string, whatever the ids are; and
// the stop string that is named is the one that was cut off.

#include "gateway/text_stream.h"

#include <gtest/gtest.h>

#include "tests/model/tokenizer/tokenizer_test_data.h"

namespace conclave {
namespace {

class TextStreamTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(tokenizer_, nullptr); }

  // All text of a stream that gets `ids` one by one until it stops.
  std::string run(TextStream* stream, const std::vector<int32_t>& ids) {
    std::string text;
    for (const int32_t id : ids) text += stream->push(id);
    return text + stream->finish();
  }

  const std::unique_ptr<Tokenizer> tokenizer_ = load_tokenizer(bard_dir());
};

TEST_F(TextStreamTest, WithoutStopsItIsTheDecodedWhole) {
  std::mt19937 random(4);
  for (int32_t i = 0; i < 2000; ++i) {
    std::vector<int32_t> ids(random() % 20);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % (i % 2 == 0 ? 270 : 2060));
    TextStream stream(tokenizer_.get(), {});
    EXPECT_EQ(run(&stream, ids), tokenizer_->decode(ids, /*skip_special=*/true));
    EXPECT_FALSE(stream.matched());
  }
}

TEST_F(TextStreamTest, CutsAtTheFirstStopStringAndNamesIt) {
  std::mt19937 random(5);
  int32_t num_matched = 0;
  for (int32_t i = 0; i < 3000; ++i) {
    std::string text;
    for (uint32_t n = random() % 30; n > 0; --n) text += "ab "[random() % 3];
    std::vector<std::string> stops(1 + random() % 3);
    for (std::string& stop : stops) {
      for (uint32_t n = 1 + random() % 4; n > 0; --n) stop += "ab "[random() % 3];
    }
    TextStream stream(tokenizer_.get(), stops);
    const std::string seen = run(&stream, encode_all(*tokenizer_, text));

    size_t first = std::string::npos;
    for (const std::string& stop : stops) first = std::min(first, text.find(stop));
    ASSERT_EQ(stream.matched(), first != std::string::npos) << text;
    EXPECT_EQ(seen, text.substr(0, first));
    if (!stream.matched()) continue;
    ++num_matched;
    EXPECT_EQ(text.compare(first, stream.stop_string().size(), stream.stop_string()), 0);
    for (const std::string& stop : stops) {  // the shortest there was complete first
      if (text.compare(first, stop.size(), stop) != 0) continue;
      EXPECT_LE(stream.stop_string().size(), stop.size());
    }
  }
  EXPECT_GT(num_matched, 1000);
}

TEST_F(TextStreamTest, AStopStringThatWaitedForAnEarlierOneMatchesAtTheEnd) {
  TextStream stream(tokenizer_.get(), {"ab cd ef", "cd"});
  std::string text;
  for (const int32_t id : encode_all(*tokenizer_, "x ab cd")) text += stream.push(id);
  EXPECT_FALSE(stream.matched());
  text += stream.finish();
  EXPECT_TRUE(stream.matched());
  EXPECT_EQ(stream.stop_string(), "cd");
  EXPECT_EQ(text, "x ab ");
}

TEST_F(TextStreamTest, HalfACharacterAtTheEndIsReplaced) {
  const std::string text = "a\xE6\xB0\xB8";
  std::vector<int32_t> ids = encode_all(*tokenizer_, text);
  ids.pop_back();
  TextStream stream(tokenizer_.get(), {});
  EXPECT_EQ(run(&stream, ids), tokenizer_->decode(ids, true));
}

}  // namespace
}  // namespace conclave
