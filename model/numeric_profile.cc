#include "model/numeric_profile.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "kernels/instruction_class.h"

namespace conclave {
namespace {

constexpr size_t kMaxSamples = 4096;
constexpr uint64_t kSampleBytes = 1024;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) {
    CHECK(context_ != nullptr);
    CHECK(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  void add(const void* data, size_t num_bytes) {
    CHECK(EVP_DigestUpdate(context_.get(), data, num_bytes) == 1);
  }

  std::string first_half_in_hex() {
    unsigned char digest[32];
    CHECK(EVP_DigestFinal_ex(context_.get(), digest, nullptr) == 1);
    return absl::BytesToHexString({reinterpret_cast<const char*>(digest), sizeof(digest) / 2});
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

// What an expert server leaves empty it does not decide.
absl::Status agree_on(absl::string_view field, const std::string& ours, const std::string& theirs) {
  if (ours == theirs || ours.empty() || theirs.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("another numeric profile: ", field, " is ", theirs, ", not ", ours));
}

}  // namespace

absl::Status agree(const NumericProfile& ours, const NumericProfile& theirs) {
  RETURN_IF_ERROR(agree_on("the weights' fingerprint", ours.weights, theirs.weights));
  RETURN_IF_ERROR(
      agree_on("the type of the experts' weights", ours.weight_type, theirs.weight_type));
  RETURN_IF_ERROR(agree_on("the type of the trunk's weights", ours.trunk_type, theirs.trunk_type));
  RETURN_IF_ERROR(agree_on("the kernel version", absl::StrCat(ours.kernel_version),
                           absl::StrCat(theirs.kernel_version)));
  RETURN_IF_ERROR(agree_on("the instruction class", ours.instructions, theirs.instructions));
  RETURN_IF_ERROR(agree_on("the type of rows out", ours.wire_out, theirs.wire_out));
  RETURN_IF_ERROR(agree_on("the type of rows back", ours.wire_back, theirs.wire_back));
  RETURN_IF_ERROR(agree_on("the cache's type", ours.cache_type, theirs.cache_type));
  return agree_on("the form of attention", ours.attention_form, theirs.attention_form);
}

NumericProfile profile_of_weights(const Checkpoint& checkpoint, const WeightTypes& converted) {
  return {.weights = fingerprint_of(checkpoint),
          .weight_type = converted.experts_to_string(),
          .kernel_version = kKernelVersion,
          .instructions = std::string(instruction_class_name(instruction_class()))};
}

std::string fingerprint_of(const Checkpoint& checkpoint) {
  Sha256 hash;
  const std::vector<StoredTensor>& tensors = checkpoint.tensors();
  const size_t stride = std::max<size_t>(1, (tensors.size() + kMaxSamples - 1) / kMaxSamples);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const StoredTensor& tensor = tensors[i];
    const std::string head =
        absl::StrCat(tensor.name, " ", tensor.dtype, " ", absl::StrJoin(tensor.shape, ","), "\n");
    hash.add(head.data(), head.size());
    if (i % stride != 0) continue;
    // From the middle: the beginning of a tensor is where rows of rare ids or padding may lie.
    const uint64_t num_bytes = std::min(kSampleBytes, tensor.num_bytes);
    hash.add(tensor.data + (tensor.num_bytes - num_bytes) / 2, num_bytes);
  }
  return hash.first_half_in_hex();
}

}  // namespace conclave
