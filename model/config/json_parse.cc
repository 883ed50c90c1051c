#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "model/config/json_reader.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

constexpr size_t kMaxPrintable = 200;

// Reads the whole text once without building anything and keeps the first thing that is wrong.
class JsonChecker final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit JsonChecker(std::string_view where) : where_(where) {}

  const absl::Status& status() const { return status_; }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }

  bool start_object(std::size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (names_.back().insert(name).second) return true;
    return fail(absl::StrCat("has the name \"", printable(name), "\" twice in one object"));
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return fail(absl::StrCat("is broken JSON at byte ", position));
  }

 private:
  bool open() {
    if (names_.size() >= kMaxJsonDepth) {
      return fail(absl::StrCat("nests deeper than ", kMaxJsonDepth, " levels"));
    }
    names_.emplace_back();
    return true;
  }
  bool close() {
    names_.pop_back();
    return true;
  }
  bool fail(const std::string& complaint) {
    status_ = absl::InvalidArgumentError(absl::StrCat(where_, " ", complaint));
    return false;
  }

  const std::string where_;
  std::vector<absl::flat_hash_set<std::string>> names_;  // of every open object; arrays have none
  absl::Status status_;
};

}  // namespace

absl::StatusOr<nlohmann::json> parse_json(std::string_view text, std::string_view where) {
  JsonChecker checker(where);
  const bool good = nlohmann::json::sax_parse(text.begin(), text.end(), &checker);
  if (!checker.status().ok()) return checker.status();
  nlohmann::json value = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!good || value.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(where), " is broken JSON"));
  }
  return value;
}

std::string printable(std::string_view text) {
  const bool cut = text.size() > kMaxPrintable;
  if (cut) text = text.substr(0, kMaxPrintable);
  return absl::StrCat(absl::CHexEscape(absl::string_view(text.data(), text.size())),
                      cut ? "..." : "");
}

}  // namespace conclave
