#include "model/checkpoint/safetensors_writer.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/checked_math.h"
#include "common/status_macros.h"
#include "model/checkpoint/safetensors_header.h"
#include "model/config/json_reader.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

std::string_view bytes_of(const TensorToWrite& tensor) {
  return std::visit(
      [](const auto& values) {
        return std::string_view(reinterpret_cast<const char*>(values.data()), values.size_bytes());
      },
      tensor.values);
}

bool is_i64(const TensorToWrite& tensor) { return tensor.values.index() == 1; }

absl::StatusOr<uint64_t> bytes_of(const TensorHead& head) {
  std::optional<uint64_t> bytes = safetensors_element_bytes(head.dtype);
  for (const int64_t dim : head.shape) {
    bytes = dim < 0 || !bytes ? std::nullopt : checked_mul(*bytes, static_cast<uint64_t>(dim));
  }
  if (bytes) return *bytes;
  return absl::InvalidArgumentError(absl::StrCat("tensor ", printable(head.name),
                                                 " cannot have that shape and the dtype ",
                                                 printable(head.dtype)));
}

absl::Status check_names(std::span<const TensorHead> heads) {
  absl::flat_hash_set<std::string> names;
  for (const TensorHead& head : heads) {
    if (names.insert(head.name).second && head.name != "__metadata__") continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", printable(head.name), " cannot have that name"));
  }
  return absl::OkStatus();
}

// Wide elements first, so that every tensor lies aligned.
std::vector<size_t> order_of(std::span<const TensorHead> heads) {
  std::vector<size_t> order(heads.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return *safetensors_element_bytes(heads[a].dtype) > *safetensors_element_bytes(heads[b].dtype);
  });
  return order;
}

// The length of the JSON and the JSON, padded so that the data begin at a multiple of 8.
std::string pack_header(const nlohmann::ordered_json& header) {
  // "replace": a name that is no UTF-8 is written damaged rather than thrown about.
  std::string json = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  json.append((8 - json.size() % 8) % 8, ' ');
  const uint64_t num_bytes = json.size();
  return std::string(reinterpret_cast<const char*>(&num_bytes), 8) + json;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::create(
    const std::string& path, std::span<const TensorHead> heads) {
  RETURN_IF_ERROR(check_names(heads));
  std::vector<Place> places(heads.size());
  for (size_t i = 0; i < heads.size(); ++i) {
    ASSIGN_OR_RETURN(places[i].num_bytes, bytes_of(heads[i]));
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  uint64_t end = 0;
  for (const size_t i : order_of(heads)) {
    places[i].begin = end;
    end += places[i].num_bytes;
    json[heads[i].name] = {{"dtype", heads[i].dtype},
                           {"shape", heads[i].shape},
                           {"data_offsets", {places[i].begin, end}}};
  }
  const std::string header = pack_header(json);
  if (header.size() - 8 > kMaxSafetensorsHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat("writing ", path, ": too many tensors"));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<NewFile> written, NewFile::create(path));
  RETURN_IF_ERROR(written->write(0, header));
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile(std::move(written)));
  for (Place& place : places) place.begin += header.size();
  file->places_ = std::move(places);
  file->missing_bytes_ = end;
  return file;
}

absl::Status SafetensorsFile::write(size_t head_idx, uint64_t offset, std::string_view bytes) {
  CHECK(head_idx < places_.size());
  const Place& place = places_[head_idx];
  CHECK(offset <= place.num_bytes);
  CHECK(bytes.size() <= place.num_bytes - offset);
  CHECK(bytes.size() <= missing_bytes_);
  missing_bytes_ -= bytes.size();
  return file_->write(place.begin + offset, bytes);
}

absl::Status SafetensorsFile::finish() {
  CHECK(missing_bytes_ == 0);
  return file_->finish();
}

absl::Status write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors) {
  std::vector<TensorHead> heads;
  for (const TensorToWrite& tensor : tensors) {
    heads.push_back({tensor.name, is_i64(tensor) ? "I64" : "F32", tensor.shape});
    const absl::StatusOr<uint64_t> num_bytes = bytes_of(heads.back());
    if (num_bytes.ok() && *num_bytes == bytes_of(tensor).size()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", printable(tensor.name), " has a shape that is not its size"));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                   SafetensorsFile::create(path, heads));
  for (size_t i = 0; i < tensors.size(); ++i) {
    RETURN_IF_ERROR(file->write(i, 0, bytes_of(tensors[i])));
  }
  return file->finish();
}

}  // namespace conclave
