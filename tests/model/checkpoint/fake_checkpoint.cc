#include "tests/model/checkpoint/fake_checkpoint.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/check.h"
#include "nlohmann/json.hpp"

namespace conclave {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "conclave_test_XXXXXX").string();
  CHECK(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void TempDir::write(const std::string& name, std::string_view content) const {
  std::ofstream out(file(name), std::ios::binary);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  CHECK(out.good());
}

std::string read_whole_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  CHECK(in.good());
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string raw_safetensors(std::string_view header, std::string_view data) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  file.append(header);
  file.append(data);
  return file;
}

std::string safetensors_file(const std::vector<FakeTensor>& tensors, size_t padding) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::string data;
  for (const FakeTensor& tensor : tensors) {
    const uint64_t begin = data.size();
    data += tensor.bytes;
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {begin, uint64_t{data.size()}}}};
  }
  std::string json = header.dump();
  json.append((8 - json.size() % 8) % 8 + padding, ' ');
  return raw_safetensors(json, data);
}

std::vector<FakeTensor> tensors_of(const Checkpoint& checkpoint) {
  std::vector<FakeTensor> tensors;
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    const auto* data = reinterpret_cast<const char*>(tensor.data);
    tensors.push_back(
        {tensor.name, tensor.dtype, tensor.shape, std::string(data, tensor.num_bytes)});
  }
  return tensors;
}

FakeTensor* find_tensor(std::vector<FakeTensor>* tensors, std::string_view name) {
  for (FakeTensor& tensor : *tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

void remove_tensor(std::vector<FakeTensor>* tensors, std::string_view name) {
  std::erase_if(*tensors, [&](const FakeTensor& tensor) { return tensor.name == name; });
}

std::string golden_dir(const std::string& name) {
  return std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/" + name;
}

}  // namespace conclave
