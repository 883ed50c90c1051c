#include "tests/simulation/sim_network.h"

#include <utility>
#include <vector>

#include "common/check.h"

namespace conclave {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(20);  // how often a cut is tried again

}  // namespace

void SimNetwork::cut(const SimProcess* a, const SimProcess* b) { cuts_.insert({a, b}); }

void SimNetwork::heal(const SimProcess* a, const SimProcess* b) {
  const auto found = cuts_.find({a, b});
  CHECK(found != cuts_.end());
  cuts_.erase(found);
}

bool SimNetwork::is_cut(const SimProcess* a, const SimProcess* b) const {
  return cuts_.contains({a, b}) || cuts_.contains({b, a}) || cuts_.contains({a, nullptr}) ||
         cuts_.contains({b, nullptr});
}

absl::Duration SimNetwork::delay() {
  const absl::Duration usual = random_.duration(options_.least_delay, options_.most_delay);
  return random_.chance(options_.detour) ? usual * random_.between(2, 30) : usual;
}

SimNetwork::Stream* SimNetwork::find(StreamId id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : &found->second;
}

StreamId SimNetwork::open(SimProcess* from, SimProcess* to, std::function<void(StreamId)> on_open,
                          OnBreak on_break) {
  const StreamId id{next_stream_++};
  Stream& stream = streams_[id];
  stream.ends[0].process = from;
  stream.ends[0].incarnation = from->incarnation();
  stream.ends[0].on_break = std::move(on_break);
  stream.ends[1].process = to;
  post(id, 1, {.arrive = [id, on_open = std::move(on_open)] { on_open(id); }});
  return id;
}

void SimNetwork::set_on_break(StreamId id, OnBreak on_break) {
  Stream* const stream = find(id);
  if (stream != nullptr) stream->ends[1].on_break = std::move(on_break);
}

void SimNetwork::send(StreamId id, const SimProcess* from, std::function<void()> message) {
  Stream* const stream = find(id);
  if (stream == nullptr) return;
  const int mine = end_of(*stream, from);
  if (!stream->ends[mine].open) return;
  post(id, 1 - mine, {.arrive = std::move(message)});
}

void SimNetwork::close(StreamId id, const SimProcess* by, const absl::Status& status) {
  Stream* const stream = find(id);
  if (stream == nullptr) return;
  const int mine = end_of(*stream, by);
  if (!stream->ends[mine].open) return;
  post(id, 1 - mine, {.is_last = true, .end = status});
  leave(id, mine);
}

void SimNetwork::reset(const SimProcess* a, const SimProcess* b) {
  std::vector<StreamId> between;
  for (const auto& [id, stream] : streams_) {
    const SimProcess* const first = stream.ends[0].process;
    const SimProcess* const second = stream.ends[1].process;
    if ((first == a && second == b) || (first == b && second == a)) between.push_back(id);
  }
  for (const StreamId id : between) {
    for (End& end : find(id)->ends) end.incoming.clear();
    for (const int to : {0, 1}) {
      post(id, to, {.is_last = true, .end = absl::UnavailableError("connection reset")});
    }
  }
}

// What it sent last is lost from some message on; what was on its way to it is of no interest.
void SimNetwork::on_kill(const SimProcess* process) {
  std::vector<StreamId> its;
  for (const auto& [id, stream] : streams_) {
    const End& end = stream.ends[end_of(stream, process)];
    if (end.process == process && end.open && end.incarnation == process->incarnation()) {
      its.push_back(id);
    }
  }
  for (const StreamId id : its) {
    Stream* const stream = find(id);
    const int mine = end_of(*stream, process);
    std::deque<Message>& sent = stream->ends[1 - mine].incoming;
    const auto arrives = random_.below(static_cast<int32_t>(sent.size()) + 1);
    sent.resize(static_cast<size_t>(arrives));
    post(id, 1 - mine, {.is_last = true, .end = absl::UnavailableError("connection reset")});
    leave(id, mine);
  }
}

void SimNetwork::post(StreamId id, int to, Message message) {
  Stream* const stream = find(id);
  End& end = stream->ends[to];
  if (!end.open) return;
  if (!end.incoming.empty() && end.incoming.back().is_last) return;
  message.due = time_->now() + delay();
  if (!end.incoming.empty()) message.due = std::max(message.due, end.incoming.back().due);
  end.incoming.push_back(std::move(message));
  pump_at(id, to, end.incoming.front().due);
}

void SimNetwork::pump_at(StreamId id, int to, absl::Time when) {
  if (std::exchange(find(id)->ends[to].is_pumping, true)) return;
  time_->at(when, [this, id, to] {
    Stream* const stream = find(id);
    if (stream == nullptr) return;
    stream->ends[to].is_pumping = false;
    pump(id, to);
  });
}

void SimNetwork::pump(StreamId id, int to) {
  while (Stream* const stream = find(id)) {
    End& end = stream->ends[to];
    if (end.incoming.empty() || !end.open) return;
    if (end.incoming.front().due > time_->now()) {
      return pump_at(id, to, end.incoming.front().due);
    }
    if (is_cut(stream->ends[0].process, stream->ends[1].process)) {
      return pump_at(id, to, time_->now() + kLook);
    }
    const bool is_new = end.incarnation == 0;
    if (!end.process->alive() || (!is_new && end.incarnation != end.process->incarnation())) {
      return refuse(id, to);
    }
    end.incarnation = end.process->incarnation();
    Message message = std::move(end.incoming.front());
    end.incoming.pop_front();
    deliver(id, to, std::move(message));
  }
}

void SimNetwork::deliver(StreamId id, int to, Message message) {
  SimProcess* const process = find(id)->ends[to].process;
  process->run([this, id, to, message = std::move(message)] {
    Stream* const stream = find(id);
    if (stream == nullptr || !stream->ends[to].open) return;
    if (!message.is_last) return message.arrive();
    const OnBreak on_break = std::move(stream->ends[to].on_break);
    leave(id, to);
    on_break(message.end);
  });
}

// Nobody is there, or somebody else.
void SimNetwork::refuse(StreamId id, int to) {
  post(id, 1 - to, {.is_last = true, .end = absl::UnavailableError("connection refused")});
  leave(id, to);
}

void SimNetwork::leave(StreamId id, int end) {
  Stream* const stream = find(id);
  stream->ends[end].open = false;
  stream->ends[end].incoming.clear();
  if (!stream->ends[1 - end].open) streams_.erase(id);
}

void SimNetwork::send_leg(const SimProcess* from, const Target& to,
                          const std::function<void()>& arrive) {
  const int copies = random_.chance(loss_) ? 0 : random_.chance(doubling_) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    time_->after(delay(), [this, from, to, arrive] { arrive_leg(from, to, arrive); });
  }
}

// What meets a cut is lost, or comes when nobody waits for it any more.
void SimNetwork::arrive_leg(const SimProcess* from, const Target& to,
                            const std::function<void()>& arrive) {
  if (!to.process->alive() || to.process->incarnation() != to.incarnation) return;
  if (!is_cut(from, to.process)) return to.process->run(arrive);
  if (random_.chance(0.5)) return;
  time_->after(kLook, [this, from, to, arrive] { arrive_leg(from, to, arrive); });
}

}  // namespace conclave
