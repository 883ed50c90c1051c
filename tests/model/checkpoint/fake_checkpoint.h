// Checkpoints that tests make and break: a folder that goes away by itself, safetensors files with
// whatever header, and real checkpoints as lists that can be changed and written again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint/checkpoint.h"

namespace conclave {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, std::string_view content) const;

 private:
  std::string path_;
};

std::string read_whole_file(const std::string& path);

struct FakeTensor {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

// Length, header, data; nothing is checked.
std::string raw_safetensors(std::string_view header, std::string_view data);

// The tensors one after the other. `padding` spaces behind the header move the data.
std::string safetensors_file(const std::vector<FakeTensor>& tensors, size_t padding = 0);

std::vector<FakeTensor> tensors_of(const Checkpoint& checkpoint);

// Null when there is none.
FakeTensor* find_tensor(std::vector<FakeTensor>* tensors, std::string_view name);
void remove_tensor(std::vector<FakeTensor>* tensors, std::string_view name);

// "<source>/tests/golden/<name>"
std::string golden_dir(const std::string& name);

}  // namespace conclave
