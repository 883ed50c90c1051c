#include "model/convert/convert_model.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/host_memory.h"
#include "common/status_macros.h"
#include "kernels/quantise.h"
#include "model/checkpoint/safetensors_writer.h"
#include "model/convert/conversion_plan.h"
#include "model/convert/side_files.h"
#include "model/weights/int8_rows.h"
#include "model/weights/page_in.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPieceBytes = 32 << 20;

template <typename T>
std::string_view as_bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

absl::Status folder_error(const std::string& path, const std::error_code& error) {
  return absl::UnavailableError(absl::StrCat("writing ", path, ": ", error.message()));
}

// Without the slashes that a shell puts behind a folder's name.
std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

absl::Status check_out(const std::string& out, uint64_t num_bytes) {
  if (out.empty()) return absl::InvalidArgumentError("the name of the folder to write is empty");
  std::error_code error;
  const fs::file_status found = fs::symlink_status(out, error);
  const bool there = found.type() != fs::file_type::not_found;
  if (there && (found.type() != fs::file_type::directory || !fs::is_empty(out, error))) {
    return absl::FailedPreconditionError(
        absl::StrCat("writing ", out, ": it is there and is not an empty folder"));
  }
  const fs::path parent = fs::path(out).has_parent_path() ? fs::path(out).parent_path() : ".";
  const fs::space_info space = fs::space(parent, error);
  if (error) return folder_error(out, error);
  if (space.available >= num_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("writing ", out, ": it takes ",
                                                   format_bytes(num_bytes), ", and the disk has ",
                                                   format_bytes(space.available), " left"));
}

// A folder that goes away by itself unless it was renamed.
class NewFolder {
 public:
  explicit NewFolder(std::string out)
      : out_(std::move(out)), path_(absl::StrCat(out_, ".", ::getpid(), ".tmp")) {}

  ~NewFolder() {
    std::error_code ignored;
    if (is_mine_) fs::remove_all(path_, ignored);
  }

  absl::Status create() {
    std::error_code error;
    is_mine_ = fs::create_directory(path_, error);
    if (error) return folder_error(path_, error);
    if (is_mine_) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat("writing ", path_, ": it is there"));
  }

  // Takes the place of nothing or of an empty folder.
  absl::Status finish() {
    if (std::rename(path_.c_str(), out_.c_str()) != 0) {
      return absl::UnavailableError(absl::StrCat("writing ", out_, ": ", std::strerror(errno)));
    }
    is_mine_ = false;
    return absl::OkStatus();
  }

  const std::string& path() const { return path_; }

 private:
  const std::string out_;
  const std::string path_;
  bool is_mine_ = false;
};

class ShardWriter {
 public:
  ShardWriter(const Checkpoint* checkpoint, const ModelConfig* config, Executor* executor,
              LoadMeter* meter)
      : checkpoint_(checkpoint), config_(config), executor_(executor), meter_(meter) {}

  absl::Status write(const PlannedShard& shard, const std::string& dir) {
    ASSIGN_OR_RETURN(file_,
                     SafetensorsFile::create(absl::StrCat(dir, "/", shard.file_name), shard.heads));
    for (const PlannedTensor& tensor : shard.tensors) {
      RETURN_IF_ERROR(tensor.converted ? convert(tensor) : copy(tensor));
    }
    return file_->finish();
  }

 private:
  absl::Status copy(const PlannedTensor& tensor);
  absl::Status convert(const PlannedTensor& tensor);
  absl::Status convert_slice(const PlannedTensor& tensor, const Weight& weight, int32_t slice_idx);

  const Checkpoint* const checkpoint_;
  const ModelConfig* const config_;
  Executor* const executor_;
  LoadMeter* const meter_;
  std::unique_ptr<SafetensorsFile> file_;
};

