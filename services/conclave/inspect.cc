// `conclave inspect`: what a model folder holds and what of it fits here, without loading it.

#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "attention/latent_cache.h"
#include "common/host_memory.h"
#include "common/status_macros.h"
#include "kernels/instruction_class.h"
#include "services/conclave/commands.h"
#include "services/conclave/flags.h"
#include "services/local/model_folder.h"

namespace conclave {
namespace {

// 671026419200 -> "671.03 B".
std::string format_count(uint64_t count) {
  const double value = static_cast<double>(count);
  if (value >= 1e9) return absl::StrFormat("%.2f B", value / 1e9);
  if (value >= 1e6) return absl::StrFormat("%.2f M", value / 1e6);
  return absl::StrFormat("%d", count);
}

const char* gate_name(GateMethod method) {
  switch (method) {
    case GateMethod::kSoftmaxGreedy:
      return "softmax, greedy";
    case GateMethod::kSoftmaxGroupLimitedGreedy:
      return "softmax, group-limited greedy";
    case GateMethod::kSigmoidNoAuxTc:
      return "sigmoid with bias (noaux_tc)";
  }
  return "?";
}

std::string describe_experts(const ModelConfig& config) {
  const GateConfig& gate = config.moe.gate;
  if (gate.num_experts == 0) return "none";
  return absl::StrFormat("%d a layer from layer %d on, %d a token, %d groups of which %d",
                         gate.num_experts, config.moe.first_moe_layer, gate.experts_per_token,
                         gate.num_groups, gate.groups_per_token);
}

void print_line(const char* name, const std::string& value) {
  std::printf("%-22s %s\n", name, value.c_str());
}

void print_shape(const ModelFolder& folder) {
  const ModelConfig& config = folder.config;
  print_line("model type", config.model_type);
  print_line("family", config.family);
  print_line("layers", absl::StrFormat("%d, and %d for multi-token prediction (unused)",
                                       config.num_layers, config.num_mtp_layers));
  print_line("hidden size", absl::StrFormat("%d", config.hidden_dim));
  print_line("attention", absl::StrFormat("MLA, %d heads, latent %d + %d", config.mla.num_heads,
                                          config.mla.kv_lora_rank, config.mla.qk_rope_head_dim));
  print_line("routed experts", describe_experts(config));
  if (config.moe.gate.num_experts > 0) print_line("gate", gate_name(config.moe.gate.method));
  print_line("context", absl::StrFormat("%d", config.max_positions));
  print_line("vocabulary",
             folder.tokenizer == nullptr
                 ? absl::StrFormat("%d, no tokenizer.json: ids only", config.vocab_size)
                 : absl::StrFormat("%d, of which the tokenizer has %d", config.vocab_size,
                                   folder.tokenizer->size()));
}

// What is left for the cache once all weights are here, in tokens of context.
std::string describe_fit(const ModelSize& size, uint64_t available, uint64_t bytes_per_token) {
  const uint64_t weights = size.trunk_bytes + size.all_expert_bytes;
  if (weights > available) {
    const uint64_t experts = available > size.trunk_bytes && size.expert_bytes > 0
                                 ? (available - size.trunk_bytes) / size.expert_bytes
                                 : 0;
    return absl::StrFormat("does not fit: %s are needed; the trunk and %d experts would fit",
                           format_bytes(weights), experts);
  }
  return absl::StrFormat("fits, with room for %d tokens of bf16 cache",
                         (available - weights) / bytes_per_token);
}

void print_size(const ModelFolder& folder) {
  const ModelSize& size = folder.size;
  const HostMemory memory = host_memory();
  const LatentCache::Options cache{.num_layers = folder.config.num_layers,
                                   .row_cols = folder.config.mla.cache_cols()};
  const uint64_t per_token = LatentCache::bytes_per_token(cache);
  print_line("parameters",
             absl::StrFormat("%s total, %s active a token", format_count(size.total_params),
                             format_count(size.active_params)));
  if (size.mtp_params > 0) {
    print_line("", format_count(size.mtp_params) + " more for multi-token prediction (unused)");
  }
  print_line("trunk", format_bytes(size.trunk_bytes));
  print_line("one routed expert", format_bytes(size.expert_bytes));
  print_line("all routed experts", format_bytes(size.all_expert_bytes));
  print_line("cache a token",
             absl::StrFormat("%d B in bf16, %d B in f32", per_token, 2 * per_token));
  print_line("memory", absl::StrFormat("%s available of %s", format_bytes(memory.available_bytes),
                                       format_bytes(memory.total_bytes)));
  print_line("", describe_fit(size, memory.available_bytes, per_token));
  const absl::Status cpu = check_instruction_class();
  print_line("instructions", cpu.ok() ? std::string(instruction_class_name(instruction_class()))
                                      : std::string(cpu.message()));
}

absl::Status inspect(const std::string& dir) {
  ASSIGN_OR_RETURN(const ModelFolder folder, read_model_folder(dir));
  print_shape(folder);
  print_size(folder);
  if (std::fflush(stdout) != 0) return absl::DataLossError("stdout could not be written");
  return absl::OkStatus();
}

}  // namespace

Command add_inspect(CLI::App* parent) {
  auto dir = std::make_shared<std::string>();
  CLI::App* const app =
      parent->add_subcommand("inspect", "Say what a model folder holds and what fits here");
  add_model_option(app, "DIR", dir.get());
  return {app, [dir] { return inspect(*dir); }};
}

}  // namespace conclave
