#include "gateway/text_stream.h"

#include <utility>

#include "common/check.h"

namespace conclave {

TextStream::TextStream(const Tokenizer* tokenizer, std::vector<std::string> stops)
    : stops_(std::move(stops)), decoder_(tokenizer, /*skip_special=*/true), matcher_(stops_) {}

std::string TextStream::push(int32_t id) {
  if (matched()) return "";
  return push_text(decoder_.push(id));
}

std::string TextStream::finish() {
  if (matched()) return "";
  std::string text = push_text(decoder_.finish());
  if (matched()) return text;
  const std::string rest = matcher_.finish();
  drop_shown(rest);
  return text + rest;
}

std::string TextStream::push_text(std::string_view text) {
  held_ += text;
  std::string shown = matcher_.push(text);
  drop_shown(shown);
  return shown;
}

void TextStream::drop_shown(std::string_view shown) {
  CHECK(shown.size() <= held_.size());
  held_.erase(0, shown.size());
}

// Of several that begin where the text was cut, the one that was complete first is the shortest.
const std::string& TextStream::stop_string() const {
  CHECK(matched());
  const std::string* found = nullptr;
  for (const std::string& stop : stops_) {
    if (!held_.starts_with(stop)) continue;
    if (found == nullptr || stop.size() < found->size()) found = &stop;
  }
  CHECK(found != nullptr);
  return *found;
}

}  // namespace conclave
