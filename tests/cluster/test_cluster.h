// A cluster of real processes for a test, and a client for it: requests over gRPC, metrics over
// HTTP. Logs go to a folder that stays when the test fails.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "attention/request.h"
#include "proto/control.grpc.pb.h"
#include "proto/inference.grpc.pb.h"
#include "services/launch/local_cluster.h"
#include "tests/support/run_requests.h"

namespace conclave {

// Where the programs were built.
std::string bin_dir();

// A new folder for logs.
std::string new_log_dir();

// Options for models/bard with quiet flags; change what the test is about.
LocalCluster::Options cluster_of(const std::string& model, int32_t nodes, int32_t servers);

// Stops the test when it does not come up.
std::unique_ptr<LocalCluster> start_cluster(LocalCluster::Options options);

std::shared_ptr<grpc::Channel> channel_to(const std::string& address);

// One call of Generate to its end.
struct Generated {
  Answer answer;
  std::string text;
  v1::GenerateStarted started;
  v1::GenerateFinished finished;
  grpc::Status status;
};
// Adds one message of the stream, and at its end what the status makes of the answer.
void add_response(const v1::GenerateResponse& response, Generated* result);
void end_with(const grpc::Status& status, Generated* result);

Generated generate(v1::Inference::Stub* stub, const v1::GenerateRequest& request,
                   grpc::ClientContext* context);
Generated generate(const std::string& address, const v1::GenerateRequest& request);

// The request that asks a gateway for what `request` asks an engine.
v1::GenerateRequest to_message(const Request& request);

// A prompt of a few ids, greedy.
v1::GenerateRequest request_of(int32_t num_tokens);

// Runs such a request, and `meanwhile` when its first ids have come.
Generated generate_while(const std::string& address, int32_t num_tokens,
                         const std::function<void()>& meanwhile);

// As run_requests() of an engine, through the gateway at `address`. Fails the test when a request
// does not finish.
std::vector<Answer> run_requests(const std::string& address, const std::vector<Request>& requests,
                                 Company company);

v1::GetStatusResponse status_of(const std::string& address);

// "name{labels}" -> value, of GET http://`metrics`/metrics.
std::map<std::string, double> scrape(const std::string& metrics);

// Waits until `what` holds; fails the test after `timeout`.
bool eventually(absl::Duration timeout, const std::function<bool()>& what);

}  // namespace conclave
