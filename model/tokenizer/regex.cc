#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/status_macros.h"
#include "model/tokenizer/regex_dialect.h"

namespace conclave {
namespace {

constexpr size_t kMaxPatternBytes = size_t{1} << 16;
// Address space until it is used. Patterns that repeat groups go deep on long words.
constexpr size_t kMaxStackBytes = size_t{64} << 20;

// How often one match may try again. A run of blanks gives back one byte at a time, so the bound
// grows with the text; a pattern that explodes still meets it.
uint32_t match_limit(size_t text_bytes) {
  constexpr size_t kLeast = 10'000'000;  // the library's own
  return static_cast<uint32_t>(std::min<size_t>(std::max(kLeast, 4 * text_bytes), UINT32_MAX));
}

std::string pcre2_message(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR pcre2_text(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

struct FreeContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

}  // namespace

struct Regex::Code {
  ~Code() { pcre2_code_free(code); }
  pcre2_code* code = nullptr;
};

struct Regex::Scratch::Parts {
  ~Parts() {
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
    pcre2_match_data_free(data);
  }
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;
};

Regex::Regex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Regex::Scratch::Scratch() : parts_(std::make_unique<Parts>()) {
  parts_->data = pcre2_match_data_create(1, nullptr);
  parts_->context = pcre2_match_context_create(nullptr);
  parts_->stack = pcre2_jit_stack_create(size_t{32} << 10, kMaxStackBytes, nullptr);
  CHECK(parts_->data != nullptr);
  CHECK(parts_->context != nullptr);
  // Where the library has no compiler there is no stack either, and it interprets.
  if (parts_->stack != nullptr) pcre2_jit_stack_assign(parts_->context, nullptr, parts_->stack);
}
Regex::Scratch::~Scratch() = default;

absl::StatusOr<Regex> Regex::compile(std::string_view pattern) {
  ASSIGN_OR_RETURN(const std::string translated, to_pcre2_pattern(pattern));
  return compile_pcre2(translated, /*is_literal=*/false);
}

absl::StatusOr<Regex> Regex::compile_literal(std::string_view text) {
  return compile_pcre2(text, /*is_literal=*/true);
}

absl::StatusOr<Regex> Regex::compile_pcre2(std::string_view pattern, bool is_literal) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError("regular expression: longer than " +
                                      std::to_string(kMaxPatternBytes) + " bytes");
  }
  const std::unique_ptr<pcre2_compile_context, FreeContext> context(
      pcre2_compile_context_create(nullptr));
  CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  const uint32_t options =
      PCRE2_UTF |
      (is_literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE);
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  auto code = std::make_unique<Code>();
  code->code = pcre2_compile(pcre2_text(pattern), pattern.size(), options, &error, &error_offset,
                             context.get());
  if (code->code == nullptr) {
    return absl::InvalidArgumentError("regular expression: " + pcre2_message(error) + " at byte " +
                                      std::to_string(error_offset));
  }
  // Only speed is lost where this fails.
  (void)pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);
  return Regex(std::move(code));
}

absl::StatusOr<std::optional<Regex::Match>> Regex::find(std::string_view text, size_t from,
                                                        Scratch* scratch) const {
  CHECK(from <= text.size());
  pcre2_match_data* data = scratch->parts_->data;
  pcre2_set_match_limit(scratch->parts_->context, match_limit(text.size()));
  const int result = pcre2_match(code_->code, pcre2_text(text), text.size(), from,
                                 PCRE2_NO_UTF_CHECK, data, scratch->parts_->context);
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    return absl::ResourceExhaustedError("regular expression: " + pcre2_message(result));
  }
  const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(data);
  CHECK(bounds[0] <= bounds[1]);
  CHECK(bounds[1] <= text.size());
  return Match{bounds[0], bounds[1]};
}

}  // namespace conclave
