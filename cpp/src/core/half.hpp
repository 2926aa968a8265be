// Half precision (IEEE 754 binary16) as bits: to float32 and, rounded to nearest even, back. One rule for the
// processor and for GPUs, where it is one instruction each.
#pragma once

#include <bit>
#include <cstdint>

#include "core/both.hpp"

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

namespace mimo_rt {

using Half = std::uint16_t;

MIMO_RT_BOTH inline float widen(Half half) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(half));
#else
  const std::uint32_t sign = std::uint32_t(half & 0x8000U) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fU;
  const std::uint32_t mantissa = half & 0x3ffU;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000U | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float small = static_cast<float>(mantissa) * 0x1p-24F;
  return sign != 0 ? -small : small;
#endif
}

// What is beyond the largest half, 65504 and what rounds to it, becomes infinity; NaN stays NaN.
MIMO_RT_BOTH inline Half narrow(float value) {
#if defined(__CUDA_ARCH__)
  return __half_as_ushort(__float2half_rn(value));
#else
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<Half>((bits >> 16) & 0x8000U);
  const std::uint32_t size = bits & 0x7fffffffU;
  if (size > 0x7f800000U) return static_cast<Half>(sign | 0x7e00U);
  if (size >= 0x477ff000U) return static_cast<Half>(sign | 0x7c00U);
  if (size < 0x38800000U) {  // below the smallest normal half: a multiple of 2^-24
    // Adding 0.5 leaves such multiples in the last bits of the sum, rounded as they should be.
    const float sum = std::bit_cast<float>(size) + 0.5F;
    return static_cast<Half>(sign | (std::bit_cast<std::uint32_t>(sum) - 0x3f000000U));
  }
  const std::uint32_t odd = (size >> 13) & 1U;
  return static_cast<Half>(sign | ((size - (112U << 23) + 0xfffU + odd) >> 13));
#endif
}

}  // namespace mimo_rt
