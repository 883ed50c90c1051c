#include "gateway/request_table.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "gateway/names.h"

namespace conclave {
namespace {

// Whether it was the line or the node that failed, and not the request.
bool is_break(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status) || absl::IsUnknown(status);
}

}  // namespace

RequestTable::RequestTable(const Parts& parts, const Options& options)
    : options_(options),
      clock_(parts.clock),
      link_(parts.link),
      tokenizer_(parts.tokenizer),
      observer_(parts.observer),
      pool_(parts.clock, options.nodes) {}

absl::Status RequestTable::submit(GatewayRequest request, ClientSink* sink) {
  absl::Status status = check_submit(request);
  if (!status.ok()) {
    ++counters_.num_refused;
    return status;
  }
  ++counters_.num_accepted;
  counters_.num_prompt_tokens += static_cast<int64_t>(request.prompt.size());
  auto owned = std::make_unique<TableEntry>(
      LiveRequest(std::move(request), tokenizer_, options_.model), sink);
  owned->num_tokens = longest(owned->request(), options_.model.max_positions);
  owned->submitted = clock_->now();
  sink->on_started(index_.add(std::move(owned))->request());
  dispatch();
  return absl::OkStatus();
}

absl::Status RequestTable::check_submit(const GatewayRequest& request) const {
  if (!accepting_) return absl::UnavailableError("the gateway is stopping");
  if (index_.find(request.id) != nullptr) {
    return absl::AlreadyExistsError(
        absl::StrCat("request_id ", in_quotes(request.id), " is in use by a request under way"));
  }
  if (request.deadline <= clock_->now()) {
    return absl::DeadlineExceededError("the deadline had passed when the request came");
  }
  ASSIGN_OR_RETURN(const ServerId node,
                   pool_.choose(longest(request, options_.model.max_positions)));
  if (node != kNoServer || num_queued() < options_.max_queued) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrFormat("%d requests wait for an attention node, the most that may: %s", num_queued(),
                      pool_.problem()));
}

bool RequestTable::cancel(const std::string& id) {
  TableEntry* const entry = index_.find(id);
  if (entry == nullptr) return false;
  ++counters_.num_cancelled;
  cancel_run(*entry);
  entry->sink->on_failed(absl::CancelledError("the request was cancelled"));
  remove(entry);
  dispatch();
  return true;
}

void RequestTable::client_gone(const std::string& id, const ClientSink* sink) {
  TableEntry* const entry = index_.find(id);
  if (entry == nullptr || entry->sink != sink) return;
  ++counters_.num_client_gone;
  cancel_run(*entry);
  remove(entry);
  dispatch();
}

void RequestTable::on_tokens(RunHandle handle, RunBatch batch) {
  TableEntry* const entry = index_.find(handle);
  if (entry == nullptr) return;
  absl::StatusOr<AnswerDelta> delta = entry->live.take(std::move(batch));
  if (!delta.ok()) {
    cancel_run(*entry);
    fail(entry, delta.status());
    return dispatch();
  }
  pool_.mark_alive(entry->node);
  if (!delta->ids.empty()) {
    entry->num_failures = entry->num_nodes_lost = 0;
    entry->broke_on.clear();
  }
  say(entry, *std::move(delta));
  if (!entry->live.stopped()) return;
  cancel_run(*entry);
  finish(entry, RunEnd::kLength);
  dispatch();
}

void RequestTable::on_run_finished(RunHandle handle, RunEnd end) {
  TableEntry* const entry = index_.find(handle);
  if (entry == nullptr) return;
  const absl::Status status = entry->live.check_end();
  if (status.ok()) {
    finish(entry, end);
  } else {
    fail(entry, status);
  }
  dispatch();
}

void RequestTable::on_run_failed(RunHandle handle, const absl::Status& status) {
  CHECK(!status.ok());
  TableEntry* const entry = index_.find(handle);
  if (entry == nullptr) return;
  if (is_break(status)) {
    pool_.mark_failed(entry->node);
    lose_run(entry);
  } else if (absl::IsResourceExhausted(status)) {
    ++counters_.num_turned_away;
    pool_.mark_full(entry->node);
    requeue(entry);
  } else if (absl::IsDeadlineExceeded(status) &&
             entry->request().deadline < absl::InfiniteFuture()) {
    expire(entry);
  } else {
    fail(entry, status);
  }
  dispatch();
}

void RequestTable::nodes_changed(const std::vector<NodeInfo>& nodes) {
  const std::vector<ServerId> lost = pool_.lost_in(nodes);
  const auto& runs = index_.runs();
  for (auto next = runs.begin(); next != runs.end() && !lost.empty();) {
    TableEntry* const entry = (next++)->second;
    if (std::find(lost.begin(), lost.end(), entry->node) == lost.end()) continue;
    cancel_run(*entry);
    lose_run(entry);
  }
  for (const ServerId node : lost) blame(node);
  pool_.update(nodes);
  dispatch();
}

// Whose run broke on a node that has gone may have been what took it down. All of them are queued:
// what ran there has just been lost.
void RequestTable::blame(ServerId lost_node) {
  const auto& queue = index_.queue();
  for (auto next = queue.begin(); next != queue.end();) {
    TableEntry* const entry = (next++)->second;
    if (entry->broke_on.erase(lost_node) == 0) continue;
    if (++entry->num_nodes_lost < options_.max_nodes_lost) continue;
    fail(entry, absl::InternalError(absl::StrFormat(
                    "%d attention nodes were lost one after the other while they ran this request, "
                    "without an id in between: it is not given to another",
                    entry->num_nodes_lost)));
  }
  for (const auto& [handle, entry] : index_.runs()) {
    entry->num_nodes_lost += static_cast<int32_t>(entry->broke_on.erase(lost_node));
  }
}

