#include "router/wire/remote_moe_layer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace conclave {
namespace {

constexpr char kMethod[] = "/conclave.v1.MoeLayer/Forward";

// To the walk through the layers, all that another try may mend is UNAVAILABLE.
absl::Status for_the_step(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kResourceExhausted:
      return absl::UnavailableError(status.message());
    default:
      return status;
  }
}

}  // namespace

// One frame of a step.
struct RemoteMoeLayer::Part {
  uint64_t sequence = 0;
  int32_t first_row = 0;
  int32_t num_rows = 0;
  int32_t num_cols = 0;
  bool is_done = false;
  absl::Status status;
  MoeAnswer answer;
};

struct RemoteMoeLayer::Step final : MoeStep {
  absl::Time deadline;
  int32_t num_cols = 0;
  std::vector<std::unique_ptr<Part>> parts;  // of this layer; who answers holds their addresses
};

RemoteMoeLayer::RemoteMoeLayer(const Clock* clock, const Options& options)
    : clock_(clock),
      options_(options),
      hub_(clock),
      connection_({.address = options.address,
                   .method = kMethod,
                   .reconnect = options.reconnect,
                   .credentials = options.credentials},
                  {.hub = &hub_, .clock = clock, .sink = this}) {}

RemoteMoeLayer::~RemoteMoeLayer() = default;

std::unique_ptr<MoeStep> RemoteMoeLayer::new_step() { return std::make_unique<Step>(); }

absl::Status RemoteMoeLayer::begin(int32_t layer_idx, Rows<const float> x, MoeStep* moe_step) {
  CHECK(x.num_cols > 0);
  auto* const step = static_cast<Step*>(moe_step);
  step->layer_idx = layer_idx;
  step->faults.clear();
  step->deadline = clock_->now() + options_.leg_timeout;
  step->num_cols = x.num_cols;
  step->parts.clear();
  const int64_t row_bytes = int64_t{x.num_cols} * int64_t{sizeof(float)};
  const int64_t rows_per_part = std::max<int64_t>(1, options_.max_row_bytes / row_bytes);
  for (int32_t first = 0; first < x.num_rows;) {
    const auto count = static_cast<int32_t>(std::min<int64_t>(rows_per_part, x.num_rows - first));
    step->parts.push_back(std::make_unique<Part>());
    Part* const part = step->parts.back().get();
    part->first_row = first;
    part->num_rows = count;
    part->num_cols = x.num_cols;
    const absl::Status status = send_part(layer_idx, x.rows(first, count), part);
    if (!status.ok()) {
      for (const auto& sent : step->parts) give_up(sent.get(), status);
      return for_the_step(status);
    }
    first += count;
  }
  return absl::OkStatus();
}

absl::Status RemoteMoeLayer::finish(MoeStep* moe_step, Rows<float> out) {
  auto* const step = static_cast<Step*>(moe_step);
  CHECK(out.num_cols == step->num_cols);
  wait_for(step);
  for (const auto& part : step->parts) {
    if (!part->status.ok()) return for_the_step(part->status);
  }
  for (const auto& part : step->parts) {
    const Rows<const float> said = std::as_const(part->answer.out).view();
    const Rows<float> rows = out.rows(part->first_row, part->num_rows);
    for (int32_t t = 0; t < said.num_rows; ++t) {
      std::copy_n(said.row(t), said.num_cols, rows.row(t));
    }
    for (RowFault& fault : part->answer.faults) {
      step->faults.push_back({part->first_row + fault.token_idx, std::move(fault.status)});
    }
  }
  return absl::OkStatus();
}

absl::Status RemoteMoeLayer::send_part(int32_t layer_idx, Rows<const float> x, Part* part) {
  hub_.poll();  // a stream that broke meanwhile is started again before its queue is used
  RETURN_IF_ERROR(connection_.start());
  part->sequence = next_sequence_++;
  ASSIGN_OR_RETURN(const grpc::ByteBuffer frame, encode_moe(part->sequence, layer_idx, x));
  connection_.write(part->sequence, frame);
  away_[part->sequence] = part;
  return absl::OkStatus();
}

void RemoteMoeLayer::wait_for(Step* step) {
  const auto is_done = [](const auto& part) { return part->is_done; };
  hub_.poll();
  while (!std::all_of(step->parts.begin(), step->parts.end(), is_done)) {
    if (hub_.wait(step->deadline)) continue;
    const absl::Status status =
        absl::DeadlineExceededError(absl::StrFormat("%s: no answer in time", options_.address));
    for (const auto& part : step->parts) give_up(part.get(), status);
  }
}

void RemoteMoeLayer::give_up(Part* part, const absl::Status& status) {
  if (part->is_done) return;
  connection_.unwrite(part->sequence);
  away_.erase(part->sequence);
  part->status = status;
  part->is_done = true;
}

absl::Status RemoteMoeLayer::on_frame(const grpc::ByteBuffer& frame) {
  absl::StatusOr<ReadFrame<MoeReplyFrame>> read = decode_moe_reply(frame);
  if (!read.ok()) {
    return absl::DataLossError(
        absl::StrFormat("an answer that cannot be read: %s", read.status().message()));
  }
  const auto found = away_.find(read->sequence);
  if (found == away_.end()) {
    ++num_dropped_answers_;
    return absl::OkStatus();
  }
  Part* const part = found->second;
  away_.erase(found);
  part->is_done = true;
  if (!read->content.ok()) {
    part->status = absl::InternalError(
        absl::StrFormat("a wrong answer: %s", read->content.status().message()));
    return absl::OkStatus();
  }
  part->status = read->content->status;
  part->answer = std::move(read->content->answer);
  const Matrix<float>& out = part->answer.out;
  if (part->status.ok() && (out.num_rows() != part->num_rows || out.num_cols() != part->num_cols)) {
    part->status = absl::InternalError(
        absl::StrFormat("an answer of %d rows of %d columns; asked for %d of %d", out.num_rows(),
                        out.num_cols(), part->num_rows, part->num_cols));
  }
  return absl::OkStatus();
}

void RemoteMoeLayer::on_lost(const absl::Status& status) {
  for (const auto& [sequence, part] : away_) {
    part->status = status;
    part->is_done = true;
  }
  away_.clear();
}

}  // namespace conclave
