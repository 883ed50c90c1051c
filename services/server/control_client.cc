#include "services/server/control_client.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "router/wire/grpc_status.h"
#include "router/wire/reconnect_pause.h"
#include "services/server/control_channel.h"
#include "services/server/control_codec.h"
#include "services/server/control_line.h"
#include "services/server/log.h"

namespace conclave {
namespace {

constexpr absl::Duration kShortestBeat = absl::Milliseconds(10);
constexpr absl::Duration kLongestBeat = absl::Minutes(1);
constexpr absl::Duration kFarewell = absl::Seconds(1);  // for a line to end by itself
constexpr int kSilentBeats = 6;                         // after which control has forgotten us

// A word of control's, as against a line that could not be had or broke.
bool is_refusal(const absl::Status& status) {
  return absl::IsAlreadyExists(status) || absl::IsFailedPrecondition(status) ||
         absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status);
}

bool needs_a_person(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsInvalidArgument(status);
}

}  // namespace

class ControlClient::Impl {
 public:
  Impl(Options options, Listener listener)
      : options_(std::move(options)),
        listener_(std::move(listener)),
        stub_(v1::Control::NewStub(make_control_channel(options_.control))),
        pause_({.first = options_.first_pause, .longest = options_.longest_pause}),
        thread_([this] { run(); }) {}

  ~Impl() { leave(); }

  void beat_now() {
    const std::lock_guard lock(mutex_);
    beat_now_ = true;
    changed_.notify_all();
  }

  void drain() {
    const std::lock_guard lock(mutex_);
    is_draining_ = true;
    beat_now_ = true;
    changed_.notify_all();
  }

