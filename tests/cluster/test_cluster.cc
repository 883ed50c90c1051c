#include "tests/cluster/test_cluster.h"

#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/check.h"
#include "services/server/address.h"
#include "services/server/request_codec.h"

namespace conclave {
namespace {

std::string http_get(const std::string& address) {
  const auto where = parse_host_port(address);
  CHECK(where.ok());
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(fd >= 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(where->port));
  inet_pton(AF_INET, where->host.c_str(), &to.sin_addr);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0) {
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    CHECK(send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size()));
    char block[8192];
    for (ssize_t count; (count = recv(fd, block, sizeof(block), 0)) > 0;) {
      answer.append(block, static_cast<size_t>(count));
    }
  }
  close(fd);
  return answer;
}

void take(const v1::GenerateDelta& delta, Generated* result) {
  result->text += delta.text();
  Answer& answer = result->answer;
  answer.ids.insert(answer.ids.end(), delta.ids().begin(), delta.ids().end());
  for (const Logprobs& one : from_proto(delta.logprobs())) answer.logprobs.push_back(one);
  for (const Logprobs& one : from_proto(delta.prompt_logprobs())) {
    answer.prompt_logprobs.push_back(one);
  }
}

}  // namespace

std::string bin_dir() { return CONCLAVE_BIN_DIR; }

std::string new_log_dir() {
  std::string dir = testing::TempDir() + "conclave-XXXXXX";
  CHECK(mkdtemp(dir.data()) != nullptr);
  return dir;
}

LocalCluster::Options cluster_of(const std::string& model, int32_t nodes, int32_t servers) {
  return {.bin_dir = bin_dir(),
          .model = model,
          .attention_nodes = nodes,
          .expert_servers = servers,
          .log_dir = new_log_dir(),
          .node_flags = {"--threads=1"},
          .expert_flags = {"--threads=1"}};
}

std::unique_ptr<LocalCluster> start_cluster(LocalCluster::Options options) {
  const std::string logs = options.log_dir;
  auto cluster = LocalCluster::start(std::move(options));
  if (!cluster.ok()) {
    const std::string message = absl::StrCat(cluster.status().ToString(), "; logs in ", logs);
    check_failed(message.c_str(), __FILE__, __LINE__);
  }
  return *std::move(cluster);
}

std::shared_ptr<grpc::Channel> channel_to(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

void add_response(const v1::GenerateResponse& response, Generated* result) {
  if (response.has_started()) result->started = response.started();
  if (response.has_delta()) take(response.delta(), result);
  if (response.has_finished()) result->finished = response.finished();
}

void end_with(const grpc::Status& status, Generated* result) {
  result->status = status;
  if (!status.ok()) return;
  const bool stopped = result->finished.reason() == v1::GenerateFinished::REASON_STOP_ID;
  result->answer.finish = Finish{.reason = stopped ? FinishReason::kStopId : FinishReason::kLength};
}

Generated generate(v1::Inference::Stub* stub, const v1::GenerateRequest& request,
                   grpc::ClientContext* context) {
  Generated result;
  const auto reader = stub->Generate(context, request);
  for (v1::GenerateResponse response; reader->Read(&response);) add_response(response, &result);
  end_with(reader->Finish(), &result);
  return result;
}

Generated generate(const std::string& address, const v1::GenerateRequest& request) {
  const auto stub = v1::Inference::NewStub(channel_to(address));
  grpc::ClientContext context;
  return generate(stub.get(), request, &context);
}

v1::GenerateRequest to_message(const Request& request) {
  v1::GenerateRequest message;
  message.mutable_ids()->mutable_ids()->Add(request.prompt.begin(), request.prompt.end());
  to_proto(request.sampling, message.mutable_sampling());
  message.set_priority(request.priority);
  return message;
}

v1::GenerateRequest request_of(int32_t num_tokens) {
  Request request{.prompt = {5, 17, 40, 99, 7}};
  request.sampling.temperature = 0;
  request.sampling.max_tokens = num_tokens;
  return to_message(request);
}

Generated generate_while(const std::string& address, int32_t num_tokens,
                         const std::function<void()>& meanwhile) {
  const auto stub = v1::Inference::NewStub(channel_to(address));
  grpc::ClientContext context;
  Generated result;
  bool done = false;
  const auto reader = stub->Generate(&context, request_of(num_tokens));
  for (v1::GenerateResponse response; reader->Read(&response);) {
    result.answer.ids.insert(result.answer.ids.end(), response.delta().ids().begin(),
                             response.delta().ids().end());
    if (result.answer.ids.size() < 5 || std::exchange(done, true)) continue;
    meanwhile();
  }
  result.status = reader->Finish();
  return result;
}

std::vector<Answer> run_requests(const std::string& address, const std::vector<Request>& requests,
                                 Company company) {
  const auto stub = v1::Inference::NewStub(channel_to(address));
  std::vector<Generated> results(requests.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto client = [&, i] {
      grpc::ClientContext context;
      results[i] = generate(stub.get(), to_message(requests[i]), &context);
    };
    if (company == Company::kAlone) {
      client();
    } else {
      clients.emplace_back(client);
    }
  }
  for (std::thread& client : clients) client.join();
  std::vector<Answer> answers;
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_TRUE(results[i].status.ok())
        << "request " << i << ": " << results[i].status.error_message();
    if (!results[i].answer.finish) results[i].answer.finish = Finish{};
    answers.push_back(std::move(results[i].answer));
  }
  return answers;
}

v1::GetStatusResponse status_of(const std::string& address) {
  const auto stub = v1::Control::NewStub(channel_to(address));
  grpc::ClientContext context;
  v1::GetStatusResponse response;
  const grpc::Status status = stub->GetStatus(&context, {}, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

std::map<std::string, double> scrape(const std::string& metrics) {
  std::map<std::string, double> values;
  std::istringstream lines(http_get(metrics));
  for (std::string line; std::getline(lines, line);) {
    const size_t blank = line.rfind(' ');
    double value = 0;
    if (line.empty() || line[0] == '#' || blank == std::string::npos ||
        !absl::SimpleAtod(absl::StripAsciiWhitespace(line.substr(blank + 1)), &value)) {
      continue;
    }
    values[line.substr(0, blank)] = value;
  }
  return values;
}

bool eventually(absl::Duration timeout, const std::function<bool()>& what) {
  for (const absl::Time end = absl::Now() + timeout; absl::Now() < end;) {
    if (what()) return true;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return what();
}

}  // namespace conclave
