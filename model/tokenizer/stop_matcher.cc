#include "model/tokenizer/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace conclave {

StopMatcher::Stop::Stop(std::string stop_text)
    : text(std::move(stop_text)), fallback(text.size() + 1, 0) {
  CHECK(!text.empty());
  size_t border = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    while (border > 0 && text[i] != text[border]) border = fallback[border];
    if (text[i] == text[border]) ++border;
    fallback[i + 1] = border;
  }
}

bool StopMatcher::Stop::advance(char byte) {
  while (num_matched > 0 && text[num_matched] != byte) num_matched = fallback[num_matched];
  if (text[num_matched] == byte) ++num_matched;
  if (num_matched < text.size()) return false;
  num_matched = fallback[num_matched];
  return true;
}

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  stops_.reserve(stops.size());
  for (std::string& stop : stops) stops_.emplace_back(std::move(stop));
}

std::string StopMatcher::push(std::string_view text) {
  if (matched_) return "";
  for (char byte : text) {
    held_.push_back(byte);
    ++position_;
    for (Stop& stop : stops_) {
      if (!stop.advance(byte)) continue;
      const size_t begin = position_ - stop.text.size();
      found_ = std::min(found_.value_or(begin), begin);
    }
    // A stop string that began earlier wins over the complete one, if it comes to that.
    matched_ = found_.has_value() && earliest_candidate() >= *found_;
    if (matched_) return release(*found_);
  }
  return release(std::min(earliest_candidate(), found_.value_or(position_)));
}

std::string StopMatcher::finish() {
  if (matched_) return "";
  matched_ = found_.has_value();
  return release(found_.value_or(position_));
}

size_t StopMatcher::earliest_candidate() const {
  size_t earliest = position_;
  for (const Stop& stop : stops_) earliest = std::min(earliest, position_ - stop.num_matched);
  return earliest;
}

std::string StopMatcher::release(size_t position) {
  const size_t num_bytes = position - (position_ - held_.size());
  std::string text = held_.substr(0, num_bytes);
  held_.erase(0, num_bytes);
  return text;
}

}  // namespace conclave