  void leave() {
    {
      const std::lock_guard lock(mutex_);
      is_leaving_ = true;
      changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
  }

  bool registered() const { return with_lock(registered_); }
  bool ever_registered() const { return with_lock(ever_registered_); }
  bool may_leave() const { return with_lock(may_leave_); }

 private:
  using Lock = std::unique_lock<std::mutex>;

  bool with_lock(const bool& flag) const {
    const std::lock_guard lock(mutex_);
    return flag;
  }

  void run();
  absl::Status run_line();
  absl::Status follow(ControlLine* line, Lock* lock);
  void on_message(const v1::RegisterResponse& message, Lock* lock);
  void on_welcome(const v1::Welcome& welcome, Lock* lock);
  void on_order(const v1::ExpertOrder& message, Lock* lock);
  absl::Status on_deadline(ControlLine* line, Lock* lock);
  void beat(ControlLine* line, Lock* lock);
  absl::Status end_line(ControlLine* line, Lock* lock);
  void sleep(absl::Duration pause, Lock* lock);
  void wait_until(absl::Time until, Lock* lock);
  void log_once(const absl::Status& status);

  const Options options_;
  const Listener listener_;
  const std::unique_ptr<v1::Control::Stub> stub_;

  const SystemClock clock_;  // the wall's may be set back, and heartbeats would stop

  // Of the client's thread.
  ReconnectPause pause_;
  std::string logged_;
  absl::Time deadline_;  // for the welcome; then for the next heartbeat
  absl::Duration interval_;
  int num_late_beats_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool registered_ = false;
  bool ever_registered_ = false;
  bool may_leave_ = false;
  bool is_draining_ = false;
  bool is_leaving_ = false;
  bool beat_now_ = false;

  std::thread thread_;  // last: it uses all of the above
};

void ControlClient::Impl::run() {
  for (;;) {
    const absl::Status end = run_line();
    Lock lock(mutex_);
    const bool was_registered = std::exchange(registered_, false);
    if (is_leaving_) return;
    const bool gives_up = !ever_registered_ && needs_a_person(end);
    lock.unlock();
    log_once(end);
    if (gives_up) {
      listener_.on_refused(end);
      return;
    }
    if (was_registered) pause_.reset();
    lock.lock();
    sleep(is_refusal(end) ? options_.refused_pause : pause_.next(), &lock);
  }
}

// One line from hello to its end; says how it ended.
absl::Status ControlClient::Impl::run_line() {
  ControlLine line(&mutex_, &changed_);
  line.start(stub_.get());
  v1::RegisterRequest hello;
  ServerFacts facts = options_.facts;
  listener_.on_hello(&facts);
  to_proto(facts, hello.mutable_hello());
  Lock lock(mutex_);
  deadline_ = clock_.now() + options_.welcome_timeout;
  num_late_beats_ = 0;
  if (line.can_write()) line.write(std::move(hello));
  const absl::Status followed = follow(&line, &lock);
  const absl::Status ended = end_line(&line, &lock);
  return followed.ok() ? ended : followed;
}

// Until the line ends, is given up (the reason) or this server leaves.
absl::Status ControlClient::Impl::follow(ControlLine* line, Lock* lock) {
  while (!is_leaving_) {
    if (const auto message = line->take()) {
      on_message(*message, lock);
    } else if (line->end()) {
      return absl::OkStatus();
    } else if (clock_.now() >= deadline_ || (beat_now_ && registered_ && line->can_write())) {
      const absl::Status status = on_deadline(line, lock);
      if (!status.ok()) {
        line->cancel();
        return status;
      }
    } else {
      wait_until(deadline_, lock);
    }
  }
  return absl::OkStatus();
}

void ControlClient::Impl::on_message(const v1::RegisterResponse& message, Lock* lock) {
  if (message.has_welcome()) on_welcome(message.welcome(), lock);
  if (message.has_goodbye() && is_draining_) may_leave_ = true;
  if (message.has_order() && registered_) on_order(message.order(), lock);
}

// Control hears at once that the order is followed.
void ControlClient::Impl::on_order(const v1::ExpertOrder& message, Lock* lock) {
  if (options_.config == nullptr) return;  // nothing here can be ordered
  lock->unlock();
  absl::StatusOr<ExpertOrder> order = from_proto(message, *options_.config);
  if (order.ok()) {
    listener_.on_order(*std::move(order));
  } else {
    log_error("order dropped", {{"order", message.order()}, {"status", order.status()}});
  }
  lock->lock();
  beat_now_ = true;
}

void ControlClient::Impl::on_welcome(const v1::Welcome& welcome, Lock* lock) {
  registered_ = true;
  ever_registered_ = true;
  interval_ = std::clamp(absl::Milliseconds(welcome.heartbeat_ms()), kShortestBeat, kLongestBeat);
  deadline_ = clock_.now();  // the load is told at once
  lock->unlock();
  logged_.clear();
  log_info("registered", {{"control", options_.control},
                          {"server_id", options_.facts.id},
                          {"server_no", welcome.server_no()}});
  listener_.on_registered();
  lock->lock();
}

// A heartbeat is due; or one is asked for, and the line takes it. One that is asked for while the
// one before is still on its way waits for it, and only intervals that pass so count as late.
absl::Status ControlClient::Impl::on_deadline(ControlLine* line, Lock* lock) {
  if (!registered_) {
    return absl::DeadlineExceededError(absl::StrCat(
        "control does not answer within ", absl::FormatDuration(options_.welcome_timeout)));
  }
  deadline_ = clock_.now() + interval_;
  if (line->can_write()) {
    beat_now_ = false;
    num_late_beats_ = 0;
    beat(line, lock);
  } else if (++num_late_beats_ >= kSilentBeats) {
    return absl::DeadlineExceededError("control takes no heartbeats");
  }
  return absl::OkStatus();
}

void ControlClient::Impl::beat(ControlLine* line, Lock* lock) {
  const bool is_draining = is_draining_;
  lock->unlock();
  Heartbeat beat = listener_.heartbeat();
  beat.draining |= is_draining;
  v1::RegisterRequest message;
  to_proto(beat, message.mutable_heartbeat());
  lock->lock();
  if (line->can_write()) line->write(std::move(message));
}

// gRPC is done with the line when it says so, and not before may the line be destroyed.
absl::Status ControlClient::Impl::end_line(ControlLine* line, Lock* lock) {
  const absl::Time patience = clock_.now() + kFarewell;
  const auto is_settled = [line] { return line->can_write() || line->end().has_value(); };
  while (!is_settled() && clock_.now() < patience) wait_until(patience, lock);
  if (line->can_write()) line->close();
  while (!line->end() && clock_.now() < patience) wait_until(patience, lock);
  if (!line->end()) line->cancel();
  changed_.wait(*lock, [line] { return line->end().has_value(); });
  const absl::Status status = from_grpc(*line->end());
  return status.ok() ? absl::UnavailableError("control closed the line") : status;
}

void ControlClient::Impl::sleep(absl::Duration pause, Lock* lock) {
  const absl::Time until = clock_.now() + pause;
  while (!is_leaving_ && clock_.now() < until) wait_until(until, lock);
}

void ControlClient::Impl::wait_until(absl::Time until, Lock* lock) {
  const absl::Duration left =
      std::clamp(until - clock_.now(), absl::ZeroDuration(), absl::Hours(1));
  changed_.wait_for(*lock, absl::ToChronoNanoseconds(left));
}

void ControlClient::Impl::log_once(const absl::Status& status) {
  std::string text = status.ToString();
  if (text == logged_) return;
  const char* const event = is_refusal(status) ? "control refuses this server" : "control is away";
  log_warn(event, {{"control", options_.control}, {"status", text}});
  logged_ = std::move(text);
}

ControlClient::ControlClient(Options options, Listener listener)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(listener))) {}

ControlClient::~ControlClient() = default;

bool ControlClient::registered() const { return impl_->registered(); }
bool ControlClient::ever_registered() const { return impl_->ever_registered(); }
bool ControlClient::may_leave() const { return impl_->may_leave(); }
void ControlClient::beat_now() { impl_->beat_now(); }
void ControlClient::drain() { impl_->drain(); }
void ControlClient::leave() { impl_->leave(); }

}  // namespace conclave
