#include "model/config/json_reader.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

// What a message shows of a value: scalars as they are, containers by their kind.
std::string show(const nlohmann::json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (value.is_string()) {
    return absl::StrCat("\"", printable(value.get_ref<const std::string&>()), "\"");
  }
  return value.dump();
}

// The value when it is an integer in [min, max].
std::optional<int32_t> int_within(const nlohmann::json& value, int64_t min, int64_t max) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    if (max < 0 || number > static_cast<uint64_t>(max)) return std::nullopt;
  }
  const int64_t number = value.get<int64_t>();
  if (number < min || number > max) return std::nullopt;
  return static_cast<int32_t>(number);
}

}  // namespace

absl::StatusOr<JsonReader> JsonReader::of(const nlohmann::json* value, std::string_view where) {
  if (!value->is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(where), " is ", show(*value), ", expected a JSON object"));
  }
  return JsonReader(value, std::string(where), "");
}

const nlohmann::json* JsonReader::find(std::string_view field) const {
  const auto it = object_->find(std::string(field));
  return it == object_->end() ? nullptr : &*it;
}

bool JsonReader::has(std::string_view field) const {
  const nlohmann::json* value = find(field);
  return value != nullptr && !value->is_null();
}

std::vector<std::string> JsonReader::names() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : object_->items()) names.push_back(name);
  return names;
}

absl::Status JsonReader::read(std::string_view field, const IntField& range, int32_t* out) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) {
    if (!range.fallback.has_value()) return invalid(field, "expected an integer");
    *out = *range.fallback;
    return absl::OkStatus();
  }
  const std::optional<int32_t> number = int_within(*value, range.min, range.max);
  if (!number.has_value()) {
    return invalid(field, value->is_number_integer()
                              ? absl::StrCat("expected ", range.min, "..", range.max)
                              : "expected an integer");
  }
  *out = *number;
  return absl::OkStatus();
}

absl::Status JsonReader::read(std::string_view field, const RealField& range, double* out) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) {
    if (!range.fallback.has_value()) return invalid(field, "expected a number");
    *out = *range.fallback;
    return absl::OkStatus();
  }
  if (!value->is_number()) return invalid(field, "expected a number");
  const double number = value->get<double>();
  if (!std::isfinite(number) || number < range.min || number > range.max) {
    return invalid(field, absl::StrFormat("expected %g..%g", range.min, range.max));
  }
  *out = number;
  return absl::OkStatus();
}

absl::Status JsonReader::read(std::string_view field, std::optional<bool> fallback,
                              bool* out) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr && fallback.has_value()) {
    *out = *fallback;
    return absl::OkStatus();
  }
  if (value == nullptr || !value->is_boolean()) return invalid(field, "expected true or false");
  *out = value->get<bool>();
  return absl::OkStatus();
}

absl::Status JsonReader::read(std::string_view field, const std::optional<std::string>& fallback,
                              std::string* out) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr && fallback.has_value()) {
    *out = *fallback;
    return absl::OkStatus();
  }
  if (value == nullptr || !value->is_string()) return invalid(field, "expected a string");
  *out = value->get_ref<const std::string&>();
  return absl::OkStatus();
}

absl::Status JsonReader::read_ids(std::string_view field, int32_t end,
                                  std::vector<int32_t>* out) const {
  if (!has(field)) return absl::OkStatus();
  const nlohmann::json* value = find(field);
  const nlohmann::json single = nlohmann::json::array({*value});
  std::vector<int32_t> ids;
  for (const nlohmann::json& item : value->is_array() ? *value : single) {
    const std::optional<int32_t> id = int_within(item, 0, int64_t{end} - 1);
    if (!id.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(where_, ": ", path_, std::string(field),
                                                     " holds ", show(item),
                                                     ", expected token ids below ", end));
    }
    if (std::find(ids.begin(), ids.end(), *id) == ids.end()) ids.push_back(*id);
  }
  *out = std::move(ids);
  return absl::OkStatus();
}

absl::StatusOr<JsonReader> JsonReader::object(std::string_view field) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr || !value->is_object()) return invalid(field, "expected an object");
  return JsonReader(value, where_, absl::StrCat(path_, std::string(field), "."));
}

absl::Status JsonReader::allow_only(std::initializer_list<std::string_view> known) const {
  for (const std::string& name : names()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return unimplemented(name, "a field that this build does not know");
    }
  }
  return absl::OkStatus();
}

absl::Status JsonReader::invalid(std::string_view field, std::string_view complaint) const {
  return absl::InvalidArgumentError(message(field, complaint));
}

absl::Status JsonReader::unimplemented(std::string_view field, std::string_view complaint) const {
  return absl::UnimplementedError(message(field, complaint));
}

std::string JsonReader::message(std::string_view field, std::string_view complaint) const {
  const nlohmann::json* value = find(field);
  return absl::StrCat(where_, ": ", path_, printable(field), " is ",
                      value == nullptr ? "missing" : show(*value), ", ", std::string(complaint));
}

}  // namespace conclave
