#include "tests/simulation/sim_node.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "tests/simulation/sim_node_state.h"

namespace conclave {
namespace {

// As NodeLoop's.
constexpr absl::Duration kFirstRetry = absl::Milliseconds(20);
constexpr absl::Duration kLongestRetry = absl::Seconds(1);

}  // namespace

SimNode::State::State(SimNode* node)
    : counts(node->parts_.counts),
      transport({.world = node->parts_,
                 .process = &node->process_,
                 .find = node->find_,
                 .block = [node](absl::Time until) { node->block(until); },
                 .wake = [node] { node->wake(); }}),
      retry_pause(kFirstRetry) {
  const SimModel& model = sim_model();
  const ModelConfig& config = model.config();
  const Options& options = node->options_;
  const int32_t step_tokens = std::max(options.prefill_chunk, options.max_running);
  cache = *LatentCache::create({.num_layers = config.num_layers,
                                .row_cols = config.mla.cache_cols(),
                                .page_tokens = kSimPageTokens,
                                .num_pages = options.num_pages});
  attention = std::make_unique<TimedAttention>(make_absorbed_mla({.config = &config,
                                                                  .trunk = &model.trunk(),
                                                                  .cache = cache.get(),
                                                                  .executor = inline_executor(),
                                                                  .max_tokens = step_tokens}),
                                               node);
  experts = *ExpertLayer::create({.config = &config,
                                  .gates = gate_weights(model.trunk()),
                                  .transport = &transport,
                                  .executor = inline_executor(),
                                  .clock = node->parts_.time,
                                  .observer = this,
                                  .members = &members},
                                 Placement(kSimLayers, kSimExperts, /*version=*/0),
                                 {.max_tokens = step_tokens, .leg_timeout = options.leg_timeout});
  walk = std::make_unique<LayerWalk>(LayerWalk::Parts{.config = &config,
                                                      .trunk = &model.trunk(),
                                                      .attention = attention.get(),
                                                      .moe = experts.get(),
                                                      .executor = inline_executor(),
                                                      .clock = node->parts_.time,
                                                      .overlap = options.overlap,
                                                      .max_tokens = step_tokens});
  engine =
      std::make_unique<Engine>(&config, cache.get(), walk.get(),
                               Engine::Options{.scheduler = {.step_tokens = step_tokens,
                                                             .prefill_chunk = options.prefill_chunk,
                                                             .max_running = options.max_running},
                                               .max_requests = options.real_max_requests,
                                               .num_ids = kSimVocab});
}

void SimNode::State::use_view(const ClusterView& view) {
  transport.set_servers(view);
  experts->set_placement(placement_of(view, kSimLayers, kSimExperts));
  placement_version = view.version;
}

SimNode::SimNode(const SimWorldParts& parts, SimControl* control,
                 std::function<SimExpertServer*(const std::string&)> find, const Options& options)
    : parts_(parts),
      options_(options),
      control_(control),
      find_(std::move(find)),
      process_(parts.time, options.name),
      random_(parts.seed, std::hash<std::string>()(options.name)) {}

SimNode::~SimNode() {
  if (process_.alive()) kill();
}

void SimNode::start() {
  process_.start();
  parts_.log->say(name(), "starts");
  draining_ = false;
  state_ = std::make_unique<State>(this);
  state_->task = std::make_unique<SimTask>([this] { loop(); });
  state_->client = std::make_unique<SimControlClient>(
      SimControlClient::Parts{.world = parts_,
                              .process = &process_,
                              .control = control_,
                              .facts = [this] { return facts(); },
                              .heartbeat = [this] { return heartbeat(); },
                              .on_goodbye = [this] { kill(); },
                              .on_view =
                                  [this](const ClusterView& view) {
                                    state_->members.update(view);
                                    state_->view = view;
                                    wake();
                                  }});
  process_.run([this] { state_->task->resume(); });
}

// Runs in the world, never in the node's own task.
void SimNode::kill() {
  parts_.log->say(name(), absl::StrFormat("%s with %d requests", draining_ ? "leaves" : "is killed",
                                          state_->engine->num_requests()));
  if (state_->in_step) ++parts_.counts->num_mid_step_kills;
  count();
  state_->dead = true;
  state_->transport.die();
  parts_.network->on_kill(&process_);
  process_.kill();
  while (!state_->task->is_over()) state_->task->resume();
  state_.reset();
}

void SimNode::count() const {
  const Engine& engine = *state_->engine;
  parts_.counts->num_steps += engine.num_steps();
  parts_.counts->num_halved_steps += engine.walk().counters().num_halved_steps;
  parts_.counts->num_preemptions += engine.num_preemptions();
  parts_.counts->num_stalls += engine.num_stalls();
}

void SimNode::go_on() { process_.go_on(); }

void SimNode::drain() {
  parts_.log->say(name(), "drains");
  draining_ = true;
  state_->client->drain();
}

const Engine& SimNode::engine() const { return *state_->engine; }
int64_t SimNode::placement_version() const { return state_->placement_version; }

// The step thread; NodeLoop::run() in words of the simulator.
void SimNode::loop() {
  State& state = *state_;
  bool ran = false;
  if (parts_.sabotage == Sabotage::kLeakedPage) {
    CHECK(state.cache->reserve(&state.leaked, 1).ok());
  }
  while (!state.dead) {
    const auto has_mail = [&state] {
      return !state.requests.empty() || !state.cancels.empty() || state.view.has_value();
    };
    while (!ran && !state.dead && !has_mail() && parts_.time->now() < state.next_retry) {
      block(state.next_retry);
    }
    if (state.dead) break;
    handle_mail();
    if (parts_.time->now() >= state.next_retry) {
      state.engine->retry_stalled();
      state.next_retry = absl::InfiniteFuture();
    }
    state.in_step = true;
    ran = state.engine->step();
    state.in_step = false;
    if (ran) sleep(options_.pace);
    plan_retry();
    const Engine& engine = *state.engine;
    state.load = {.num_running = engine.num_running(),
                  .num_waiting = engine.num_waiting(),
                  .num_stalled = engine.num_stalled(),
                  .num_pages = engine.cache().num_pages(),
                  .num_free_pages = engine.cache().num_free_pages(),
                  .num_tokens = engine.num_tokens()};
  }
  state.engine->fail_all(absl::UnavailableError("this attention node is going away"));
  if (state.cache->num_free_pages() != state.cache->num_pages()) {
    parts_.log->violate(name() + " dies with pages away");
  }
  state.cache->release(&state.leaked);
}

void SimNode::handle_mail() {
  State& state = *state_;
  if (const std::optional<ClusterView> view = std::exchange(state.view, std::nullopt)) {
    state.use_view(*view);
    state.engine->retry_stalled();
    state.next_retry = absl::InfiniteFuture();
    state.retry_pause = kFirstRetry;
  }
  for (Request& request : std::exchange(state.requests, {})) {
    RequestObserver* const observer = request.observer;
    const absl::Status status = state.engine->submit(std::move(request));
    if (!status.ok()) observer->on_finished({.reason = FinishReason::kError, .status = status});
  }
  for (const RequestId id : std::exchange(state.cancels, {})) state.engine->cancel(id);
}

void SimNode::plan_retry() {
  State& state = *state_;
  const Engine& engine = *state.engine;
  if (engine.num_stalls() > state.num_stalls_seen) {
    state.num_stalls_seen = engine.num_stalls();
    parts_.log->say(name(), absl::StrFormat("%d stalled: %s", engine.num_stalled(),
                                            engine.last_stall().ToString()));
    state.next_retry = parts_.time->now() + state.retry_pause;
    state.retry_pause = std::min(2 * state.retry_pause, kLongestRetry);
  } else if (engine.num_stalled() == 0) {
    state.next_retry = absl::InfiniteFuture();
    state.retry_pause = kFirstRetry;
  }
}

// In the task. Returns at `until`, when somebody wakes it, or at once where the process is dead;
// whoever blocks looks again at what it waits for. Nothing happens between a look and a block.
void SimNode::block(absl::Time until) {
  State& state = *state_;
  if (state.dead) return;
  const uint64_t number = ++state.num_blocks;
  if (until != absl::InfiniteFuture()) {
    process_.after(until - parts_.time->now(), [this, number] {
      if (state_->num_blocks == number) wake();
    });
  }
  state.is_blocked = true;
  state.task->pause();
  state.is_blocked = false;
}

// In this process. Has no effect where the task runs: it is the one who calls then.
void SimNode::wake() {
  if (state_->is_blocked) state_->task->resume();
}

void SimNode::sleep(absl::Duration duration) {
  const absl::Time until = parts_.time->now() + duration;
  while (!state_->dead && parts_.time->now() < until) block(until);
}

ServerFacts SimNode::facts() const {
  return {.role = ServerRole::kAttentionNode,
          .id = name(),
          .incarnation = std::hash<std::string>()(name()) + process_.incarnation(),
          .address = name() + ":1",
          .profile = sim_model().profile(/*is_node=*/true),
          .cache_tokens = int64_t{options_.num_pages} * kSimPageTokens,
          .max_requests = options_.max_requests};
}

Heartbeat SimNode::heartbeat() const {
  NodeLoad load = state_->load;
  load.num_waiting += static_cast<int32_t>(state_->requests.size());
  return {.placement_version = state_->placement_version, .node = load};
}

}  // namespace conclave
