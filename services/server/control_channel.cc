#include "services/server/control_channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "router/wire/frame.h"

namespace conclave {
namespace {

// Pings are for lines on which control is silent by right; more often than once a minute is not
// safe with gRPC 1.51. The timeout also ends connections whose bytes nobody acknowledges.
constexpr int kPingMs = 60'000;
constexpr int kPingTimeoutMs = 10'000;
constexpr int kFirstConnectPauseMs = 100;
constexpr int kLongestConnectPauseMs = 2'000;

}  // namespace

std::shared_ptr<grpc::Channel> make_control_channel(const std::string& address) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstConnectPauseMs);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kLongestConnectPauseMs);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLongestConnectPauseMs);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetMaxReceiveMessageSize(kMaxFrameBytes);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), args);
}

}  // namespace conclave
