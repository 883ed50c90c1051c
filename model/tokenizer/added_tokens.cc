#include "model/tokenizer/added_tokens.h"

#include <utility>

#include "common/check.h"

namespace conclave {
namespace {

// The length of the White_Space character at the beginning of `text`, 0: there is none.
size_t leading_space(std::string_view text) {
  if (text.empty()) return 0;
  if (text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r')) return 1;
  static constexpr std::string_view kWide[] = {"\u0085", "\u00A0", "\u1680", "\u2000", "\u2001",
                                               "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
                                               "\u2007", "\u2008", "\u2009", "\u200A", "\u2028",
                                               "\u2029", "\u202F", "\u205F", "\u3000"};
  for (std::string_view space : kWide) {
    if (text.starts_with(space)) return space.size();
  }
  return 0;
}

size_t end_of_space_after(std::string_view text, size_t at) {
  while (const size_t num_bytes = leading_space(text.substr(at))) at += num_bytes;
  return at;
}

// Looks back from `at`, but not before `floor`.
size_t begin_of_space_before(std::string_view text, size_t at, size_t floor) {
  while (at > floor) {
    size_t last = at - 1;
    while (last > floor && (static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
    if (leading_space(text.substr(last, at - last)) != at - last) return at;
    at = last;
  }
  return at;
}

}  // namespace

void AddedTokens::Trie::add(std::string_view content, int32_t token_idx) {
  CHECK(!content.empty());
  can_begin[static_cast<uint8_t>(content[0])] = true;
  int32_t node = 0;
  for (char byte : content) {
    const uint64_t key = static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
    const auto [child, is_new] =
        children.try_emplace(key, static_cast<int32_t>(token_of_node.size()));
    if (is_new) token_of_node.push_back(-1);
    node = child->second;
  }
  CHECK(token_of_node[node] == -1);
  token_of_node[node] = token_idx;
}

int32_t AddedTokens::Trie::longest(std::string_view text) const {
  if (!can_begin[static_cast<uint8_t>(text[0])]) return -1;
  int32_t found = -1;
  int32_t node = 0;
  for (char byte : text) {
    const auto child = children.find(static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte));
    if (child == children.end()) break;
    node = child->second;
    if (token_of_node[node] >= 0) found = token_of_node[node];
  }
  return found;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    Trie& trie = tokens_[i].normalized ? normalized_ : raw_;
    trie.add(tokens_[i].content, static_cast<int32_t>(i));
  }
}

void AddedTokens::split_by(const Trie& trie, std::string_view text,
                           std::vector<Section>* sections) const {
  size_t done = 0;
  size_t at = 0;
  while (at < text.size()) {
    const int32_t token_idx = trie.longest(text.substr(at));
    if (token_idx < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[token_idx];
    size_t begin = at;
    size_t end = at + token.content.size();
    if (token.lstrip) begin = begin_of_space_before(text, begin, done);
    if (token.rstrip) end = end_of_space_after(text, end);
    if (begin > done) sections->push_back({text.substr(done, begin - done), -1});
    sections->push_back({text.substr(begin, end - begin), token.id});
    at = done = end;
  }
  if (done < text.size()) sections->push_back({text.substr(done), -1});
}

std::vector<AddedTokens::Section> AddedTokens::split(std::string_view text) const {
  std::vector<Section> by_raw;
  split_by(raw_, text, &by_raw);
  std::vector<Section> sections;
  for (const Section& section : by_raw) {
    if (section.id >= 0) {
      sections.push_back(section);
    } else {
      split_by(normalized_, section.text, &sections);
    }
  }
  return sections;
}

}  // namespace conclave
