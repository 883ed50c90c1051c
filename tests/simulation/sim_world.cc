#include "tests/simulation/sim_world.h"

#include <algorithm>
#include <utility>

namespace conclave {
namespace {

std::vector<SimAnswer> expected_answers(const Scenario& scenario) {
  std::vector<Request> requests;
  for (const ClientPlan& client : scenario.clients) {
    requests.push_back({.prompt = client.request.prompt,
                        .sampling = client.request.sampling,
                        .forced = client.request.forced,
                        .score_only = client.request.score_only});
  }
  return sim_answers(requests);
}

template <typename T>
T* find_by_name(const std::vector<std::unique_ptr<T>>& all, const std::string& name) {
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&name](const auto& one) { return one->name() == name; });
  return found == all.end() ? nullptr : found->get();
}

}  // namespace

SimWorld::SimWorld(const Scenario* scenario, Sabotage sabotage)
    : scenario_(*scenario),
      network_(&time_, scenario->seed, scenario->network),
      parts_({.time = &time_,
              .network = &network_,
              .log = &log_,
              .counts = &counts_,
              .seed = scenario->seed,
              .sabotage = sabotage}),
      control_(parts_, scenario->placement),
      frontend_(parts_, &control_,
                [this](const std::string& name) { return find_by_name(nodes_, name); },
                {.max_queued = scenario->max_queued, .inside = scenario->one_gateway}),
      answers_(expected_answers(*scenario)) {
  processes_ = {control_.process(), frontend_.process()};
  for (const ScenarioServer& server : scenario_.servers) {
    servers_.push_back(std::make_unique<SimExpertServer>(parts_, &control_, server.options));
    processes_.push_back(servers_.back()->process());
  }
  const auto find = [this](const std::string& name) { return find_by_name(servers_, name); };
  for (const SimNode::Options& node : scenario_.nodes) {
    nodes_.push_back(std::make_unique<SimNode>(parts_, &control_, find, node));
    processes_.push_back(nodes_.back()->process());
  }
  for (size_t i = 0; i < scenario_.clients.size(); ++i) {
    clients_.emplace_back(parts_, &frontend_, &scenario_.clients[i], &answers_[i]);
  }
  network_.set_doubling(scenario_.doubling);
}

void SimWorld::run() {
  const absl::Time start = time_.now();
  start_all();
  for (size_t i = 0; i < clients_.size(); ++i) {
    time_.at(start + scenario_.clients[i].at, [this, i] { clients_[i].begin(); });
  }
  for (const Fault& fault : scenario_.faults) {
    time_.at(start + fault.at, [this, &fault] { begin(fault); });
    time_.at(start + fault.at + fault.lasts, [this, &fault] { finish(fault); });
  }
  run_until(start + scenario_.end_of_faults());
  mend();
  const absl::Time end = time_.now() + kDrain;
  while (!all_ended() && time_.now() < end && log_.violations().empty()) {
    run_until(std::min(end, time_.now() + absl::Milliseconds(100)));
  }
  run_until(time_.now() + kRest);
  if (log_.violations().empty()) look_over();
  for (const auto& node : nodes_) {
    if (node->process()->alive()) node->count();
  }
  if (frontend_.process()->alive()) frontend_.count();
}

void SimWorld::start_all() {
  start_gateway();
  for (size_t i = 0; i < servers_.size(); ++i) servers_[i]->start(scenario_.servers[i].held);
  for (const auto& node : nodes_) node->start();
}

bool SimWorld::all_ended() const {
  return std::all_of(clients_.begin(), clients_.end(),
                     [](const SimClient& client) { return client.ended(); });
}

void SimWorld::run_until(absl::Time until) {
  while (log_.violations().empty() && time_.run_next(until)) {
    if (time_.num_events() > kMostEvents) log_.violate("something goes on for ever");
  }
}

SimProcess* SimWorld::process(int32_t which) {
  return processes_[static_cast<size_t>(which) % processes_.size()];
}

void SimWorld::mend() {
  log_.say("world", "all is mended");
  network_.set_loss(0);
  network_.set_damage(0);
  for (SimProcess* const process : processes_) {
    if (process->alive() && process->stopped()) process->go_on();
  }
  start_gateway();
  for (size_t i = 0; i < servers_.size(); ++i) {
    servers_[i]->set_slowness(1);
    servers_[i]->set_full(false);
    const ExpertSet& held = scenario_.servers[i].held;
    const bool alive = servers_[i]->process()->alive();
    const bool is_right = servers_[i]->managed() || servers_[i]->is_as_planned(held);
    if (!alive || !is_right) restart_server(i, held);
  }
  for (const auto& node : nodes_) {
    if (!node->process()->alive()) node->start();
  }
}

}  // namespace conclave
