// What opening a checkpoint must keep: all tensors of all shards by name, index and shards telling
// the same, and one line that names the file for everything that is wrong with a folder.

#include "model/checkpoint/checkpoint.h"

#include <sys/stat.h>

#include <cstring>
#include <filesystem>

#include "model/checkpoint/mapped_file.h"
#include "tests/model/checkpoint/expect_status.h"
#include "tests/model/checkpoint/fake_checkpoint.h"

namespace conclave {
namespace {

using absl::StatusCode;

constexpr char kIndex[] = "model.safetensors.index.json";

std::string one_tensor(const std::string& name) {
  return safetensors_file({{name, "F32", {1}, "abcd"}});
}

absl::Status open_status(const TempDir& dir) { return Checkpoint::open(dir.path()).status(); }

class GoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, Opens) {
  const auto checkpoint = Checkpoint::open(golden_dir(GetParam()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const StoredTensor* norm = (*checkpoint)->find("model.norm.weight");
  ASSERT_NE(norm, nullptr);
  EXPECT_EQ(norm->shape.size(), 1u);
  EXPECT_EQ((*checkpoint)->find("model.norm.weigh"), nullptr);
  uint64_t bytes = 0;
  std::string last;
  for (const StoredTensor& tensor : (*checkpoint)->tensors()) {
    EXPECT_LT(last, tensor.name);
    last = tensor.name;
    bytes += tensor.num_bytes;
    EXPECT_EQ((*checkpoint)->find(tensor.name), &tensor);
  }
  EXPECT_GT(bytes, 100'000u);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTest,
                         testing::Values("deepseek_v2_lite", "deepseek_v2", "deepseek_v3",
                                         "deepseek_v3_fp8", "moonlight"));

TEST(Checkpoint, OpensOneFileOfAnyName) {
  const auto golden = Checkpoint::open_file(golden_dir("moonlight") + "/golden.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.status();
  const StoredTensor* prompt = (*golden)->find("prompt_0");
  ASSERT_NE(prompt, nullptr);
  EXPECT_EQ(prompt->dtype, "I64");
  EXPECT_EQ(prompt->shape, (std::vector<int64_t>{7}));
}

TEST(Checkpoint, FindsTensorsAcrossShards) {
  const TempDir dir;
  dir.write("x.safetensors", one_tensor("a"));
  dir.write("y.safetensors", one_tensor("b"));
  dir.write(kIndex, R"({"metadata":{"total_size":8},)"
                    R"("weight_map":{"a":"x.safetensors","b":"y.safetensors"}})");
  const auto checkpoint = Checkpoint::open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const StoredTensor* b = (*checkpoint)->find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ((*checkpoint)->file_name(*b), "y.safetensors");
  EXPECT_EQ(std::memcmp(b->data, "abcd", 4), 0);
}

TEST(Checkpoint, FollowsLinksToFiles) {
  const TempDir dir;
  dir.write("blob", one_tensor("a"));
  std::filesystem::create_symlink("blob", dir.file("model.safetensors"));
  EXPECT_TRUE(Checkpoint::open(dir.path()).ok());
}

TEST(Checkpoint, NamesAFolderWithoutModel) {
  const TempDir dir;
  expect_error(open_status(dir), StatusCode::kNotFound, {dir.path(), "model.safetensors"});
  expect_error(Checkpoint::open(dir.file("nowhere")).status(), StatusCode::kNotFound, {"nowhere"});
}

TEST(Checkpoint, NamesAFileThatIsNone) {
  const TempDir dir;
  std::filesystem::create_directory(dir.file("model.safetensors"));
  expect_error(open_status(dir), StatusCode::kInvalidArgument,
               {dir.file("model.safetensors"), "regular file"});
  std::filesystem::remove(dir.file("model.safetensors"));
  dir.write("model.safetensors", "");
  expect_error(open_status(dir), StatusCode::kInvalidArgument, {"model.safetensors", "empty"});
  std::filesystem::remove(dir.file("model.safetensors"));
  ASSERT_EQ(::mkfifo(dir.file("model.safetensors").c_str(), 0600),
            0);  // must not wait for a writer
  expect_error(open_status(dir), StatusCode::kInvalidArgument, {"regular file"});
}

TEST(Checkpoint, NamesATruncatedShard) {
  const TempDir dir;
  const std::string file = one_tensor("a");
  dir.write("model.safetensors", file.substr(0, file.size() - 1));
  expect_error(open_status(dir), StatusCode::kInvalidArgument,
               {dir.file("model.safetensors"), "tensor a", "truncated"});
}

struct BadIndex {
  const char* label;
  std::string text;
  std::vector<std::string> words;
  StatusCode code = StatusCode::kInvalidArgument;
};

class BadIndexTest : public testing::TestWithParam<BadIndex> {};

// x.safetensors holds a, y.safetensors holds b.
TEST_P(BadIndexTest, NamesFileAndThing) {
  const TempDir dir;
  dir.write("x.safetensors", one_tensor("a"));
  dir.write("y.safetensors", one_tensor("b"));
  dir.write(kIndex, GetParam().text);
  std::vector<std::string> words = GetParam().words;
  words.push_back(kIndex);
  expect_error(open_status(dir), GetParam().code, words);
}

std::string map(const std::string& entries) { return R"({"weight_map":{)" + entries + "}}"; }

INSTANTIATE_TEST_SUITE_P(
    All, BadIndexTest,
    testing::Values(
        BadIndex{"BrokenJson", "{", {"broken JSON"}}, BadIndex{"Empty", "", {"empty"}},
        BadIndex{"NoMap", "{}", {"weight_map", "missing"}}, BadIndex{"List", "[]", {"a list"}},
        BadIndex{"MapIsList", R"({"weight_map":[]})", {"weight_map"}},
        BadIndex{"EmptyMap", map(""), {"no tensor"}},
        BadIndex{"FileIsNumber", map(R"("a":7)"), {"weight_map.a", "7"}},
        BadIndex{"Absolute", map(R"("a":"/etc/passwd")"), {"/etc/passwd", "plain name"}},
        BadIndex{"Above", map(R"("a":"../x.safetensors")"), {"../x.safetensors", "plain name"}},
        BadIndex{"Parent", map(R"("a":"..")"), {"plain name"}},
        BadIndex{"Nothing", map(R"("a":"")"), {"plain name"}},
        BadIndex{"NulByte", map(R"("a":"x.safetensors\u0000y")"), {"plain name"}},
        BadIndex{"SameTensorTwice",
                 map(R"("a":"x.safetensors","a":"x.safetensors")"),
                 {"\"a\"", "twice"}},
        BadIndex{"AbsentFile",
                 map(R"("a":"x.safetensors","c":"z.safetensors")"),
                 {"z.safetensors", "not there"},
                 StatusCode::kNotFound},
        BadIndex{"AbsentTensor",
                 map(R"("a":"x.safetensors","c":"x.safetensors")"),
                 {"tensor c", "x.safetensors"}},
        BadIndex{"WrongShard",
                 map(R"("a":"y.safetensors","b":"x.safetensors")"),
                 {"tensor a", "x.safetensors", "y.safetensors"}},
        BadIndex{"UnlistedTensor",
                 map(R"("a":"x.safetensors","c":"y.safetensors")"),
                 {"tensor b", "y.safetensors"}}),
    [](const auto& param_info) { return std::string(param_info.param.label); });

TEST(Checkpoint, NamesATensorThatTwoShardsHold) {
  const TempDir dir;
  dir.write("x.safetensors", one_tensor("a"));
  dir.write("y.safetensors", safetensors_file({{"a", "F32", {1}, "abcd"}, {"b", "U8", {1}, "x"}}));
  dir.write(kIndex, map(R"("a":"x.safetensors","b":"y.safetensors")"));
  expect_error(open_status(dir), StatusCode::kInvalidArgument,
               {"tensor a", "x.safetensors", "y.safetensors"});
}

TEST(MappedFile, MovesItsMapping) {
  const TempDir dir;
  dir.write("f", "hello");
  auto first = MappedFile::open(dir.file("f"));
  ASSERT_TRUE(first.ok());
  MappedFile second = *std::move(first);
  EXPECT_EQ(second.bytes().size(), 5u);
  MappedFile third = std::move(second);
  EXPECT_EQ(std::memcmp(third.bytes().data(), "hello", 5), 0);
}

TEST(ReadSmallFile, RefusesWhatIsTooLarge) {
  const TempDir dir;
  dir.write("f", "hello");
  EXPECT_EQ(*read_small_file(dir.file("f"), 5), "hello");
  expect_error(read_small_file(dir.file("f"), 4).status(), StatusCode::kResourceExhausted,
               {dir.file("f"), "5 bytes"});
}

}  // namespace
}  // namespace conclave