absl::Time RequestTable::tick() {
  const absl::Time now = clock_->now();
  while (index_.next_deadline() <= now) {
    TableEntry* const due = index_.first_due();
    cancel_run(*due);
    expire(due);
  }
  dispatch();
  absl::Time next = index_.next_deadline();
  if (index_.queue().empty()) return next;
  next = std::min(next, pool_.next_retry());
  for (const auto& [key, entry] : index_.queue()) {
    if (entry->not_before > now) next = std::min(next, entry->not_before);
  }
  return next;
}

void RequestTable::fail_all(const absl::Status& status) {
  while (TableEntry* const entry = index_.any()) {
    cancel_run(*entry);
    fail(entry, status);
  }
}

void RequestTable::say(TableEntry* entry, AnswerDelta delta) {
  if (delta.empty()) return;
  if (!delta.ids.empty()) observe(entry, delta.ids.size());
  entry->sink->on_delta(std::move(delta));
}

void RequestTable::observe(TableEntry* entry, size_t num_ids) {
  const absl::Time now = clock_->now();
  const bool first = entry->live.num_generated() == static_cast<int32_t>(num_ids);
  const absl::Duration gap = first ? absl::ZeroDuration() : now - entry->last_token;
  const auto num_next = static_cast<int32_t>(num_ids) - (first ? 1 : 0);
  entry->last_token = now;
  counters_.num_tokens += static_cast<int64_t>(num_ids);
  if (observer_ == nullptr) return;
  if (first) observer_->on_first_token(now - entry->submitted);
  if (num_next > 0) observer_->on_next_tokens(gap, num_next);
}

// Gives nodes what is queued, as long as any of them has room.
void RequestTable::dispatch() {
  const absl::Time now = clock_->now();
  const auto& queue = index_.queue();
  for (auto next = queue.begin(); next != queue.end() && pool_.has_room();) {
    TableEntry* const entry = (next++)->second;
    if (entry->not_before > now) continue;
    const absl::StatusOr<ServerId> node = pool_.choose(entry->num_tokens);
    if (node.ok() && *node != kNoServer) {
      start_run(entry, *node);
    } else if (!node.ok() && !entry->was_at_node) {
      fail(entry, node.status());
    }  // One that fitted a node before waits for such a node to come back.
  }
}

void RequestTable::start_run(TableEntry* entry, ServerId node) {
  index_.move_to_node(entry, node);
  pool_.assign(node, entry->num_tokens);
  ++counters_.num_runs;
  link_->run(node, entry->handle, entry->live.begin_run());
}

void RequestTable::requeue(TableEntry* entry) {
  pool_.release(entry->node, entry->num_tokens);
  index_.move_to_queue(entry);
}

// The run is over and the answer is not, unless only its end was lost.
void RequestTable::lose_run(TableEntry* entry) {
  if (const std::optional<RunEnd> end = entry->live.complete()) return finish(entry, *end);
  ++counters_.num_replays;
  counters_.num_replayed_tokens += entry->live.num_ids();
  entry->broke_on.insert(entry->node);
  // The first try after an id is made at once: most often it is another node that makes it.
  if (++entry->num_failures > 1) {
    entry->not_before = clock_->now() + options_.backoff.after(entry->num_failures - 1);
  }
  requeue(entry);
}

std::string RequestTable::waited_for(const TableEntry& entry) const {
  if (!entry.at_node) return pool_.has_room() ? "the attention nodes failed" : pool_.problem();
  return cluster_problem_.empty() ? "the answer was not complete" : cluster_problem_;
}

void RequestTable::finish(TableEntry* entry, RunEnd end) {
  say(entry, entry->live.last_delta());
  const AnswerFinish finish = entry->live.finish(end);
  switch (finish.reason) {
    case AnswerEnd::kStopId:
      ++counters_.num_stop_id;
      break;
    case AnswerEnd::kStopString:
      ++counters_.num_stop_string;
      break;
    case AnswerEnd::kLength:
      ++counters_.num_length;
      break;
  }
  entry->sink->on_finished(finish);
  remove(entry);
}

void RequestTable::fail(TableEntry* entry, const absl::Status& status) {
  ++counters_.num_failed;
  entry->sink->on_failed(status);
  remove(entry);
}

void RequestTable::expire(TableEntry* entry) {
  ++counters_.num_deadline;
  entry->sink->on_failed(absl::DeadlineExceededError(absl::StrFormat(
      "the deadline passed after %s and %d generated ids: %s",
      absl::FormatDuration(absl::Trunc(clock_->now() - entry->submitted, absl::Milliseconds(1))),
      entry->live.num_generated(), waited_for(*entry))));
  remove(entry);
}

void RequestTable::cancel_run(const TableEntry& entry) {
  if (entry.at_node) link_->cancel(entry.handle);
}

void RequestTable::remove(TableEntry* entry) {
  if (entry->at_node) pool_.release(entry->node, entry->num_tokens);
  index_.erase(entry);
}

}  // namespace conclave
