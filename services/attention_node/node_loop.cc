#include "services/attention_node/node_loop.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "services/server/log.h"

namespace conclave {
namespace {

const char kGoingAway[] = "this attention node is going away";

}  // namespace

NodeLoop::NodeLoop(Parts parts, const Options& options)
    : parts_(std::move(parts)), options_(options), pause_(options.first_pause) {
  CHECK(parts_.engine != nullptr);
  CHECK(parts_.clock != nullptr);
  CHECK(parts_.progress != nullptr);
  publish();
  thread_ = std::thread([this] { run(); });
}

NodeLoop::~NodeLoop() { stop(); }

absl::Status NodeLoop::submit(Request request) {
  CHECK(request.observer != nullptr);
  {
    const std::lock_guard lock(mutex_);
    if (!accepting_) return absl::UnavailableError(kGoingAway);
    if (static_cast<int32_t>(inbox_.requests.size()) >= options_.max_messages) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("%d requests wait to be taken in, the limit", options_.max_messages));
    }
    inbox_.requests.push_back(std::move(request));
  }
  inbox_changed_.notify_one();
  return absl::OkStatus();
}

void NodeLoop::cancel(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.cancels.push_back(id);
  }
  inbox_changed_.notify_one();
}

void NodeLoop::set_view(ClusterView view) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.view = std::move(view);
  }
  inbox_changed_.notify_one();
}

void NodeLoop::stop() {
  {
    const std::lock_guard lock(mutex_);
    accepting_ = false;
    inbox_.stop = true;
  }
  inbox_changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

NodeLoad NodeLoop::load() const {
  const std::lock_guard lock(mutex_);
  NodeLoad load = load_;
  load.num_waiting += static_cast<int32_t>(inbox_.requests.size());
  return load;
}

int64_t NodeLoop::placement_version() const {
  const std::lock_guard lock(mutex_);
  return placement_version_;
}

bool NodeLoop::idle() const {
  const std::lock_guard lock(mutex_);
  return num_inside_ == 0 && inbox_.requests.empty();
}

void NodeLoop::run() {
  while (true) {
    Inbox inbox = take_inbox(/*may_sleep=*/!ran_);
    const bool stop = inbox.stop;
    handle(std::move(inbox));
    if (stop) break;
    if (parts_.clock->now() >= next_retry_) {
      parts_.engine->retry_stalled();
      next_retry_ = absl::InfiniteFuture();
    }
    parts_.progress->progress(parts_.engine->num_requests() > 0);
    step();
    plan_retry();
    publish();
    parts_.progress->progress(parts_.engine->num_requests() > 0);
  }
  parts_.engine->fail_all(absl::UnavailableError(kGoingAway));
  publish();
  parts_.progress->progress(false);
}

// Sleeps until there is a message or it is time to try stalled requests again.
NodeLoop::Inbox NodeLoop::take_inbox(bool may_sleep) {
  std::unique_lock lock(mutex_);
  const auto has_mail = [this] { return !inbox_.empty(); };
  if (may_sleep && next_retry_ == absl::InfiniteFuture()) {
    inbox_changed_.wait(lock, has_mail);
  } else if (may_sleep) {
    const absl::Duration left = std::max(next_retry_ - parts_.clock->now(), absl::ZeroDuration());
    inbox_changed_.wait_for(lock, absl::ToChronoNanoseconds(left), has_mail);
  }
  num_inside_ += static_cast<int32_t>(inbox_.requests.size());
  return std::exchange(inbox_, {});
}

void NodeLoop::handle(Inbox inbox) {
  if (inbox.view) {
    parts_.use_view(*inbox.view);
    parts_.engine->retry_stalled();
    next_retry_ = absl::InfiniteFuture();
    pause_ = options_.first_pause;
    const std::lock_guard lock(mutex_);
    placement_version_ = inbox.view->version;
  }
  for (Request& request : inbox.requests) {
    RequestObserver* const observer = request.observer;
    const absl::Status status = parts_.engine->submit(std::move(request));
    if (!status.ok()) observer->on_finished({.reason = FinishReason::kError, .status = status});
  }
  // After the submissions: a client may have gone before its request was taken in.
  for (const RequestId id : inbox.cancels) parts_.engine->cancel(id);
}

void NodeLoop::step() {
  const absl::Time start = parts_.clock->now();
  ran_ = parts_.engine->step();
  if (!ran_) return;
  parts_.on_step(
      {.num_tokens = parts_.engine->last_step_tokens(), .duration = parts_.clock->now() - start});
}

void NodeLoop::plan_retry() {
  const Engine& engine = *parts_.engine;
  if (engine.num_stalls() > num_stalls_seen_) {
    num_stalls_seen_ = engine.num_stalls();
    if (pause_ == options_.first_pause) {
      log_warn("requests wait for experts",
               {{"stalled", engine.num_stalled()}, {"status", engine.last_stall()}});
    }
    next_retry_ = parts_.clock->now() + pause_;
    pause_ = std::min(2 * pause_, options_.longest_pause);
  } else if (engine.num_stalled() == 0) {
    if (pause_ != options_.first_pause) log_info("requests go on");
    next_retry_ = absl::InfiniteFuture();
    pause_ = options_.first_pause;
  }
}

void NodeLoop::publish() {
  const Engine& engine = *parts_.engine;
  const std::lock_guard lock(mutex_);
  load_ = {.num_running = engine.num_running(),
           .num_waiting = engine.num_waiting(),
           .num_stalled = engine.num_stalled(),
           .num_pages = engine.cache().num_pages(),
           .num_free_pages = engine.cache().num_free_pages(),
           .num_tokens = engine.num_tokens()};
  num_inside_ = engine.num_requests();
}

}  // namespace conclave
