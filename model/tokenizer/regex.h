// One compiled pattern: PCRE2 with Unicode properties and its just-in-time compiler.
//
// A Regex is immutable and may be shared by threads; each brings its own Scratch.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"

namespace conclave {

class Regex {
 public:
  // A pattern as tokenizer.json writes it (regex_dialect.h).
  static absl::StatusOr<Regex> compile(std::string_view pattern);

  // Matches `text` itself.
  static absl::StatusOr<Regex> compile_literal(std::string_view text);

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // What a search needs beside the pattern: for one thread, any number of searches.
  class Scratch {
   public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

   private:
    friend class Regex;
    struct Parts;
    std::unique_ptr<Parts> parts_;
  };

  struct Match {
    size_t begin = 0;
    size_t end = 0;
  };

  // The first match at or after `from`. RESOURCE_EXHAUSTED where the pattern needs too many steps.
  // REQUIRES: `text` is UTF-8 and `from` the beginning of a character or text.size()
  absl::StatusOr<std::optional<Match>> find(std::string_view text, size_t from,
                                            Scratch* scratch) const;

 private:
  struct Code;
  static absl::StatusOr<Regex> compile_pcre2(std::string_view pattern, bool is_literal);
  explicit Regex(std::unique_ptr<Code> code);

  std::unique_ptr<Code> code_;
};

}  // namespace conclave
