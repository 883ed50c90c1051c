#include "services/attention_node/node_model.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/host_memory.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

// A step that goes in halves has a second one whose legs are away at the same time.
uint64_t leg_bytes(const ModelConfig& config, const AttentionStack::Options& stack) {
  const int32_t rows_of_b = stack.overlap == Overlap::kOff ? 0 : stack.step_tokens() / 2;
  return ExpertLayer::num_bytes(config, stack.step_tokens()) +
         ExpertLayer::num_bytes(config, rows_of_b);
}

absl::Status check_memory(const ModelFolder& folder, const NodeFlags& flags) {
  const AttentionStack::Options stack = flags.stack_options(folder);
  const uint64_t needed = folder.size.trunk_bytes +
                          AttentionStack::num_bytes(folder.config, stack) +
                          leg_bytes(folder.config, stack);
  const uint64_t available = host_memory().available_bytes;
  if (needed <= available || flags.overcommit) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "%s needs %s for the trunk, a cache of %d tokens and activations, and %s of memory is "
      "available: lower --cache-tokens, or load it all the same with --overcommit",
      folder.dir, format_bytes(needed), stack.rounded_cache_tokens(), format_bytes(available)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<NodeModel>> NodeModel::load(const ModelFolder& folder,
                                                           const NodeFlags& flags,
                                                           const Parts& parts,
                                                           const Progress& progress) {
  RETURN_IF_ERROR(check_memory(folder, flags));
  ASSIGN_OR_RETURN(std::unique_ptr<ThreadPool> threads, ThreadPool::start(flags.server.pool()));
  std::unique_ptr<NodeModel> model(new NodeModel(folder, std::move(threads)));
  const auto trunk_progress = [&](uint64_t done, uint64_t total) {
    progress("trunk", done, total);
  };
  const LoadOptions load{.types = folder.weights(), .executor = model->threads_.get()};
  ASSIGN_OR_RETURN(model->trunk_,
                   load_trunk(*folder.checkpoint, folder.config, trunk_progress, load));
  RETURN_IF_ERROR(model->make_moe(flags, parts));
  MoeLayer* const moe = model->remote_ != nullptr ? static_cast<MoeLayer*>(model->remote_.get())
                                                  : model->experts_.get();
  model->moe_ = std::make_unique<WatchedMoeLayer>(moe, parts.watch);
  ASSIGN_OR_RETURN(model->stack_, AttentionStack::create({.config = &folder.config,
                                                          .trunk = &model->trunk_,
                                                          .moe = model->moe_.get(),
                                                          .executor = model->threads_.get(),
                                                          .clock = parts.clock},
                                                         flags.stack_options(folder)));
  return model;
}

absl::Status NodeModel::make_moe(const NodeFlags& flags, const Parts& parts) {
  if (!flags.routes_here()) {
    remote_ = std::make_unique<RemoteMoeLayer>(
        parts.clock, RemoteMoeLayer::Options{.address = flags.server.control,
                                             .leg_timeout = flags.leg_timeout()});
    return absl::OkStatus();
  }
  const ModelConfig& config = folder_.config;
  ASSIGN_OR_RETURN(transport_, LegTransport::create(parts.clock, flags.transport));
  const ExpertLayer::Options options{.wire_out = *parse_dtype(flags.wire_out),
                                     .wire_back = *parse_dtype(flags.wire_back),
                                     .max_tokens = flags.stack_options(folder_).step_tokens(),
                                     .leg_timeout = flags.leg_timeout()};
  // Nobody is placed until control has said so.
  Placement nobody(config.num_layers, config.moe.gate.num_experts, /*version=*/0);
  ASSIGN_OR_RETURN(experts_, ExpertLayer::create({.config = &config,
                                                  .gates = gate_weights(trunk_),
                                                  .transport = transport_.get(),
                                                  .executor = threads_.get(),
                                                  .clock = parts.clock,
                                                  .observer = parts.legs,
                                                  .members = &members_},
                                                 std::move(nobody), options));
  return absl::OkStatus();
}

void NodeModel::use_view(const ClusterView& view) {
  if (experts_ == nullptr) return;  // the gateway has its own
  transport_->set_servers(view);
  const ModelConfig& config = folder_.config;
  experts_->set_placement(placement_of(view, config.num_layers, config.moe.gate.num_experts));
}

NumericProfile profile_of_node(const ModelFolder& folder, const NodeFlags& flags) {
  NumericProfile profile = profile_of_weights(*folder.checkpoint, folder.weights());
  profile.trunk_type = folder.weights().trunk_to_string();
  profile.cache_type = flags.cache_dtype;
  profile.attention_form = "absorbed";
  if (!flags.routes_here()) return profile;  // the gateway decides the types of rows
  profile.wire_out = flags.wire_out;
  profile.wire_back = flags.wire_back;
  return profile;
}

}  // namespace conclave
