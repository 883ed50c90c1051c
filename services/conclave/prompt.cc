#include "services/conclave/prompt.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

// Far beyond every context; without a limit, a device as a file takes all memory there is.
constexpr size_t kMaxTextBytes = size_t{64} << 20;

// A prompt is text that a person or a program wrote; a NUL in it is a binary file by mistake.
absl::Status check_text(std::string_view text, std::string_view source) {
  if (text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt is empty (", std::string(source), ")"));
  }
  const size_t nul = text.find('\0');
  if (nul == std::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the prompt has a NUL at byte ", nul, " (", std::string(source), ")"));
}

std::string source_of(const PromptFlags& flags) { return flags.file.value_or("--prompt"); }

}  // namespace

absl::StatusOr<std::string> prompt_text(const PromptFlags& flags) {
  std::string text = flags.text.value_or("");
  if (flags.file) {
    ASSIGN_OR_RETURN(text, read_text_file(*flags.file));
  }
  RETURN_IF_ERROR(check_text(text, source_of(flags)));
  return text;
}

absl::StatusOr<std::vector<int32_t>> prompt_ids(const PromptFlags& flags,
                                                const ModelFolder& folder) {
  if (flags.ids) return parse_ids(*flags.ids, "--ids");
  RETURN_IF_ERROR(folder.check_serves_text());
  ASSIGN_OR_RETURN(const std::string text, prompt_text(flags));
  absl::StatusOr<std::vector<int32_t>> ids = folder.tokenizer->encode(text, {});
  if (ids.ok()) return ids;
  return absl::Status(ids.status().code(),
                      absl::StrCat(ids.status().message(), " (", source_of(flags), ")"));
}

absl::StatusOr<std::vector<int32_t>> parse_ids(std::string_view text, std::string_view flag) {
  const absl::string_view list(text.data(), text.size());
  std::vector<int32_t> ids;
  if (absl::StripAsciiWhitespace(list).empty()) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(flag), " names no id"));
  }
  for (const absl::string_view part : absl::StrSplit(list, ',')) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(part, &id)) {
      return absl::InvalidArgumentError(absl::StrCat(std::string(flag), ": \"", part.substr(0, 32),
                                                     "\" is not an id (number ", ids.size() + 1,
                                                     " of the list)"));
    }
    ids.push_back(id);
  }
  return ids;
}

std::string join_ids(std::span<const int32_t> ids) { return absl::StrJoin(ids, ","); }

absl::StatusOr<std::string> read_text_file(const std::string& path) {
  const auto close = [](std::FILE* file) { std::fclose(file); };
  std::unique_ptr<std::FILE, decltype(close)> owner(
      path == "-" ? nullptr : std::fopen(path.c_str(), "rb"), close);
  std::FILE* const file = path == "-" ? stdin : owner.get();
  if (file == nullptr) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  std::string text;
  char block[65536];
  while (const size_t count = std::fread(block, 1, sizeof(block), file)) {
    text.append(block, count);
    if (text.size() > kMaxTextBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, ": more than ", kMaxTextBytes >> 20, " MiB of text"));
    }
  }
  if (std::ferror(file) != 0) {
    return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  return text;
}

}  // namespace conclave
