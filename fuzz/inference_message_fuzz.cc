// Any bytes as a client's request: an error of one line, or a request that passes the check that
// the table relies on. The first byte says which message the others are.
#include <google/protobuf/stubs/logging.h>

#include <cstddef>
#include <cstdint>

#include "common/check.h"
#include "services/gateway/inference_codec.h"

namespace conclave {
namespace {

const ModelFolder& bard() {
  static const ModelFolder* const folder = [] {
    auto read = read_model_folder(CONCLAVE_SOURCE_DIR "/models/bard");
    CHECK(read.ok());
    return new ModelFolder(*std::move(read));
  }();
  return *folder;
}

void check_request(absl::StatusOr<GatewayRequest> request, const ServedModel& model) {
  if (!request.ok()) {
    CHECK(request.status().message().find('\n') == absl::string_view::npos);
    return;
  }
  if (request->id.empty()) request->id = "made-up";
  CHECK(check_client_request(*request, model.limits()).ok());
  CHECK(longest(*request, model.limits().max_positions) <= model.limits().max_positions);
}

}  // namespace
}  // namespace conclave

// Protobuf writes a line to stderr for every string that is not UTF-8.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  if (size == 0) return 0;
  const ServedModel model{.folder = &bard(), .name = "bard", .max_text_bytes = 4096};
  const int length = static_cast<int>(size - 1);
  if (data[0] % 2 == 0) {
    v1::GenerateRequest message;
    if (!message.ParseFromArray(data + 1, length)) return 0;
    check_request(to_request(message, model, /*fresh_seed=*/1), model);
  } else {
    v1::ScoreRequest message;
    if (!message.ParseFromArray(data + 1, length)) return 0;
    check_request(to_request(message, model), model);
  }
  return 0;
}
