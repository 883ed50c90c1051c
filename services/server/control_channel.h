// The channel to control: it connects again soon, and notices a peer that has vanished.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace conclave {

// Connects when it is first used. gRPC shares channels.
std::shared_ptr<grpc::Channel> make_control_channel(const std::string& address);

}  // namespace conclave
