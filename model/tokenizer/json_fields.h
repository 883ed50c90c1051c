// Reads fields of a JSON document without exceptions: what is missing or of the wrong type is
// INVALID_ARGUMENT naming the place.
//
// `where` is the file and the place in it, "models/bard/tokenizer.json: model". Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace conclave {

using Json = nlohmann::json;

// The document, which must be an object.
absl::StatusOr<Json> parse_json_object(std::string_view contents, const std::string& where);

absl::Status invalid_at(const std::string& where, const std::string& what);
absl::Status unimplemented_at(const std::string& where, const std::string& what);

// Text from a file, in quotes, cut and without control characters, for messages.
std::string quote(std::string_view text);

// A status with `where` put before its message.
absl::Status at(const std::string& where, const absl::Status& status);

// The field `key` of an object; nullptr where it is absent or null. REQUIRES: object.is_object()
const Json* find_field(const Json& object, const char* key);

// The same, of a certain type: an error where it is absent, null or of another type.
absl::StatusOr<const Json*> object_field(const Json& object, const char* key,
                                         const std::string& where);
absl::StatusOr<const Json*> array_field(const Json& object, const char* key,
                                        const std::string& where);
absl::StatusOr<std::string> string_field(const Json& object, const char* key,
                                         const std::string& where);

// Here absent and null mean `fallback`.
absl::StatusOr<bool> bool_field(const Json& object, const char* key, bool fallback,
                                const std::string& where);

// An element of an array that must be an object; its `where` is "where[index]".
absl::Status expect_object(const Json& value, const std::string& where);

}  // namespace conclave
