#include "router/wire/leg_service.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "kernels/row_codec.h"
#include "proto/experts.grpc.pb.h"
#include "router/wire/leg_frame.h"
#include "router/wire/server_stream.h"

namespace conclave {
namespace {

// The shape of the answer that a leg asks for.
struct Asked {
  DType dtype = DType::kBF16;
  int32_t num_rows = 0;
  int32_t num_cols = 0;
};

LegReplyFrame make_reply(const Asked& asked, absl::StatusOr<SharedBytes> said) {
  if (!said.ok()) return {.status = said.status()};
  const size_t num_bytes =
      static_cast<size_t>(asked.num_rows) * packed_row_bytes(asked.dtype, asked.num_cols);
  if (said->size() != num_bytes) {
    return {.status = absl::InternalError(absl::StrFormat("the experts said %d bytes instead of %d",
                                                          said->size(), num_bytes))};
  }
  return {.said = {.dtype = asked.dtype,
                   .num_rows = asked.num_rows,
                   .num_cols = asked.num_cols,
                   .bytes = *std::move(said)}};
}

}  // namespace

class LegService::Impl final
    : public v1::Experts::WithRawCallbackMethod_Forward<v1::Experts::Service>,
      private FrameDoor {
 public:
  Impl(LegHandler* handler, const Options& options)
      : handler_(handler), streams_(this, {.max_in_flight = options.max_legs_in_flight}) {}

  ServerStreams& streams() { return streams_; }

 private:
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Forward(
      grpc::CallbackServerContext*) override {
    return streams_.open();
  }

  absl::Status on_frame(const grpc::ByteBuffer& frame, Reply reply) override {
    ASSIGN_OR_RETURN(ReadFrame<ArrivedLeg> read, decode_leg(frame));
    const uint64_t sequence = read.sequence;
    if (!read.content.ok()) {
      reply(encode_leg_reply(sequence, {.status = read.content.status()}));
      return absl::OkStatus();
    }
    ArrivedLeg& leg = *read.content;
    const Asked asked{.dtype = leg.reply_type,
                      .num_rows = static_cast<int32_t>(leg.pick_expert.size()),
                      .num_cols = leg.hidden.num_cols};
    handler_->submit(std::move(leg), [=, reply = std::move(reply)](auto said) {
      reply(encode_leg_reply(sequence, make_reply(asked, std::move(said))));
    });
    return absl::OkStatus();
  }

  LegHandler* const handler_;  // outlives this
  ServerStreams streams_;
};

LegService::LegService(LegHandler* handler, const Options& options)
    : impl_(std::make_unique<Impl>(handler, options)) {}
LegService::~LegService() = default;

grpc::Service* LegService::service() { return impl_.get(); }
void LegService::shutdown(bool drain) { impl_->streams().shutdown(drain); }
int32_t LegService::num_streams() const { return impl_->streams().num_streams(); }

}  // namespace conclave
