#include "services/gateway/moe_router.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

absl::Status going_away() { return absl::UnavailableError("the gateway is stopping"); }

}  // namespace

absl::StatusOr<std::unique_ptr<MoeRouter>> MoeRouter::create(const ModelFolder& folder,
                                                             const Clock* clock, LegObserver* legs,
                                                             const Options& options) {
  std::unique_ptr<MoeRouter> router(new MoeRouter(folder, options));
  ASSIGN_OR_RETURN(router->transport_, LegTransport::create(clock, options.transport));
  ASSIGN_OR_RETURN(router->threads_, ThreadPool::start(options.pool));
  ASSIGN_OR_RETURN(router->gates_, load_gates(*folder.checkpoint, folder.config));
  const ModelConfig& config = folder.config;
  Placement nobody(config.num_layers, config.moe.gate.num_experts, /*version=*/0);
  ASSIGN_OR_RETURN(router->experts_, ExpertLayer::create({.config = &config,
                                                          .gates = router->gates_.layers,
                                                          .transport = router->transport_.get(),
                                                          .executor = router->threads_.get(),
                                                          .clock = clock,
                                                          .observer = legs,
                                                          .members = &router->members_},
                                                         std::move(nobody),
                                                         {.wire_out = options.wire_out,
                                                          .wire_back = options.wire_back,
                                                          .max_tokens = options.max_tokens,
                                                          .leg_timeout = options.leg_timeout}));
  router->thread_ = std::thread([self = router.get()] { self->work(); });
  return router;
}

MoeRouter::~MoeRouter() { stop(); }

void MoeRouter::set_view(ClusterView view) {
  members_.update(view);
  {
    const std::lock_guard lock(mutex_);
    view_ = std::move(view);
  }
  changed_.notify_one();
}

void MoeRouter::submit(MoeFrame frame, Done done) {
  absl::Status status = check(frame);
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) {
      status = going_away();
    } else if (static_cast<int32_t>(jobs_.size()) >= options_.max_waiting) {
      status = absl::ResourceExhaustedError(
          absl::StrFormat("%d layers wait for the router, the limit", options_.max_waiting));
    }
    if (status.ok()) jobs_.push_back({std::move(frame), std::move(done)});
  }
  if (!status.ok()) return done(status);
  changed_.notify_one();
}

void MoeRouter::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

absl::Status MoeRouter::check(const MoeFrame& frame) const {
  if (frame.layer_idx < 0 || frame.layer_idx >= config_.num_layers ||
      !config_.is_moe_layer(frame.layer_idx)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("layer %d has no routed experts", frame.layer_idx));
  }
  const Rows<const float> hidden = frame.hidden.view();
  if (hidden.num_cols != config_.hidden_dim) {
    return absl::InvalidArgumentError(absl::StrFormat("rows have %d columns, the model has %d",
                                                      hidden.num_cols, config_.hidden_dim));
  }
  if (hidden.num_rows > options_.max_tokens) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d rows at once, the limit is %d", hidden.num_rows, options_.max_tokens));
  }
  return absl::OkStatus();
}

void MoeRouter::work() {
  while (true) {
    std::vector<Job> jobs;
    std::optional<ClusterView> view;
    bool stopping = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || view_ || !jobs_.empty(); });
      jobs = std::exchange(jobs_, {});
      view = std::exchange(view_, std::nullopt);
      stopping = stopping_;
    }
    if (stopping) {
      for (const Job& job : jobs) job.done(going_away());
      return;
    }
    if (view) use_view(*view);
    answer(std::move(jobs));
  }
}

void MoeRouter::use_view(const ClusterView& view) {
  transport_->set_servers(view);
  experts_->set_placement(placement_of(view, config_.num_layers, config_.moe.gate.num_experts));
  options_.on_view(view.version);
}

void MoeRouter::answer(std::vector<Job> jobs) {
  while (steps_.size() < jobs.size()) steps_.push_back(experts_->new_step());
  std::vector<absl::Status> begun;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const MoeFrame& frame = jobs[i].frame;
    begun.push_back(experts_->begin(frame.layer_idx, frame.hidden.view(), steps_[i].get()));
  }
  for (size_t i = 0; i < jobs.size(); ++i) {
    absl::Status status = begun[i];
    const Rows<const float> hidden = jobs[i].frame.hidden.view();
    MoeAnswer answer{.out = Matrix<float>(hidden.num_rows, hidden.num_cols)};
    if (status.ok()) status = experts_->finish(steps_[i].get(), answer.out.view());
    if (!status.ok()) {
      jobs[i].done(status);
      continue;
    }
    answer.faults = steps_[i]->faults;
    jobs[i].done(std::move(answer));
  }
}

}  // namespace conclave
