#include "tests/simulation/sim_expert_server.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "tests/simulation/sim_model.h"

namespace conclave {

SimExpertServer::State::State(ExpertWeights experts, int32_t max_queued_jobs)
    : weights(std::move(experts)),
      engine(sim_model().config(), &weights, inline_executor()),
      batcher(&sim_model().config(), &weights, &engine, {.max_queued_jobs = max_queued_jobs}) {}

SimExpertServer::SimExpertServer(const SimWorldParts& parts, SimControl* control,
                                 const Options& options)
    : parts_(parts),
      options_(options),
      control_(control),
      process_(parts.time, options.name),
      random_(parts.seed, std::hash<std::string>()(options.name)) {}

void SimExpertServer::start(const ExpertSet& held) {
  process_.start();
  held_ = held;
  draining_ = false;
  parts_.log->say(name(), "starts with " + held.to_string());
  state_ = std::make_unique<State>(weights_of(held), options_.max_queued_legs);
  state_->client = std::make_unique<SimControlClient>(
      SimControlClient::Parts{.world = parts_,
                              .process = &process_,
                              .control = control_,
                              .facts = [this] { return facts(); },
                              .heartbeat = [this] { return heartbeat(); },
                              .on_goodbye = [this] { kill(); }});
}

void SimExpertServer::kill() {
  parts_.log->say(name(), draining_ ? "leaves" : "is killed");
  parts_.network->on_kill(&process_);
  process_.kill();
  state_.reset();
}

void SimExpertServer::drain() {
  parts_.log->say(name(), "drains");
  draining_ = true;
  state_->client->drain();
}

// Legs of experts that are released meanwhile are none of the engine's: they are refused here, as
// submit() would have.
void SimExpertServer::load(const ExpertSet& held) {
  parts_.log->say(name(), "now holds " + held.to_string());
  while (state_->batcher.run_once()) {
  }
  held_ = held;
  state_->weights = weights_of(held);
}

ExpertWeights SimExpertServer::weights_of(const ExpertSet& held) const {
  const bool lies = parts_.sabotage == Sabotage::kUnheldExpert;
  return sim_model().experts(lies ? ExpertSet::all(sim_model().config()) : held);
}

ServerFacts SimExpertServer::facts() {
  told_ = held_;
  return {.role = ServerRole::kExpertServer,
          .id = name(),
          .incarnation = std::hash<std::string>()(name()) + process_.incarnation(),
          .address = name() + ":1",
          .profile = sim_model().profile(/*is_node=*/false),
          .capacity_bytes = 1 << 20,
          .held = held_};
}

Heartbeat SimExpertServer::heartbeat() const {
  return {.experts = {.num_queued_legs = static_cast<int32_t>(state_->legs.size())}};
}

void SimExpertServer::receive(ArrivedLeg leg, LegHandler::Done done) {
  if (full_) {
    ++parts_.counts->num_full_servers;
    return done(absl::ResourceExhaustedError("the queue is full"));
  }
  State& state = *state_;
  const auto kept = state.legs.insert(state.legs.end(), {std::move(leg), std::move(done)});
  const ArrivedLeg& frame = kept->frame;
  state.batcher.submit(
      {.layer_idx = frame.layer_idx,
       .pick_begin = frame.pick_begin,
       .pick_expert = frame.pick_expert,
       .row_type = frame.hidden.dtype,
       .num_cols = frame.hidden.num_cols,
       .rows = frame.hidden.bytes,
       .reply_type = frame.reply_type,
       .done = [this, kept](absl::StatusOr<SharedBytes> said) { finish(kept, std::move(said)); }});
  work();
}

void SimExpertServer::work() {
  if (state_->is_working || state_->batcher.num_queued() == 0) return;
  state_->is_working = true;
  const absl::Duration takes = options_.pace * slowness_ * (0.5 + random_.fraction());
  process_.after(takes, [this] {
    state_->batcher.run_once();
    state_->is_working = false;
    work();
  });
}

void SimExpertServer::finish(std::list<Leg>::iterator leg, absl::StatusOr<SharedBytes> said) {
  std::list<Leg> answered;
  answered.splice(answered.begin(), state_->legs, leg);
  if (said.ok()) {
    ++num_answers_;
    check_answer(leg->frame);
    if (parts_.sabotage == Sabotage::kWrongRow && num_answers_ == 20) {
      said = spoil(*std::move(said));
    }
  } else if (absl::IsNotFound(said.status())) {
    ++parts_.counts->num_not_found;
  } else {
    ++parts_.counts->num_full_servers;
  }
  leg->done(std::move(said));
}

void SimExpertServer::check_answer(const ArrivedLeg& leg) {
  for (const int32_t expert : leg.pick_expert) {
    if (held_.contains(leg.layer_idx, expert)) continue;
    parts_.log->violate(absl::StrFormat("%s answers for expert %d of layer %d, which it lacks",
                                        name(), expert, leg.layer_idx));
  }
}

SharedBytes SimExpertServer::spoil(SharedBytes rows) {
  parts_.log->say(name(), "sabotage: answers with a wrong row");
  std::vector<std::byte> bytes(rows.begin(), rows.end());
  for (size_t i = 1; i < bytes.size(); i += 2) bytes[i] ^= std::byte{0x80};  // the sign of bf16
  return bytes;
}

}  // namespace conclave