absl::Status ShardWriter::copy(const PlannedTensor& tensor) {
  const StoredTensor& stored = *tensor.stored;
  for (uint64_t begin = 0; begin < stored.num_bytes; begin += kPieceBytes) {
    const uint64_t num_bytes = std::min(kPieceBytes, stored.num_bytes - begin);
    const MappedRange range{stored.data + begin, num_bytes, &stored};
    RETURN_IF_ERROR(page_in(*checkpoint_, range));
    RETURN_IF_ERROR(file_->write(tensor.head_idx, begin,
                                 {reinterpret_cast<const char*>(range.data), num_bytes}));
    page_out(range);
    meter_->add(num_bytes);
  }
  return absl::OkStatus();
}

absl::Status ShardWriter::convert(const PlannedTensor& tensor) {
  const int32_t num_slices = std::max(1, tensor.converted->num_slices);
  for (int32_t i = 0; i < num_slices; ++i) {
    const auto unheard = [](uint64_t, uint64_t) {};
    LoadMeter silent(0, unheard);
    // As it is stored, with its scales where it is fp8.
    TensorSource source(checkpoint_, config_, {.mode = ReadMode::kLoad, .meter = &silent});
    MatrixSpec spec = *tensor.converted;
    spec.slice_idx = i;
    Weight weight;
    RETURN_IF_ERROR(source.matrix(spec, &weight));
    RETURN_IF_ERROR(convert_slice(tensor, weight, i));
  }
  return absl::OkStatus();
}

absl::Status ShardWriter::convert_slice(const PlannedTensor& tensor, const Weight& weight,
                                        int32_t slice_idx) {
  const int64_t num_cols = weight.num_cols;
  const int64_t num_blocks = num_int8_blocks(weight.num_cols);
  const int32_t piece_rows = static_cast<int32_t>(
      std::clamp<int64_t>(static_cast<int64_t>(kPieceBytes) / std::max<int64_t>(1, num_cols), 1,
                          std::max(1, weight.num_rows)));
  for (int32_t n = 0; n < weight.num_rows; n += piece_rows) {
    const RowRange rows{.first = n, .count = std::min(piece_rows, weight.num_rows - n)};
    std::vector<int8_t> codes(static_cast<size_t>(rows.count * num_cols));
    std::vector<float> scale(static_cast<size_t>(rows.count * num_blocks));
    RETURN_IF_ERROR(convert_rows(*checkpoint_, {tensor.stored, weight}, rows, codes.data(),
                                 scale.data(), executor_));
    const uint64_t row = static_cast<uint64_t>(int64_t{slice_idx} * weight.num_rows + n);
    RETURN_IF_ERROR(
        file_->write(tensor.head_idx, row * static_cast<uint64_t>(num_cols), as_bytes(codes)));
    RETURN_IF_ERROR(file_->write(tensor.head_idx + 1,
                                 row * static_cast<uint64_t>(num_blocks) * sizeof(float),
                                 as_bytes(scale)));
    meter_->add(as_bytes(codes).size() + as_bytes(scale).size());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status convert_model(const Checkpoint& checkpoint, const ModelConfig& config,
                           const ConvertOptions& options, LoadProgress progress) {
  ASSIGN_OR_RETURN(const ConversionPlan plan,
                   plan_conversion(checkpoint, config, options.types, options.max_shard_bytes));
  const std::string out = without_slashes(options.out);
  RETURN_IF_ERROR(check_out(out, plan.num_bytes));
  NewFolder folder(out);
  RETURN_IF_ERROR(folder.create());
  LoadMeter meter(plan.num_bytes, progress);
  ShardWriter writer(&checkpoint, &config, options.executor, &meter);
  for (const PlannedShard& shard : plan.shards) {
    RETURN_IF_ERROR(writer.write(shard, folder.path()));
  }
  RETURN_IF_ERROR(write_side_files(checkpoint.dir(), folder.path(), config, plan));
  RETURN_IF_ERROR(folder.finish());
  meter.finish();
  return absl::OkStatus();
}

}  // namespace conclave
