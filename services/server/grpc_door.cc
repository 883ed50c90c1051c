#include "services/server/grpc_door.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "router/wire/grpc_handoff.h"
#include "router/wire/wire_limits.h"
#include "services/server/address.h"
#include "services/server/log.h"

namespace conclave {
namespace {

constexpr int kPingMs = 120'000;
constexpr int kPingTimeoutMs = 20'000;
constexpr int kClientPingMs = 30'000;  // clients may ping this often on quiet streams

// What gRPC says as an error is mostly the weather: a peer that went away.
void log_for_grpc(gpr_log_func_args* args) {
  const LogFields fields = {{"message", args->message}};
  if (args->severity == GPR_LOG_SEVERITY_ERROR) {
    log_warn("grpc", fields);
  } else {
    log_debug("grpc", fields);
  }
}

// Settings of gRPC that hold for the process.
void prepare_grpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    gpr_set_log_function(log_for_grpc);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

void apply_settings(int32_t max_threads, grpc::ServerBuilder* builder) {
  apply_wire_limits(builder);
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kClientPingMs);
  builder->SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder->SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
  builder->SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);
  grpc::ResourceQuota quota("door");
  quota.SetMaxThreads(max_threads);
  builder->SetResourceQuota(quota);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcDoor>> GrpcDoor::open(const Options& options) {
  ASSIGN_OR_RETURN(HostPort bound, parse_host_port(options.listen));
  prepare_grpc();
  grpc::ServerBuilder builder;
  apply_settings(options.max_threads, &builder);
  int port = 0;
  builder.AddListeningPort(bound.to_string(), grpc::InsecureServerCredentials(), &port);
  std::unique_ptr<GrpcDoor> door(new GrpcDoor);
  for (const Offer& offer : options.offers) {
    builder.RegisterService(offer.service);
    door->names_.push_back(offer.name);
  }
  door->server_ = builder.BuildAndStart();
  if (door->server_ == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat("gRPC cannot listen on ", options.listen,
                                               ": the port is taken or not ours to take"));
  }
  bound.port = port;
  door->address_ = bound.to_string();
  door->set_alive(true);
  door->set_ready(false);
  return door;
}

GrpcDoor::~GrpcDoor() { shutdown(absl::ZeroDuration()); }

void GrpcDoor::set_alive(bool alive) {
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  health->SetServingStatus("", alive);
  health->SetServingStatus("liveness", alive);
}

void GrpcDoor::set_ready(bool ready) {
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  health->SetServingStatus("readiness", ready);
  for (const std::string& name : names_) health->SetServingStatus(name, ready);
}

void GrpcDoor::shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  const absl::Duration bounded = std::min(grace, absl::Hours(1));
  server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(bounded));
  server_->Wait();
  take_all_from_grpc();
}

}  // namespace conclave
