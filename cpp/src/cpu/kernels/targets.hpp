// Which instruction sets the kernels are compiled for. Included before Highway by every kernel file, and the
// only place that names them: MIMO_RT_FOR_EACH_TARGET calls a macro with each one's mask, namespace and name,
// best first.
#pragma once

// Kept: AVX-512 (AVX3), AVX2, SSE4, NEON and the portable fallback.
#define HWY_DISABLED_TARGETS                                                                        \
  (HWY_AVX3_DL | HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_PPC8 | \
   HWY_WASM_EMU256)

#include <hwy/base.h>
#include <hwy/detect_targets.h>

#if HWY_TARGETS & HWY_AVX3
#define MIMO_RT_AVX3(F) F(N_AVX3, "AVX-512")
#else
#define MIMO_RT_AVX3(F)
#endif
#if HWY_TARGETS & HWY_AVX2
#define MIMO_RT_AVX2(F) F(N_AVX2, "AVX2")
#else
#define MIMO_RT_AVX2(F)
#endif
#if HWY_TARGETS & HWY_SSE4
#define MIMO_RT_SSE4(F) F(N_SSE4, "SSE4")
#else
#define MIMO_RT_SSE4(F)
#endif
#if HWY_TARGETS & HWY_NEON
#define MIMO_RT_NEON(F) F(N_NEON, "NEON")
#else
#define MIMO_RT_NEON(F)
#endif
#if HWY_TARGETS & HWY_WASM
#define MIMO_RT_WASM(F) F(N_WASM, "WASM")
#else
#define MIMO_RT_WASM(F)
#endif
#if HWY_TARGETS & HWY_EMU128
#define MIMO_RT_PORTABLE(F) F(N_EMU128, "portable")
#elif HWY_TARGETS & HWY_SCALAR
#define MIMO_RT_PORTABLE(F) F(N_SCALAR, "portable")
#else
#define MIMO_RT_PORTABLE(F)
#endif

#define MIMO_RT_FOR_EACH_TARGET(F) \
  MIMO_RT_AVX3(F) MIMO_RT_AVX2(F) MIMO_RT_SSE4(F) MIMO_RT_NEON(F) MIMO_RT_WASM(F) MIMO_RT_PORTABLE(F)
