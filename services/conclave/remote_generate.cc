#include "services/conclave/remote_generate.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/status_macros.h"
#include "proto/inference.grpc.pb.h"
#include "services/conclave/answer_report.h"
#include "services/conclave/prompt.h"
#include "services/conclave/remote.h"
#include "services/server/request_codec.h"

namespace conclave {
namespace {

absl::Status fill_prompt(const PromptFlags& flags, v1::GenerateRequest* message) {
  if (flags.ids) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, parse_ids(*flags.ids, "--ids"));
    message->mutable_ids()->mutable_ids()->Add(ids.begin(), ids.end());
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(*message->mutable_text(), prompt_text(flags));
  return absl::OkStatus();
}

// Prints what comes, as it comes.
class RemotePrinter {
 public:
  explicit RemotePrinter(bool print_ids) : print_ids_(print_ids), times_(absl::Now()) {}

  // False: nobody will read the rest.
  bool take(const v1::GenerateResponse& response) {
    if (response.has_started()) started_ = response.started();
    if (response.has_delta()) take_delta(response.delta());
    if (response.has_finished()) finished_ = response.finished();
    return std::ferror(stdout) == 0;
  }

  absl::Status finish(const absl::Status& status) {
    if (!print_ids_ && (status.ok() || !ids_.empty())) std::fputc('\n', stdout);
    if (print_ids_ && status.ok()) std::fprintf(stdout, "%s\n", join_ids(ids_).c_str());
    std::fflush(stdout);
    if (std::ferror(stdout) != 0) return absl::DataLossError("stdout could not be written");
    RETURN_IF_ERROR(status);
    const std::string line =
        times_.statistics(started_.num_prompt_tokens(), reason(), started_.seed());
    std::fprintf(stderr, "%s\n", line.c_str());
    return absl::OkStatus();
  }

 private:
  void take_delta(const v1::GenerateDelta& delta) {
    times_.on_tokens(absl::Now(), delta.ids_size());
    size_t prompt_idx = 1;
    for (const Logprobs& one : from_proto(delta.prompt_logprobs())) {
      print_logprobs("prompt", prompt_idx++, one);
    }
    size_t idx = ids_.size();
    for (const Logprobs& one : from_proto(delta.logprobs())) {
      print_logprobs("generated", idx++, one);
    }
    ids_.insert(ids_.end(), delta.ids().begin(), delta.ids().end());
    if (print_ids_ || delta.text().empty()) return;
    std::fwrite(delta.text().data(), 1, delta.text().size(), stdout);
    std::fflush(stdout);
  }

  const char* reason() const {
    switch (finished_.reason()) {
      case v1::GenerateFinished::REASON_STOP_ID:
        return "stop id";
      case v1::GenerateFinished::REASON_STOP_STRING:
        return "stop string";
      case v1::GenerateFinished::REASON_LENGTH:
        return "length";
      default:
        return "?";
    }
  }

  const bool print_ids_;
  AnswerTimes times_;
  v1::GenerateStarted started_;
  v1::GenerateFinished finished_;
  std::vector<int32_t> ids_;
};

}  // namespace

absl::Status generate_remotely(const RemoteGenerate& flags) {
  v1::GenerateRequest request;
  RETURN_IF_ERROR(fill_prompt(flags.prompt, &request));
  RETURN_IF_ERROR(flags.sampling.to_message(request.mutable_sampling()));
  for (const std::string& stop : flags.stops) request.add_stop(stop);

  const auto stub = v1::Inference::NewStub(connect_to(flags.server));
  grpc::ClientContext context;
  RemotePrinter printer(flags.print_ids);
  const auto reader = stub->Generate(&context, request);
  for (v1::GenerateResponse response; reader->Read(&response);) {
    if (!printer.take(response)) context.TryCancel();
  }
  return printer.finish(from_server(reader->Finish(), flags.server));
}

}  // namespace conclave
