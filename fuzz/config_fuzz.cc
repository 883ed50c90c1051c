// Any text as config.json, generation_config.json and index: an answer or an error of one line, and
// a config that is handed out is one that the engine can be built for.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/check.h"
#include "model/checkpoint/shard_index.h"
#include "model/config/limits.h"
#include "model/config/read_config.h"

namespace conclave {
namespace {

void check_one_line(const absl::Status& status) {
  if (!status.ok()) CHECK(status.message().find('\n') == absl::string_view::npos);
}

void check_config(const ModelConfig& config) {
  const MlaConfig& mla = config.mla;
  CHECK(config.num_layers > 0);
  CHECK(config.hidden_dim > 0);
  CHECK(config.vocab_size > 0);
  CHECK(config.dense_dim > 0);
  CHECK(config.max_positions > 0);
  CHECK(mla.num_heads > 0);
  CHECK(int64_t{mla.num_heads} * mla.qk_head_dim() <= INT32_MAX);
  CHECK(int64_t{mla.num_heads} * (mla.qk_nope_head_dim + mla.v_head_dim) <= INT32_MAX);
  CHECK(int64_t{mla.num_heads} * mla.cache_cols() <= INT32_MAX);
  CHECK(mla.rope.num_dims > 0 && mla.rope.num_dims % 2 == 0);
  CHECK(std::isfinite(mla.softmax_scale) && mla.softmax_scale > 0);
  CHECK(std::isfinite(mla.rope.attention_factor) && mla.rope.attention_factor > 0);
  CHECK(rope_frequencies(mla.rope).size() * 2 == static_cast<size_t>(mla.rope.num_dims));
  for (const int32_t id : config.end_ids) CHECK(id >= 0 && id < config.vocab_size);
  const GateConfig& gate = config.moe.gate;
  if (gate.num_experts == 0) return;
  CHECK(gate.num_groups > 0);
  CHECK(gate.num_groups <= kMaxGroups);
  CHECK(gate.num_experts % gate.num_groups == 0);
  CHECK(gate.groups_per_token > 0 && gate.groups_per_token <= gate.num_groups);
  CHECK(gate.experts_per_token > 0);
  CHECK(gate.experts_per_token <= gate.num_experts / gate.num_groups * gate.groups_per_token);
  CHECK(config.moe.expert_dim > 0);
  CHECK(config.moe.layer_freq > 0);
}

}  // namespace
}  // namespace conclave

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = conclave::parse_model_config(text, "fuzz");
  conclave::check_one_line(config.status());
  if (config.ok()) conclave::check_config(*config);
  conclave::check_one_line(conclave::parse_generation_config(text, "fuzz", 1000).status());
  conclave::check_one_line(conclave::parse_shard_index(text, "fuzz").status());
  return 0;
}
