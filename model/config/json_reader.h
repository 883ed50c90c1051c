// Reading JSON that others wrote: nothing throws, and every complaint names the file, the field and
// the value that is wrong.
//
//     config.json: hidden_size is -5, expected 1..1048576
//
// parse_json() refuses what is not one well-formed JSON text of UTF-8, nesting deeper than
// kMaxJsonDepth, and a name that an object has twice. A JsonReader is a view of one object of the
// parsed text, with typed readers: a field that is absent takes the fallback and is an error where
// there is none; one of the wrong type or out of range is an error always, and so is null unless
// the caller asked has() first. Views stay valid while the parsed text lives and does not move.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"

namespace conclave {

constexpr int32_t kMaxJsonDepth = 64;

// `where` is the file's name for messages.
absl::StatusOr<nlohmann::json> parse_json(std::string_view text, std::string_view where);

// `text` from a file, fit for one line of a message: control characters and bytes that are no text
// escaped, long text cut.
std::string printable(std::string_view text);

struct IntField {
  int64_t min = 0;
  int64_t max = 0;
  std::optional<int32_t> fallback;
};

struct RealField {
  double min = 0;
  double max = 0;
  std::optional<double> fallback;
};

class JsonReader {
 public:
  // A reader of the object `value`; INVALID_ARGUMENT when it is something else.
  static absl::StatusOr<JsonReader> of(const nlohmann::json* value, std::string_view where);

  // Null when the object has no such field.
  const nlohmann::json* find(std::string_view field) const;
  bool contains(std::string_view field) const { return find(field) != nullptr; }
  // Present and not null.
  bool has(std::string_view field) const;
  // Present and null, which in a config is a value of its own.
  bool is_null(std::string_view field) const { return contains(field) && !has(field); }

  // The fields' names, sorted.
  std::vector<std::string> names() const;

  absl::Status read(std::string_view field, const IntField& range, int32_t* out) const;
  absl::Status read(std::string_view field, const RealField& range, double* out) const;
  absl::Status read(std::string_view field, std::optional<bool> fallback, bool* out) const;
  absl::Status read(std::string_view field, const std::optional<std::string>& fallback,
                    std::string* out) const;
  // An int or a list of ints, each in [0, end); absent and null leave `out` as it is.
  absl::Status read_ids(std::string_view field, int32_t end, std::vector<int32_t>* out) const;

  // The object in `field`.
  absl::StatusOr<JsonReader> object(std::string_view field) const;

  // UNIMPLEMENTED naming the first field that is not in `known`.
  absl::Status allow_only(std::initializer_list<std::string_view> known) const;

  // "<file>: <field> is <value>, <complaint>"
  absl::Status invalid(std::string_view field, std::string_view complaint) const;
  absl::Status unimplemented(std::string_view field, std::string_view complaint) const;

  // The file's name, and for an inner object its path: "config.json: rope_scaling".
  const std::string& where() const { return where_; }

 private:
  JsonReader(const nlohmann::json* object, std::string where, std::string path)
      : object_(object), where_(std::move(where)), path_(std::move(path)) {}

  std::string message(std::string_view field, std::string_view complaint) const;

  const nlohmann::json* object_;
  std::string where_;
  std::string path_;  // "" at the top, "rope_scaling." inside
};

}  // namespace conclave
