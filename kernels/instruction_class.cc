#include "kernels/instruction_class.h"

#include <cpuid.h>

#include <array>
#include <string>
#include <vector>

#include "common/check.h"
#include "hwy/targets.h"

namespace conclave {
namespace {

struct Known {
  InstructionClass instruction_class;
  std::string_view name;
  int64_t target;  // Highway's bit
};

// Best first.
constexpr std::array<Known, 2> kKnown = {{
    {InstructionClass::kAvx512, "avx512", HWY_AVX3},
    {InstructionClass::kAvx2, "avx2", HWY_AVX2},
}};

const Known& known(InstructionClass instruction_class) {
  for (const Known& candidate : kKnown) {
    if (candidate.instruction_class == instruction_class) return candidate;
  }
  CHECK(false && "an instruction class outside its enum");
  return kKnown[0];
}

// What the AVX2 copies of the kernels may use: the CPU's flag bits, one register each.
struct Feature {
  const char* name;
  uint32_t leaf;
  int register_idx;  // eax, ebx, ecx, edx
  int bit;
};

constexpr Feature kFloor[] = {
    {"SSE4.2", 1, 2, 20},
    {"AES", 1, 2, 25},
    {"PCLMUL", 1, 2, 1},
    {"OS support of AVX", 1, 2, 27},
    {"AVX", 1, 2, 28},
    {"F16C", 1, 2, 29},
    {"FMA", 1, 2, 12},
    {"BMI1", 7, 1, 3},
    {"AVX2", 7, 1, 5},
    {"BMI2", 7, 1, 8},
    {"LZCNT", 0x80000001u, 2, 5},
};

bool has(const Feature& feature) {
  uint32_t registers[4] = {};
  if (!__get_cpuid_count(feature.leaf, 0, &registers[0], &registers[1], &registers[2],
                         &registers[3])) {
    return false;
  }
  return (registers[feature.register_idx] >> feature.bit) & 1u;
}

std::string missing_features() {
  std::string missing;
  for (const Feature& feature : kFloor) {
    if (has(feature)) continue;
    if (!missing.empty()) missing += ", ";
    missing += feature.name;
  }
  return missing.empty() ? "AVX state enabled by the operating system" : missing;
}

// Found before anything is forced.
const std::vector<InstructionClass>& supported() {
  static const std::vector<InstructionClass> classes = [] {
    std::vector<InstructionClass> found;
    const int64_t targets = hwy::SupportedTargets();
    for (const Known& candidate : kKnown) {
      if (targets & candidate.target) found.push_back(candidate.instruction_class);
    }
    return found;
  }();
  return classes;
}

bool is_supported(InstructionClass instruction_class) {
  for (const InstructionClass candidate : supported()) {
    if (candidate == instruction_class) return true;
  }
  return false;
}

}  // namespace

absl::Status check_instruction_class() {
  if (!supported().empty()) return absl::OkStatus();
  return absl::UnimplementedError("this CPU lacks what the kernels need at least: " +
                                  missing_features());
}

InstructionClass instruction_class() {
  CHECK(!supported().empty());
  const int64_t targets = hwy::SupportedTargets();
  for (const Known& candidate : kKnown) {
    if (targets & candidate.target) return candidate.instruction_class;
  }
  CHECK(false && "no instruction class left");
  return InstructionClass::kAvx2;
}

std::string_view instruction_class_name(InstructionClass instruction_class) {
  return known(instruction_class).name;
}

std::span<const InstructionClass> supported_instruction_classes() { return supported(); }

bool has_int8_dot() {
  static const bool of_the_cpu = has({"AVX512_VNNI", 7, 2, 11});
  return of_the_cpu && instruction_class() == InstructionClass::kAvx512;
}

absl::Status set_instruction_class(InstructionClass instruction_class) {
  if (!is_supported(instruction_class)) {
    return absl::InvalidArgumentError("this CPU has no " +
                                      std::string(instruction_class_name(instruction_class)));
  }
  hwy::SetSupportedTargetsForTest(known(instruction_class).target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return absl::OkStatus();
}

absl::Status choose_instruction_class(std::string_view word) {
  const absl::Status status = check_instruction_class();
  if (!status.ok() || word == "auto") return status;
  for (const Known& candidate : kKnown) {
    if (candidate.name == word) return set_instruction_class(candidate.instruction_class);
  }
  return absl::InvalidArgumentError("there are no instructions \"" + std::string(word) + "\"");
}

}  // namespace conclave
