#include "services/conclave/message.h"

#include "absl/strings/str_format.h"
#include "model/tokenizer/utf8.h"

namespace conclave {
namespace {

constexpr size_t kMaxBytes = 1024;

// C0, DEL and C1: what a terminal may take for a command.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (first < 0x20 || first == 0x7F) return true;
  return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

}  // namespace

std::string one_line(std::string_view text) {
  std::string line;
  while (!text.empty() && line.size() < kMaxBytes) {
    const Utf8Step step = next_utf8(text);
    const std::string_view piece = text.substr(0, step.num_bytes);
    if (step.kind == Utf8Kind::kCharacter && !is_control(piece)) {
      line.append(piece);
    } else {
      for (const char byte : piece) {
        absl::StrAppendFormat(&line, "\\x%02x", static_cast<unsigned char>(byte));
      }
    }
    text.remove_prefix(step.num_bytes);
  }
  if (!text.empty()) line.append("...");
  return line;
}

}  // namespace conclave
