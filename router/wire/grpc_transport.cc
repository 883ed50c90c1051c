#include "router/wire/grpc_transport.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "router/wire/leg_frame.h"

namespace conclave {
namespace {

constexpr char kMethod[] = "/conclave.v1.Experts/Forward";
constexpr char kVia[] = "grpc";

}  // namespace

// One lane of one server.
class GrpcTransport::LaneEnd final : private FrameSink {
 public:
  LaneEnd(GrpcTransport* transport, const Connection::Options& options)
      : transport_(transport),
        connection_(options, {.hub = &transport->hub_, .clock = transport->clock_, .sink = this}) {}

  Connection& connection() { return connection_; }
  int32_t num_away = 0;

 private:
  absl::Status on_frame(const grpc::ByteBuffer& frame) override {
    return transport_->on_answer(frame, *this);
  }
  void on_lost(const absl::Status& status) override {
    ++transport_->counters_.num_lost_streams;
    transport_->on_lost(*this, status);
  }

  GrpcTransport* const transport_;  // outlives this
  Connection connection_;
};

GrpcTransport::GrpcTransport(const Clock* clock, const Options& options)
    : clock_(clock), options_(options), hub_(clock) {
  CHECK(options.max_legs_in_flight > 0);
}

GrpcTransport::~GrpcTransport() = default;

GrpcTransport::Lanes GrpcTransport::connect(const Server& server) {
  const Connection::Options options{.address = server.address,
                                    .method = kMethod,
                                    .reconnect = options_.reconnect,
                                    .credentials = options_.credentials};
  return {.address = server.address,
          .decode = std::make_unique<LaneEnd>(this, options),
          .prefill = std::make_unique<LaneEnd>(this, options)};
}

void GrpcTransport::set_servers(std::span<const Server> servers) {
  hub_.poll();
  std::map<ServerId, Lanes> next;
  for (const Server& server : servers) {
    const auto found = servers_.find(server.id);
    const bool stays = found != servers_.end() && found->second.address == server.address;
    const bool is_new =
        next.emplace(server.id, stays ? std::move(found->second) : connect(server)).second;
    CHECK(is_new);
    if (stays) servers_.erase(found);
  }
  for (const auto& [id, lanes] : servers_) {
    const absl::Status gone =
        absl::UnavailableError(absl::StrFormat("%s: the server has left", lanes.address));
    on_lost(*lanes.decode, gone);
    on_lost(*lanes.prefill, gone);
  }
  servers_ = std::move(next);
}

void GrpcTransport::send(const LegRequest& request, LegReply* reply) {
  reply->done = false;
  reply->status = absl::OkStatus();
  reply->rows.clear();
  reply->via = {};
  hub_.poll();  // a stream that broke meanwhile is started again before its queue is used
  absl::Status status = try_send(request, reply);
  if (status.ok()) return;
  reply->status = std::move(status);
  reply->done = true;
}

absl::Status GrpcTransport::try_send(const LegRequest& request, LegReply* reply) {
  const auto found = servers_.find(request.server);
  if (found == servers_.end()) {
    return absl::UnavailableError(
        absl::StrFormat("there is no expert server %d", static_cast<int32_t>(request.server)));
  }
  Lanes& lanes = found->second;
  LaneEnd* const lane = request.lane == Lane::kDecode ? lanes.decode.get() : lanes.prefill.get();
  if (lane->num_away >= options_.max_legs_in_flight) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s: %d legs are away already", lanes.address, lane->num_away));
  }
  RETURN_IF_ERROR(lane->connection().start());
  const uint64_t sequence = next_sequence_++;
  ASSIGN_OR_RETURN(const grpc::ByteBuffer frame, encode_leg(sequence, request));
  lane->connection().write(sequence, frame);
  away_[sequence] = {reply, lane, {request.reply_type, request.num_cols}};
  reply->via = kVia;
  ++lane->num_away;
  return absl::OkStatus();
}

bool GrpcTransport::wait(absl::Time until) {
  const uint64_t num_finished_before = num_finished_;
  do {
    hub_.poll();
    if (num_finished_ != num_finished_before) return true;
    CHECK(!away_.empty() || until != absl::InfiniteFuture());
  } while (hub_.wait(until));
  return false;
}

void GrpcTransport::cancel(LegReply* reply, absl::Status status) {
  hub_.poll();
  const auto found = std::find_if(away_.begin(), away_.end(),
                                  [&](const auto& entry) { return entry.second.reply == reply; });
  if (found == away_.end()) return;
  found->second.lane->connection().unwrite(found->first);
  finish(found, std::move(status));
}

absl::Status GrpcTransport::on_answer(const grpc::ByteBuffer& frame, const LaneEnd& from) {
  absl::StatusOr<ReadFrame<LegReplyFrame>> read = decode_leg_reply(frame);
  if (!read.ok()) {
    return absl::DataLossError(
        absl::StrFormat("an answer that cannot be read: %s", read.status().message()));
  }
  const auto away = away_.find(read->sequence);
  if (away == away_.end() || away->second.lane != &from) {
    ++counters_.num_dropped_answers;
    return absl::OkStatus();
  }
  absl::StatusOr<LegReplyFrame>& reply = read->content;
  if (!reply.ok()) {
    finish(away,
           absl::InternalError(absl::StrFormat("a wrong answer: %s", reply.status().message())));
    return absl::OkStatus();
  }
  absl::Status status = reply->status;
  if (status.ok()) {
    status = check_answer({reply->said.dtype, reply->said.num_cols}, away->second.asked);
  }
  if (status.ok()) away->second.reply->rows = std::move(reply->said.bytes);
  finish(away, std::move(status));
  return absl::OkStatus();
}

void GrpcTransport::on_lost(const LaneEnd& lane, const absl::Status& status) {
  for (auto away = away_.begin(); away != away_.end();) {
    const auto next = std::next(away);
    if (away->second.lane == &lane) finish(away, status);
    away = next;
  }
}

void GrpcTransport::finish(std::map<uint64_t, Away>::iterator away, absl::Status status) {
  const Away leg = away->second;
  away_.erase(away);
  --leg.lane->num_away;
  ++num_finished_;
  leg.reply->status = std::move(status);
  leg.reply->done = true;
}

}  // namespace conclave
