#include "router/wire/moe_service.h"

#include <utility>

#include "common/status_macros.h"
#include "proto/moe_layer.grpc.pb.h"
#include "router/wire/server_stream.h"

namespace conclave {

class MoeService::Impl final
    : public v1::MoeLayer::WithRawCallbackMethod_Forward<v1::MoeLayer::Service>,
      private FrameDoor {
 public:
  Impl(MoeHandler* handler, const Options& options)
      : handler_(handler), streams_(this, {.max_in_flight = options.max_frames_in_flight}) {}

  ServerStreams& streams() { return streams_; }

 private:
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Forward(
      grpc::CallbackServerContext*) override {
    return streams_.open();
  }

  absl::Status on_frame(const grpc::ByteBuffer& frame, Reply reply) override {
    ASSIGN_OR_RETURN(ReadFrame<MoeFrame> read, decode_moe(frame));
    const uint64_t sequence = read.sequence;
    if (!read.content.ok()) {
      reply(encode_moe_reply(sequence, read.content.status()));
      return absl::OkStatus();
    }
    handler_->submit(*std::move(read.content),
                     [sequence, reply = std::move(reply)](const absl::StatusOr<MoeAnswer>& answer) {
                       reply(encode_moe_reply(sequence, answer));
                     });
    return absl::OkStatus();
  }

  MoeHandler* const handler_;  // outlives this
  ServerStreams streams_;
};

MoeService::MoeService(MoeHandler* handler, const Options& options)
    : impl_(std::make_unique<Impl>(handler, options)) {}
MoeService::~MoeService() = default;

grpc::Service* MoeService::service() { return impl_.get(); }
void MoeService::shutdown(bool drain) { impl_->streams().shutdown(drain); }
int32_t MoeService::num_streams() const { return impl_->streams().num_streams(); }

}  // namespace conclave
