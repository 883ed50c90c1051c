#include "model/tokenizer/pipeline_json.h"

#include "absl/functional/function_ref.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

constexpr int32_t kMaxDepth = 8;

using Visit = absl::FunctionRef<absl::Status(const Json& step, const std::string& type,
                                             const std::string& where)>;

// Visits a step, or the steps of a Sequence, whose array is called `items_key`.
absl::Status for_each_step(const Json& step, const char* items_key, const std::string& where,
                           int32_t depth, Visit visit) {
  RETURN_IF_ERROR(expect_object(step, where));
  ASSIGN_OR_RETURN(const std::string type, string_field(step, "type", where));
  if (type != "Sequence") return visit(step, type, where);
  if (depth == kMaxDepth) return unimplemented_at(where, "sequences nested deeper than 8");
  ASSIGN_OR_RETURN(const Json* items, array_field(step, items_key, where));
  for (size_t i = 0; i < items->size(); ++i) {
    const std::string item_where = where + "." + items_key + "[" + std::to_string(i) + "]";
    RETURN_IF_ERROR(for_each_step((*items)[i], items_key, item_where, depth + 1, visit));
  }
  return absl::OkStatus();
}

// The id that the template's special token `name` stands for.
absl::StatusOr<int32_t> read_template_token(const Json& step, const std::string& name,
                                            const std::string& where) {
  ASSIGN_OR_RETURN(const Json* tokens, object_field(step, "special_tokens", where));
  ASSIGN_OR_RETURN(const Json* token, object_field(*tokens, name.c_str(), where));
  ASSIGN_OR_RETURN(const Json* ids, array_field(*token, "ids", where));
  if (ids->size() != 1 || !(*ids)[0].is_number_integer()) {
    return unimplemented_at(where, quote(name) + " that is not one id");
  }
  const int64_t id = (*ids)[0].get<int64_t>();
  if (id < 0 || id > INT32_MAX) return invalid_at(where, "the id of " + quote(name));
  return static_cast<int32_t>(id);
}

absl::StatusOr<int32_t> read_template(const Json& step, const std::string& where) {
  ASSIGN_OR_RETURN(const Json* single, array_field(step, "single", where));
  const bool has_prefix = single->size() == 2;
  if (single->size() != 1 && !has_prefix) {
    return unimplemented_at(where, "a template other than text or bos and text");
  }
  for (const Json& part : *single) RETURN_IF_ERROR(expect_object(part, where + ".single"));
  RETURN_IF_ERROR(object_field(single->back(), "Sequence", where + ".single").status());
  if (!has_prefix) return -1;
  ASSIGN_OR_RETURN(const Json* prefix,
                   object_field(single->front(), "SpecialToken", where + ".single"));
  ASSIGN_OR_RETURN(const std::string name, string_field(*prefix, "id", where + ".single"));
  return read_template_token(step, name, where);
}

}  // namespace

absl::Status check_normalizer(const Json& document, const std::string& where) {
  const Json* field = find_field(document, "normalizer");
  if (field == nullptr) return absl::OkStatus();
  return for_each_step(
      *field, "normalizers", where + ": normalizer", 0,
      [](const Json&, const std::string& type, const std::string& step_where) -> absl::Status {
        return unimplemented_at(step_where, "normalizer " + quote(type));
      });
}

absl::Status check_decoder(const Json& document, const std::string& where) {
  const std::string decoder_where = where + ": decoder";
  ASSIGN_OR_RETURN(const Json* field, object_field(document, "decoder", where));
  int32_t num_steps = 0;
  RETURN_IF_ERROR(for_each_step(
      *field, "decoders", decoder_where, 0,
      [&](const Json&, const std::string& type, const std::string& step_where) -> absl::Status {
        ++num_steps;
        if (type == "ByteLevel" && num_steps == 1) return absl::OkStatus();
        return unimplemented_at(step_where, "decoder " + quote(type));
      }));
  if (num_steps == 0) return unimplemented_at(decoder_where, "an empty Sequence");
  return absl::OkStatus();
}

absl::StatusOr<int32_t> read_post_processor(const Json& document, const std::string& where) {
  const Json* field = find_field(document, "post_processor");
  int32_t bos_id = -1;
  if (field == nullptr) return bos_id;
  RETURN_IF_ERROR(for_each_step(*field, "processors", where + ": post_processor", 0,
                                [&](const Json& step, const std::string& type,
                                    const std::string& step_where) -> absl::Status {
                                  if (type == "ByteLevel") return absl::OkStatus();
                                  if (type != "TemplateProcessing" || bos_id >= 0) {
                                    return unimplemented_at(step_where,
                                                            "post-processor " + quote(type));
                                  }
                                  ASSIGN_OR_RETURN(bos_id, read_template(step, step_where));
                                  return absl::OkStatus();
                                }));
  return bos_id;
}

}  // namespace conclave
