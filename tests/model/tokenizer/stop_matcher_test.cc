// What is shown and whether it stopped equals a search in the whole text, however the text is cut;
// nothing is shown that could still belong to a stop string, and nothing else is held back for
// long.
#include "model/tokenizer/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace conclave {
namespace {

using Stops = std::vector<std::string>;

struct Shown {
  std::string text;
  bool matched = false;
  bool operator==(const Shown&) const = default;
};

void PrintTo(const Shown& shown, std::ostream* out) {
  *out << shown.text << (shown.matched ? " (stopped)" : "");
}

Shown search(const std::string& text, const Stops& stops) {
  size_t first = std::string::npos;
  for (const std::string& stop : stops) first = std::min(first, text.find(stop));
  return {text.substr(0, first), first != std::string::npos};
}

Shown stream(const std::vector<std::string>& pieces, const Stops& stops) {
  StopMatcher matcher(stops);
  Shown shown;
  for (const std::string& piece : pieces) shown.text += matcher.push(piece);
  shown.text += matcher.finish();
  shown.matched = matcher.matched();
  return shown;
}

std::string random_word(std::mt19937* random, size_t min_bytes, size_t max_bytes) {
  std::string word(min_bytes + (*random)() % (max_bytes - min_bytes + 1), 'a');
  for (char& c : word) c = static_cast<char>('a' + (*random)() % 2);
  return word;
}

TEST(StopMatcher, EqualsASearchUnderAllCuts) {
  std::mt19937 random(4);
  for (int32_t i = 0; i < 300; ++i) {
    Stops stops(1 + random() % 3);
    for (std::string& stop : stops) stop = random_word(&random, 1, 6);
    const std::string text = random_word(&random, 0, 10);
    const Shown expected = search(text, stops);
    const uint32_t num_cuts = text.empty() ? 0 : static_cast<uint32_t>(text.size() - 1);
    for (uint32_t cuts = 0; cuts < 1u << num_cuts; ++cuts) {
      std::vector<std::string> pieces(1);
      for (size_t at = 0; at < text.size(); ++at) {
        pieces.back().push_back(text[at]);
        if (cuts >> at & 1) pieces.emplace_back();
      }
      ASSERT_EQ(stream(pieces, stops), expected) << text << " at " << cuts;
    }
  }
}

TEST(StopMatcher, EarlierBeginningWinsOverEarlierEnd) {
  EXPECT_EQ(stream({"xab", "cd", "y"}, {"bc", "abcd"}), (Shown{"x", true}));
  EXPECT_EQ(stream({"xab", "ce"}, {"bc", "abcd"}), (Shown{"xa", true}));
  EXPECT_EQ(stream({"xabc"}, {"bc", "abcd"}), (Shown{"xa", true}));
}

TEST(StopMatcher, ShowsWhatIsDecided) {
  StopMatcher matcher({"\n\nUser:"});
  EXPECT_EQ(matcher.push("Hello\n"), "Hello");
  EXPECT_EQ(matcher.push("\n"), "");
  EXPECT_EQ(matcher.push("\n"), "\n");
  EXPECT_EQ(matcher.push("User"), "");
  EXPECT_EQ(matcher.push("s"), "\n\nUsers");
  EXPECT_EQ(matcher.push("\n\nUser:more"), "");
  EXPECT_TRUE(matcher.matched());
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, WithoutStopsNothingIsHeld) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("text"), "text");
  EXPECT_EQ(matcher.finish(), "");
  EXPECT_FALSE(matcher.matched());
}

TEST(StopMatcher, LongStopsOfOneLetterTakeLinearTime) {
  StopMatcher matcher({std::string(100'000, 'a') + "b"});
  size_t num_shown = 0;
  for (int32_t i = 0; i < 1'000'000; ++i) num_shown += matcher.push("a").size();
  EXPECT_EQ(num_shown, 900'000);
  EXPECT_EQ(matcher.finish().size(), 100'000);
}

}  // namespace
}  // namespace conclave
