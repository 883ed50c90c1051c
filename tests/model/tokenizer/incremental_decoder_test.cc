// The pieces, joined, are decode() of all ids, and every piece is whole characters.
#include "model/tokenizer/incremental_decoder.h"

#include "model/tokenizer/utf8.h"
#include "tests/model/tokenizer/tokenizer_test_data.h"

namespace conclave {
namespace {

std::string decode_in_pieces(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                             bool skip_special) {
  IncrementalDecoder decoder(&tokenizer, skip_special);
  std::string text;
  for (int32_t id : ids) {
    const std::string piece = decoder.push(id);
    EXPECT_EQ(find_invalid_utf8(piece), std::nullopt);
    text += piece;
  }
  const std::string last = decoder.finish();
  EXPECT_EQ(find_invalid_utf8(last), std::nullopt);
  return text + last;
}

TEST(IncrementalDecoder, JoinedPiecesAreTheWhole) {
  const auto tokenizer = load_tokenizer(bard_dir());
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 random(2);
  for (int32_t i = 0; i < 5000; ++i) {
    // Low ids are single bytes, of which most are not UTF-8 together.
    const uint32_t end = i % 2 == 0 ? 270 : 2060;
    std::vector<int32_t> ids(random() % 20);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % end);
    for (bool skip_special : {false, true}) {
      EXPECT_EQ(decode_in_pieces(*tokenizer, ids, skip_special),
                tokenizer->decode(ids, skip_special));
    }
  }
}

TEST(IncrementalDecoder, HoldsBackNoMoreThanTheBeginningOfACharacter) {
  const auto tokenizer = load_tokenizer(bard_dir());
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 random(3);
  for (int32_t i = 0; i < 500; ++i) {
    const std::string text = random_text(&random, 20);
    IncrementalDecoder decoder(tokenizer.get(), /*skip_special=*/false);
    std::string seen;
    size_t num_pushed = 0;
    for (int32_t id : encode_all(*tokenizer, text)) {
      num_pushed += tokenizer->token_bytes(id, /*skip_special=*/false).size();
      seen += decoder.push(id);
      EXPECT_LE(num_pushed - seen.size(), 3);
      EXPECT_EQ(seen, text.substr(0, seen.size()));
    }
    EXPECT_EQ(seen, text);
    EXPECT_EQ(decoder.finish(), "");
  }
}

}  // namespace
}  // namespace conclave
