// Which instructions the kernels of this process use: part of the numeric profile (contract C1),
// for the width of a vector decides the order of a sum. The choice is made at run time, once, from
// the CPU.
#pragma once

#include <span>
#include <string_view>

#include "absl/status/status.h"

namespace conclave {

enum class InstructionClass { kAvx2, kAvx512 };

// UNIMPLEMENTED, naming what is missing, on a CPU below the floor (AVX2 with FMA and F16C).
absl::Status check_instruction_class();

InstructionClass instruction_class();
std::string_view instruction_class_name(InstructionClass instruction_class);

// What this CPU offers, best first.
std::span<const InstructionClass> supported_instruction_classes();

// Whether the class in use may multiply int8 with one instruction (AVX-512 VNNI). Decides speed
// alone: int8 products have the same bits with and without.
bool has_int8_dot();

// Forces a class for every later kernel call, process-wide: "avx2" on an AVX-512 machine reproduces
// the bits of an AVX2 machine. INVALID_ARGUMENT where the CPU lacks it. Call it before kernels run.
absl::Status set_instruction_class(InstructionClass instruction_class);

// Both of the above by a flag's word: "auto" for the best there is, or the name of a class.
// INVALID_ARGUMENT for another word.
absl::Status choose_instruction_class(std::string_view word);

}  // namespace conclave
