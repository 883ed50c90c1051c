#include "tests/simulation/sim_expert_server.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "tests/simulation/sim_model.h"

namespace conclave {

SimExpertServer::State::State(const ExpertWeights& experts, int32_t max_queued_jobs)
    : weights(experts),
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
  hold_ = held;
  draining_ = false;
  parts_.log->say(name(), "starts with " + held.to_string());
  state_ = std::make_unique<State>(weights_of(held), options_.max_queued_legs);
  state_->client = std::make_unique<SimControlClient>(
      SimControlClient::Parts{.world = parts_,
                              .process = &process_,
                              .control = control_,
                              .facts = [this] { return facts(); },
                              .heartbeat = [this] { return heartbeat(); },
                              .on_order = [this](const ExpertOrder& order) { follow(order); },
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
  if (options_.managed) return;
  parts_.log->say(name(), "now holds " + held.to_string());
  while (state_->batcher.run_once()) {
  }
  held_ = held;
  hold_ = held;
  state_->weights.remove(ExpertSet::all(sim_model().config()));
  state_->weights.add(weights_of(held));
}

void SimExpertServer::follow(const ExpertOrder& order) {
  parts_.log->say(name(),
                  absl::StrFormat("is ordered (%d) %s", order.order, order.hold.to_string()));
  ++parts_.counts->num_orders;
  const ExpertSet gone = held_.minus(order.hold);
  order_ = order.order;
  hold_ = order.hold;
  held_ = held_.minus(gone);
  parts_.counts->num_releases += gone.size();
  state_->weights.remove(gone);
  state_->batcher.refuse_unheld();
  const int64_t number = ++state_->num_orders;
  process_.after(options_.load_time, [this, number] {
    if (number == state_->num_orders) load_next();
  });
}

void SimExpertServer::load_next() {
  const ExpertSet missing = hold_.minus(held_);
  for (int32_t layer = 0; layer < missing.num_layers(); ++layer) {
    if (missing.spans(layer).empty()) continue;
    ExpertSet one(missing.num_layers(), missing.num_experts());
    one.insert(layer, missing.spans(layer).front().first);
    state_->weights.add(weights_of(one));
    held_.insert_all(one);
    ++parts_.counts->num_loads;
    const int64_t number = state_->num_orders;
    process_.after(options_.load_time, [this, number] {
      if (number == state_->num_orders) load_next();
    });
    return;
  }
}

ExpertWeights SimExpertServer::weights_of(const ExpertSet& held) const {
  const bool lies = parts_.sabotage == Sabotage::kUnheldExpert;
  return sim_model().experts(lies ? ExpertSet::all(sim_model().config()) : held);
}

ServerFacts SimExpertServer::facts() {
  told_ = held_;
  order_ = 0;
  return {.role = ServerRole::kExpertServer,
          .id = name(),
          .incarnation = std::hash<std::string>()(name()) + process_.incarnation(),
          .address = name() + ":1",
          .profile = sim_model().profile(/*is_node=*/false),
          .capacity_bytes = static_cast<uint64_t>(options_.num_slots),
          .held_bytes = static_cast<uint64_t>(held_.size()),
          .held = held_,
          .managed = options_.managed,
          .expert_bytes = 1};
}

Heartbeat SimExpertServer::heartbeat() const {
  Heartbeat beat{.experts = {.num_queued_legs = static_cast<int32_t>(state_->legs.size())}};
  if (!options_.managed) return beat;
  beat.holding = Holding{.held = held_,
                         .held_bytes = static_cast<uint64_t>(held_.size()),
                         .order = order_,
                         .problem = "",
                         .picks = {}};
  return beat;
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
