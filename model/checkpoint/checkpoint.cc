#include "model/checkpoint/checkpoint.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "model/checkpoint/shard_index.h"
#include "model/config/json_reader.h"

namespace conclave {
namespace {

constexpr char kIndexName[] = "model.safetensors.index.json";
constexpr char kSingleName[] = "model.safetensors";
constexpr uint64_t kMaxIndexBytes = 64
                                    << 20;  // DeepSeek-V4-Pro with 145,116 tensors has about 12 MB

// Index and shards tell the same of every tensor.
absl::Status check_index(const ShardIndex& index, const Checkpoint& checkpoint,
                         const std::string& index_path) {
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    const auto it = index.file_of_tensor.find(tensor.name);
    if (it == index.file_of_tensor.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(checkpoint.where(tensor), " is not in ", kIndexName));
    }
    if (it->second != checkpoint.file_name(tensor)) {
      return absl::InvalidArgumentError(absl::StrCat(checkpoint.where(tensor), " is in ",
                                                     printable(it->second), " by ", kIndexName));
    }
  }
  if (index.file_of_tensor.size() == checkpoint.tensors().size()) return absl::OkStatus();
  for (const auto& [name, file_name] : index.file_of_tensor) {
    if (checkpoint.find(name) == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(index_path, ": tensor ", printable(name),
                                                     " is not in ", printable(file_name)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::string& dir) {
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(dir));
  const std::string index_path = absl::StrCat(dir, "/", kIndexName);
  const absl::StatusOr<std::string> text = read_small_file(index_path, kMaxIndexBytes);
  if (absl::IsNotFound(text.status())) {
    const absl::Status status = checkpoint->add_file(kSingleName);
    if (absl::IsNotFound(status)) {
      return absl::NotFoundError(
          absl::StrCat(dir, " holds neither ", kIndexName, " nor ", kSingleName));
    }
    RETURN_IF_ERROR(status);
    RETURN_IF_ERROR(checkpoint->build_lookup());
    return checkpoint;
  }
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const ShardIndex index, parse_shard_index(*text, index_path));
  for (const std::string& name : index.file_names) {
    const absl::Status status = checkpoint->add_file(name);
    if (absl::IsNotFound(status)) {
      return absl::NotFoundError(
          absl::StrCat(index_path, " names the shard ", printable(name), ", which is not there"));
    }
    RETURN_IF_ERROR(status);
  }
  RETURN_IF_ERROR(checkpoint->build_lookup());
  RETURN_IF_ERROR(check_index(index, *checkpoint, index_path));
  return checkpoint;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::open_file(const std::string& path) {
  const size_t slash = path.rfind('/');
  const bool has_dir = slash != std::string::npos;
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(has_dir ? path.substr(0, slash) : "."));
  RETURN_IF_ERROR(checkpoint->add_file(has_dir ? path.substr(slash + 1) : path));
  RETURN_IF_ERROR(checkpoint->build_lookup());
  return checkpoint;
}

absl::Status Checkpoint::add_file(const std::string& file_name) {
  const std::string path = absl::StrCat(dir_, "/", file_name);
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  ASSIGN_OR_RETURN(SafetensorsHeader header, parse_safetensors_header(file.bytes(), path));

  const std::byte* const data = file.bytes().data() + header.data_begin;
  for (TensorEntry& entry : header.tensors) {
    StoredTensor tensor;
    tensor.name = std::move(entry.name);
    tensor.dtype = std::move(entry.dtype);
    tensor.shape = std::move(entry.shape);
    tensor.data = data + entry.begin;
    tensor.num_bytes = entry.end - entry.begin;
    tensor.file_idx = static_cast<int32_t>(files_.size());
    tensors_.push_back(std::move(tensor));
  }
  files_.push_back(std::move(file));
  file_names_.push_back(file_name);
  return absl::OkStatus();
}

absl::Status Checkpoint::build_lookup() {
  std::sort(tensors_.begin(), tensors_.end(),
            [](const StoredTensor& a, const StoredTensor& b) { return a.name < b.name; });
  by_name_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const auto [it, is_new] = by_name_.emplace(tensors_[i].name, i);
    if (!is_new) {
      return absl::InvalidArgumentError(
          absl::StrCat(where(tensors_[i]), " is also in ", file_name(tensors_[it->second])));
    }
  }
  return absl::OkStatus();
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  const auto it = by_name_.find(absl::string_view(name.data(), name.size()));
  return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

const std::string& Checkpoint::file_name(const StoredTensor& tensor) const {
  CHECK(tensor.file_idx >= 0);
  CHECK(static_cast<size_t>(tensor.file_idx) < file_names_.size());
  return file_names_[static_cast<size_t>(tensor.file_idx)];
}

std::string Checkpoint::where(const StoredTensor& tensor) const {
  return absl::StrCat(dir_, "/", file_name(tensor), ": tensor ", printable(tensor.name));
}

}  // namespace conclave
