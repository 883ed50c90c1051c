// The routed half of an MoE layer, done by the gateway (--routing=gateway): rows go there as f32,
// sums and faults come back.
//
// A step of more rows than fit in a frame goes in several; rows do not depend on each other, so
// this changes no bits. The whole step is UNAVAILABLE when one of its frames is lost, refused for
// now or not answered in time; a status that another try does not mend is kept.
//
// One thread. A step that is under way when the layer goes is forgotten.
#pragma once

#include <grpcpp/security/credentials.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/clock.h"
#include "router/moe_layer.h"
#include "router/wire/connection.h"
#include "router/wire/moe_frame.h"
#include "router/wire/reconnect_pause.h"
#include "router/wire/stream_hub.h"

namespace conclave {

class RemoteMoeLayer final : public MoeLayer, private FrameSink {
 public:
  struct Options {
    std::string address;                             // the gateway's HOST:PORT
    absl::Duration leg_timeout = absl::Seconds(10);  // from begin() to the last answer
    int64_t max_row_bytes = 16 << 20;                // of one frame; a row at least
    ReconnectPause::Options reconnect;
    std::shared_ptr<grpc::ChannelCredentials> credentials;  // null: plain text
  };

  // `clock` outlives this.
  RemoteMoeLayer(const Clock* clock, const Options& options);
  ~RemoteMoeLayer() override;

  std::unique_ptr<MoeStep> new_step() override;
  absl::Status begin(int32_t layer_idx, Rows<const float> x, MoeStep* step) override;
  absl::Status finish(MoeStep* step, Rows<float> out) override;

  // Answers that nobody waited for any more; for metrics.
  uint64_t num_dropped_answers() const { return num_dropped_answers_; }

 private:
  struct Step;
  struct Part;

  absl::Status on_frame(const grpc::ByteBuffer& frame) override;
  void on_lost(const absl::Status& status) override;

  absl::Status send_part(int32_t layer_idx, Rows<const float> x, Part* part);
  void wait_for(Step* step);
  void give_up(Part* part, const absl::Status& status);

  const Clock* const clock_;
  const Options options_;
  StreamHub hub_;  // outlives the connection
  Connection connection_;
  std::map<uint64_t, Part*> away_;  // by sequence number
  uint64_t next_sequence_ = 1;
  uint64_t num_dropped_answers_ = 0;
};

}  // namespace conclave
