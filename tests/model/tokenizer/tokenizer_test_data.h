// What the tokenizer's tests share: where the files are, and random texts.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace conclave {

using TestJson = nlohmann::json;

inline std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::string bard_dir() { return CONCLAVE_SOURCE_DIR "/models/bard"; }
inline std::string bard_json() { return read_text(bard_dir() + "/tokenizer.json"); }

// Files that may not stand in the project; tests skip where there are none.
inline std::string shared_dir() {
  const char* dir = std::getenv("CONCLAVE_SHARED");
  return dir != nullptr ? dir : CONCLAVE_SOURCE_DIR "/../shared";
}
inline std::string deepseek_v3_dir() { return shared_dir() + "/tokenizers/deepseek_v3"; }

// nullptr with a failure where it does not load.
inline std::unique_ptr<Tokenizer> load_tokenizer(const std::string& dir) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::load(dir);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

inline std::unique_ptr<Tokenizer> parse_tokenizer(const TestJson& file, std::string_view config) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::parse(file.dump(), config, "test");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

inline std::vector<int32_t> encode_all(const Tokenizer& tokenizer, std::string_view text) {
  absl::StatusOr<std::vector<int32_t>> ids = tokenizer.encode(text, {.add_bos = false});
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *std::move(ids) : std::vector<int32_t>();
}

inline void append_utf8(uint32_t code_point, std::string* text) {
  const auto put = [text](uint32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) return put(code_point);
  if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
  }
  put(0x80 | (code_point & 0x3F));
}

// Characters of every length, ASCII the most.
inline std::string random_text(std::mt19937* random, int32_t num_characters) {
  static constexpr uint32_t kEnds[] = {0x80, 0x80, 0x80, 0x800, 0x3000, 0xD800, 0x110000};
  std::string text;
  for (int32_t i = 0; i < num_characters; ++i) {
    const uint32_t code_point = (*random)() % kEnds[(*random)() % std::size(kEnds)];
    const bool is_surrogate = code_point >= 0xD800 && code_point < 0xE000;
    append_utf8(is_surrogate ? ' ' : code_point, &text);
  }
  return text;
}

}  // namespace conclave
