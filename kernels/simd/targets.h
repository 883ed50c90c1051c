// Which instruction sets the kernels are compiled for; included before anything of Highway.
//
// Highway takes its baseline from the compiler's flags, which is SSE2 here, so that it would
// compile every kernel a third time as scalar code that no supported CPU runs and whose sums have
// other bits. Raising the baseline to our floor leaves exactly two copies of a kernel, AVX2 and
// AVX3 (AVX-512). Code outside the kernels keeps the compiler's flags: check_instruction_class()
// runs on any x86-64.
#pragma once

#ifndef HWY_BASELINE_TARGETS
#define HWY_BASELINE_TARGETS HWY_AVX2
#endif
