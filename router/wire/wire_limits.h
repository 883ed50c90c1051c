// What a server that offers LegService or MoeService sets, so that frames fit.
#pragma once

#include <grpcpp/server_builder.h>

#include "router/wire/frame.h"

namespace conclave {

inline void apply_wire_limits(grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(kMaxFrameBytes);
  builder->SetMaxSendMessageSize(kMaxFrameBytes);
}

}  // namespace conclave
