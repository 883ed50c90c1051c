#include "tests/simulation/sim_control_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

namespace conclave {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(2);
constexpr absl::Duration kRefusedPause = absl::Seconds(2);
constexpr absl::Duration kWelcomeTimeout = absl::Seconds(5);

absl::Duration next_pause(absl::Duration* pause) {
  return std::exchange(*pause, std::min(2 * *pause, kLongestPause));
}

}  // namespace

SimControlClient::SimControlClient(Parts parts)
    : parts_(std::move(parts)), pause_(kFirstPause), watch_pause_(kFirstPause) {
  connect();
  if (parts_.on_view) watch();
}

void SimControlClient::connect() {
  SimControl* const control = parts_.control;
  SimNetwork* const network = parts_.world.network;
  const int64_t number = ++num_lines_;
  registered_ = false;
  line_ = network->open(
      parts_.process, control->process(), [control](StreamId line) { control->on_line(line); },
      [this](const absl::Status& status) { on_broken(status); });
  const ControlVoice voice{.welcome = [this] { on_welcome(); },
                           .order = [this](const ExpertOrder& order) { parts_.on_order(order); },
                           .goodbye = [this] { parts_.on_goodbye(); }};
  network->send(line_, parts_.process, [control, line = line_, facts = parts_.facts(), voice] {
    control->hello(line, facts, voice);
  });
  parts_.process->after(kWelcomeTimeout, [this, number] {
    if (number != num_lines_ || registered_) return;
    parts_.world.network->close(line_, parts_.process, absl::CancelledError(""));
    on_broken(absl::DeadlineExceededError("no welcome"));
  });
}

void SimControlClient::on_broken(const absl::Status& status) {
  ++num_lines_;
  if (std::exchange(registered_, false)) pause_ = kFirstPause;
  const bool refused = absl::IsAlreadyExists(status) || absl::IsFailedPrecondition(status);
  parts_.process->after(refused ? kRefusedPause : next_pause(&pause_), [this] { connect(); });
}

void SimControlClient::on_welcome() {
  registered_ = true;
  beat();
}

void SimControlClient::beat() {
  Heartbeat beat = parts_.heartbeat();
  beat.draining = draining_;
  parts_.world.network->send(line_, parts_.process, [control = parts_.control, line = line_, beat] {
    control->beat(line, beat);
  });
  parts_.process->after(SimControl::kHeartbeat, [this, number = num_lines_] {
    if (number == num_lines_ && registered_) this->beat();
  });
}

void SimControlClient::drain() { draining_ = true; }

void SimControlClient::watch() {
  SimControl* const control = parts_.control;
  stream_version_ = -1;
  const TellView tell = [this](const ClusterView& view) { take_view(view); };
  parts_.world.network->open(
      parts_.process, control->process(),
      [control, tell](StreamId stream) { control->watch_placement(stream, tell); },
      [this](const absl::Status&) {
        parts_.process->after(next_pause(&watch_pause_), [this] { watch(); });
      });
}

void SimControlClient::take_view(const ClusterView& view) {
  watch_pause_ = kFirstPause;
  // The one that is in force when the stream opens may come twice.
  if (view.version < stream_version_) {
    parts_.world.log->violate(absl::StrFormat("%s hears of placement %d after %d",
                                              parts_.process->name(), view.version,
                                              stream_version_));
  }
  stream_version_ = view.version;
  if (view.version == last_version_) return;
  last_version_ = view.version;
  parts_.on_view(view);
}

}  // namespace conclave
