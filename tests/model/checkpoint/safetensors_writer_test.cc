// What the writer must keep: what it writes can be read back, aligned; where it cannot write, it
// says so and leaves nothing behind.

#include "model/checkpoint/safetensors_writer.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "model/checkpoint/checkpoint.h"
#include "tests/model/checkpoint/expect_status.h"
#include "tests/model/checkpoint/fake_checkpoint.h"

namespace conclave {
namespace {

using absl::StatusCode;

TEST(SafetensorsWriter, ReadsBackWhatItWrote) {
  const TempDir dir;
  const std::vector<float> logits = {1.5f, -2.f, 3.f};
  const std::vector<int64_t> ids = {7, -1};
  const std::vector<TensorToWrite> tensors = {
      {"logits \"0\"", {1, 3}, std::span<const float>(logits)},
      {"ids", {2}, std::span<const int64_t>(ids)},
      {"none", {0, 4}, std::span<const float>()},
  };
  const std::string path = dir.file("out.safetensors");
  ASSERT_TRUE(write_safetensors(path, tensors).ok());
  ASSERT_TRUE(write_safetensors(path, tensors).ok()) << "writes over an old file";

  const auto checkpoint = Checkpoint::open_file(path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_EQ((*checkpoint)->tensors().size(), 3u);
  const StoredTensor* read = (*checkpoint)->find("logits \"0\"");
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(read->dtype, "F32");
  EXPECT_EQ(read->shape, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(std::memcmp(read->data, logits.data(), 12), 0);
  const StoredTensor* read_ids = (*checkpoint)->find("ids");
  ASSERT_NE(read_ids, nullptr);
  EXPECT_EQ(read_ids->dtype, "I64");
  EXPECT_EQ(std::memcmp(read_ids->data, ids.data(), 16), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(read_ids->data) % 8, 0u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1)
      << "no temporary file stays";
}

TEST(SafetensorsWriter, RefusesShapesThatLie) {
  const TempDir dir;
  const std::vector<float> values(6);
  const std::vector<int64_t> shapes[] = {{7}, {2, 2}, {-2, -3}, {int64_t{1} << 62, 1 << 20}, {}};
  for (const auto& shape : shapes) {
    const std::vector<TensorToWrite> tensors = {{"x", shape, std::span<const float>(values)}};
    expect_error(write_safetensors(dir.file("o"), tensors), StatusCode::kInvalidArgument,
                 {"tensor x"});
  }
  const std::vector<TensorToWrite> twice = {{"x", {6}, std::span<const float>(values)},
                                            {"x", {6}, std::span<const float>(values)}};
  expect_error(write_safetensors(dir.file("o"), twice), StatusCode::kInvalidArgument, {"tensor x"});
}

TEST(SafetensorsWriter, FollowsNoLinkThatLiesInTheTemporaryFilesPlace) {
  const TempDir dir;
  const std::string path = dir.file("o");
  dir.write("victim", "untouched");
  std::filesystem::create_symlink(dir.file("victim"),
                                  path + "." + std::to_string(::getpid()) + ".0.tmp");
  const std::vector<float> values(1);
  const std::vector<TensorToWrite> tensors = {{"x", {1}, std::span<const float>(values)}};
  ASSERT_TRUE(write_safetensors(path, tensors).ok());
  EXPECT_TRUE(std::filesystem::is_regular_file(std::filesystem::symlink_status(path)));
  EXPECT_TRUE(Checkpoint::open_file(path).ok());
  EXPECT_EQ(std::filesystem::file_size(dir.file("victim")), 9u);
}

TEST(SafetensorsWriter, SaysWhereItCannotWrite) {
  const TempDir dir;
  const std::vector<float> values(1);
  const std::vector<TensorToWrite> tensors = {{"x", {1}, std::span<const float>(values)}};
  expect_error(write_safetensors(dir.file("no/such/o"), tensors), StatusCode::kUnavailable,
               {"no/such/o", "No such file"});
  std::filesystem::create_directory(dir.file("folder"));
  expect_error(write_safetensors(dir.file("folder"), tensors), StatusCode::kFailedPrecondition,
               {dir.file("folder"), "regular file"});
  std::filesystem::create_symlink("elsewhere", dir.file("link"));
  expect_error(write_safetensors(dir.file("link"), tensors), StatusCode::kFailedPrecondition,
               {dir.file("link"), "regular file"});
  expect_error(write_safetensors("", tensors), StatusCode::kInvalidArgument, {"empty"});
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 2);
}

}  // namespace
}  // namespace conclave
