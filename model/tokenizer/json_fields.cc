#include "model/tokenizer/json_fields.h"

#include "common/status_macros.h"
#include "model/config/json_reader.h"
#include "model/tokenizer/utf8.h"

namespace conclave {
namespace {

constexpr size_t kMaxQuotedBytes = 80;

absl::StatusOr<const Json*> required_field(const Json& object, const char* key,
                                           const std::string& where) {
  const Json* field = find_field(object, key);
  if (field == nullptr) return invalid_at(where, std::string(key) + " is missing");
  return field;
}

absl::Status wrong_type(const Json& field, const char* key, const char* expected,
                        const std::string& where) {
  return invalid_at(where, std::string(key) + " is no " + expected + " but " + field.type_name());
}

}  // namespace

absl::StatusOr<Json> parse_json_object(std::string_view contents, const std::string& where) {
  ASSIGN_OR_RETURN(Json document, parse_json(contents, where));
  RETURN_IF_ERROR(expect_object(document, where));
  return document;
}

absl::Status invalid_at(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(where + ": " + what);
}

absl::Status unimplemented_at(const std::string& where, const std::string& what) {
  return absl::UnimplementedError(where + ": " + what);
}

absl::Status at(const std::string& where, const absl::Status& status) {
  return {status.code(), where + ": " + std::string(status.message())};
}

std::string quote(std::string_view text) {
  std::string shown = "'";
  size_t i = 0;
  while (i < text.size() && i < kMaxQuotedBytes) {
    const Utf8Step step = next_utf8(text.substr(i));
    const bool is_shown = step.kind == Utf8Kind::kCharacter &&
                          static_cast<unsigned char>(text[i]) >= 0x20 && text[i] != 0x7F;
    shown += is_shown ? text.substr(i, step.num_bytes) : kReplacementCharacter;
    i += step.num_bytes;
  }
  return shown + (i < text.size() ? "...'" : "'");
}

const Json* find_field(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<const Json*> object_field(const Json& object, const char* key,
                                         const std::string& where) {
  ASSIGN_OR_RETURN(const Json* field, required_field(object, key, where));
  if (!field->is_object()) return wrong_type(*field, key, "object", where);
  return field;
}

absl::StatusOr<const Json*> array_field(const Json& object, const char* key,
                                        const std::string& where) {
  ASSIGN_OR_RETURN(const Json* field, required_field(object, key, where));
  if (!field->is_array()) return wrong_type(*field, key, "array", where);
  return field;
}

absl::StatusOr<std::string> string_field(const Json& object, const char* key,
                                         const std::string& where) {
  ASSIGN_OR_RETURN(const Json* field, required_field(object, key, where));
  if (!field->is_string()) return wrong_type(*field, key, "string", where);
  return field->get_ref<const std::string&>();
}

absl::StatusOr<bool> bool_field(const Json& object, const char* key, bool fallback,
                                const std::string& where) {
  const Json* field = find_field(object, key);
  if (field == nullptr) return fallback;
  if (!field->is_boolean()) return wrong_type(*field, key, "boolean", where);
  return field->get<bool>();
}

absl::Status expect_object(const Json& value, const std::string& where) {
  if (value.is_object()) return absl::OkStatus();
  return invalid_at(where, std::string("no object but ") + value.type_name());
}

}  // namespace conclave
