#include "model/config/rope_config.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/config/limits.h"

namespace conclave {
namespace {

constexpr double kDefaultTheta = 10000;
// At 1 all frequencies are equal and YaRN divides by ln 1.
constexpr RealField kTheta = {1.0001, 1e15};
constexpr RealField kScale = {-100, 100, 0.0};

struct YarnScales {
  double mscale = 0;
  double mscale_all_dim = 0;
};

// cos and sin are multiplied by it: g(mscale) / g(mscale_all_dim) when both are given and not 0,
// else g(1), unless the config says it outright.
absl::Status read_attention_factor(const JsonReader& json, const YarnScales& scales,
                                   RopeParams* params) {
  if (json.has("attention_factor")) {
    return json.read("attention_factor", RealField{1e-6, 1e6}, &params->attention_factor);
  }
  params->attention_factor = yarn_scale(params->factor, 1);
  if (scales.mscale != 0 && scales.mscale_all_dim != 0) {
    params->attention_factor = yarn_scale(params->factor, scales.mscale) /
                               yarn_scale(params->factor, scales.mscale_all_dim);
  }
  if (params->attention_factor >= 1e-6 && params->attention_factor <= 1e6) return absl::OkStatus();
  return json.invalid("mscale", "and gives an attention factor that is no sane number");
}

// A config that was saved again has null for what was never set: the same as absent.
absl::Status read_unless_null(const JsonReader& json, std::string_view field,
                              const RealField& range, double* out) {
  if (json.has(field)) return json.read(field, range, out);
  *out = *range.fallback;
  return absl::OkStatus();
}

absl::Status read_yarn(const JsonReader& json, RopeConfig* rope) {
  RopeParams& params = rope->params;
  RETURN_IF_ERROR(json.read("factor", RealField{1, 1e6}, &params.factor));
  RETURN_IF_ERROR(json.read("original_max_position_embeddings", RealField{1, kMaxPositions},
                            &params.original_max_positions));
  RETURN_IF_ERROR(
      read_unless_null(json, "beta_fast", RealField{1e-3, 1e6, 32.0}, &params.beta_fast));
  RETURN_IF_ERROR(
      read_unless_null(json, "beta_slow", RealField{1e-3, 1e6, 1.0}, &params.beta_slow));
  if (params.beta_fast < params.beta_slow) {
    return json.invalid("beta_fast", absl::StrCat("less than beta_slow, ", params.beta_slow));
  }
  bool truncate = true;
  if (json.has("truncate")) RETURN_IF_ERROR(json.read("truncate", std::nullopt, &truncate));
  if (!truncate) return json.unimplemented("truncate", "expected true");

  YarnScales scales;
  RETURN_IF_ERROR(read_unless_null(json, "mscale", kScale, &scales.mscale));
  RETURN_IF_ERROR(read_unless_null(json, "mscale_all_dim", kScale, &scales.mscale_all_dim));
  RETURN_IF_ERROR(read_attention_factor(json, scales, &params));
  if (scales.mscale_all_dim != 0) {
    const double m = yarn_scale(params.factor, scales.mscale_all_dim);
    rope->softmax_factor = m * m;
    if (!(m > 1e-3)) return json.invalid("mscale_all_dim", "and gives no sane softmax scale");
  }
  return absl::OkStatus();
}

// "default" where an object of nothing but a theta has no type.
absl::StatusOr<std::string> read_type(const JsonReader& json) {
  std::string type;
  const bool has_new = json.has("rope_type");
  const bool has_old = json.has("type");
  if (!has_new && !has_old) {
    if (!json.has("factor")) return std::string("default");
    return json.invalid("rope_type", "expected a rope type beside factor");
  }
  RETURN_IF_ERROR(json.read(has_new ? "rope_type" : "type", std::nullopt, &type));
  if (has_new && has_old) {
    std::string old_type;
    RETURN_IF_ERROR(json.read("type", std::nullopt, &old_type));
    if (old_type != type) {
      return json.invalid("type", absl::StrCat("but rope_type is ", printable(type)));
    }
  }
  if (type != "default" && type != "yarn") {
    return json.unimplemented(has_new ? "rope_type" : "type",
                              "a rope type that this build does not know (default, yarn)");
  }
  return type;
}

absl::StatusOr<RopeConfig> read_rope_object(const JsonReader& json, double theta) {
  RopeConfig rope;
  ASSIGN_OR_RETURN(const std::string type, read_type(json));
  RETURN_IF_ERROR(
      json.allow_only({"type", "rope_type", "rope_theta", "factor", "beta_fast", "beta_slow",
                       "mscale", "mscale_all_dim", "attention_factor",
                       "original_max_position_embeddings", "truncate", "partial_rotary_factor"}));
  rope.params.theta = theta;
  if (json.has("rope_theta")) {
    RETURN_IF_ERROR(json.read("rope_theta", kTheta, &rope.params.theta));
  }
  if (json.has("partial_rotary_factor")) {
    double part = 1;
    RETURN_IF_ERROR(json.read("partial_rotary_factor", RealField{0, 1}, &part));
    if (part != 1) return json.unimplemented("partial_rotary_factor", "expected 1");
  }
  if (type == "yarn") RETURN_IF_ERROR(read_yarn(json, &rope));
  return rope;
}

bool same_rope(const RopeConfig& a, const RopeConfig& b) {
  return a.params.theta == b.params.theta && a.params.factor == b.params.factor &&
         a.params.original_max_positions == b.params.original_max_positions &&
         a.params.beta_fast == b.params.beta_fast && a.params.beta_slow == b.params.beta_slow &&
         a.params.attention_factor == b.params.attention_factor &&
         a.softmax_factor == b.softmax_factor;
}

}  // namespace

absl::StatusOr<RopeConfig> read_rope(const JsonReader& json) {
  double theta = kDefaultTheta;
  const bool has_theta = json.has("rope_theta");
  if (has_theta) RETURN_IF_ERROR(json.read("rope_theta", kTheta, &theta));

  std::optional<RopeConfig> found;
  for (const char* field : {"rope_parameters", "rope_scaling"}) {
    if (!json.has(field)) continue;
    ASSIGN_OR_RETURN(const JsonReader object, json.object(field));
    ASSIGN_OR_RETURN(const RopeConfig rope, read_rope_object(object, theta));
    if (has_theta && rope.params.theta != theta) {
      return object.invalid("rope_theta", absl::StrCat("but the outer rope_theta is ", theta));
    }
    if (found.has_value() && !same_rope(*found, rope)) {
      return json.invalid(field, "but rope_parameters says something else");
    }
    if (!found.has_value()) found = rope;
  }
  if (!found.has_value()) {
    found = RopeConfig{};
    found->params.theta = theta;
  }
  return *found;
}

}  // namespace conclave
