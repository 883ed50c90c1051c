#include "model/checkpoint/safetensors_sax.h"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/config/json_reader.h"
#include "nlohmann/json.hpp"

namespace conclave {
namespace {

// Where in the header the next event belongs.
enum class Place {
  kOutside,   // before and after the one object
  kTop,       // {            names of tensors
  kMetadata,  // { "__metadata__": {     strings by name
  kTensor,    // { "name": {             dtype, shape, data_offsets
  kShape,     // { "name": { "shape": [
  kOffsets,   // { "name": { "data_offsets": [
};

class HeaderHandler final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderHandler(std::string_view where) : where_(where) {}

  const absl::Status& status() const { return status_; }
  std::vector<TensorEntry> take() { return std::move(tensors_); }

  // The format's own reader takes null for absent metadata.
  bool null() override {
    return (place_ == Place::kTop && key_ == "__metadata__") || unexpected("null");
  }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a fraction"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool binary(binary_t&) override { return unexpected("binary"); }

  bool number_unsigned(number_unsigned_t number) override {
    if (place_ == Place::kShape) {
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return fail("has a shape that overflows");
      }
      if (tensors_.back().shape.size() == kMaxTensorRank) {
        return fail(absl::StrCat("has more than ", kMaxTensorRank, " dimensions"));
      }
      tensors_.back().shape.push_back(static_cast<int64_t>(number));
      return true;
    }
    if (place_ == Place::kOffsets && num_offsets_ < 2) {
      (num_offsets_ == 0 ? tensors_.back().begin : tensors_.back().end) = number;
      ++num_offsets_;
      return true;
    }
    return unexpected("a number");
  }

  bool string(string_t& text) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kTensor || key_ != "dtype") return unexpected("a string");
    tensors_.back().dtype = text;
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::kOutside && !begun_) {
      begun_ = true;
      return go(Place::kTop);
    }
    if (place_ != Place::kTop) return unexpected("an object");
    if (key_ == "__metadata__") {
      return std::exchange(has_metadata_, true) ? fail("is there twice") : go(Place::kMetadata);
    }
    TensorEntry tensor;
    tensor.name = key_;
    tensors_.push_back(std::move(tensor));
    has_dtype_ = has_shape_ = has_offsets_ = false;
    return go(Place::kTensor);
  }

  bool end_object() override {
    if (place_ == Place::kTop) return go(Place::kOutside);
    if (place_ == Place::kTensor) {
      if (!has_dtype_) return fail("has no dtype");
      if (!has_shape_) return fail("has no shape");
      if (!has_offsets_) return fail("has no data_offsets");
    }
    return go(Place::kTop);
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::kTensor && key_ == "shape") return go(Place::kShape);
    if (place_ == Place::kTensor && key_ == "data_offsets") {
      num_offsets_ = 0;
      return go(Place::kOffsets);
    }
    return unexpected("a list");
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && num_offsets_ != 2) return fail("has not two data_offsets");
    return go(Place::kTensor);
  }

  bool key(string_t& name) override {
    key_ = name;
    if (place_ != Place::kTensor) return true;
    bool* seen = nullptr;
    if (name == "dtype") seen = &has_dtype_;
    if (name == "shape") seen = &has_shape_;
    if (name == "data_offsets") seen = &has_offsets_;
    if (seen == nullptr) {
      return fail(absl::StrCat("has the unknown field \"", printable(name), "\""));
    }
    if (std::exchange(*seen, true)) return fail(absl::StrCat("has ", name, " twice"));
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    status_ = absl::InvalidArgumentError(
        absl::StrCat(where_, ": the header is broken JSON at byte ", position));
    return false;
  }

 private:
  bool go(Place place) {
    place_ = place;
    return true;
  }

  bool unexpected(std::string_view what) {
    if (place_ == Place::kOutside) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat(where_, ": the header is ", std::string(what), ", expected a JSON object"));
      return false;
    }
    return fail(absl::StrCat("has ", std::string(what), " where the header may have none (at \"",
                             printable(key_), "\")"));
  }

  bool fail(const std::string& complaint) {
    const bool in_tensor = place_ >= Place::kTensor;
    status_ = absl::InvalidArgumentError(
        absl::StrCat(where_, ": ", in_tensor ? "tensor " : "header entry ",
                     printable(in_tensor ? tensors_.back().name : key_), " ", complaint));
    return false;
  }

  const std::string where_;
  std::vector<TensorEntry> tensors_;
  Place place_ = Place::kOutside;
  bool begun_ = false;
  bool has_metadata_ = false;
  std::string key_;  // the name read last
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  int32_t num_offsets_ = 0;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::vector<TensorEntry>> read_tensor_entries(std::string_view text,
                                                             std::string_view where) {
  HeaderHandler handler(where);
  const bool good = nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
  if (!handler.status().ok()) return handler.status();
  if (!good) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(where), ": the header is broken JSON"));
  }
  return handler.take();
}

}  // namespace conclave
