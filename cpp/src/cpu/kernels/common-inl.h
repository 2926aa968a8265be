// Vector code that every kernel shares: the micro-kernel's epilogue and the borders of a destination row.
// Included once per instruction set.
#if defined(MIMO_RT_COMMON_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MIMO_RT_COMMON_INL_H_
#undef MIMO_RT_COMMON_INL_H_
#else
#define MIMO_RT_COMMON_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include <hwy/highway.h>

#include "cpu/kernels/kernel_table.hpp"

HWY_BEFORE_NAMESPACE();
namespace mimo_rt::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using DHalf = hn::Rebind<hwy::float16_t, D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
constexpr int kPanel = 2 * kLanes;
constexpr int kLine = 16;  // floats of a cache line

// Rows of the micro-kernel: with two vectors of output channels, what the register file holds.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kMicroRows = 12;
#else
constexpr int kMicroRows = 6;
#endif

// To half precision and back; the largest values are clamped to what it holds.
template <int kCount>
HWY_INLINE void round_to_half(V* v) {
  const D d;
  const DHalf h;
  const V most = hn::Set(d, 65504.0F), least = hn::Set(d, -65504.0F);
#pragma GCC unroll 16
  for (int p = 0; p < kCount; ++p) {
    v[p] = hn::PromoteTo(d, hn::DemoteTo(h, hn::Min(hn::Max(v[p], least), most)));
  }
}

// Bias and epilogue for `count` pixels of one channel block in a row; column of pixel p is x + p *
// column_stride.
template <int kCount>
HWY_INLINE void finish(const Destination& out, int row, int block, int x, int column_stride, int count,
                       V* v) {
  const D d;
  // The common case has no address that depends on more than a constant, so that pixels stay in registers.
  const bool plain = count == kCount && column_stride == 1;
  const V bias = hn::LoadU(d, out.bias + static_cast<std::ptrdiff_t>(block) * kLanes);
#pragma GCC unroll 16
  for (int p = 0; p < kCount; ++p) v[p] = hn::Add(v[p], bias);
  for (int s = 0; s < out.step_count; ++s) {
    const EpilogueStep& step = out.steps[s];
    if (step.kind == EpilogueKind::relu) {
      const V zero = hn::Zero(d);
#pragma GCC unroll 16
      for (int p = 0; p < kCount; ++p) v[p] = hn::Max(v[p], zero);
      continue;
    }
    const float* base = step.rows[row] + block * step.block_stride;
    V operand[kCount];
    if (plain && step.up == 0) {
      const float* from = base + static_cast<std::ptrdiff_t>(x) * kLanes;
#pragma GCC unroll 16
      for (int p = 0; p < kCount; ++p) operand[p] = hn::LoadU(d, from + p * kLanes);
    } else {
#pragma GCC unroll 16
      for (int p = 0; p < kCount; ++p) {
        // Pixels past the end are never stored; they read the last one so that no address leaves the row.
        const int column = (x + std::min(p, count - 1) * column_stride) >> step.up;
        operand[p] = hn::LoadU(d, base + static_cast<std::ptrdiff_t>(column) * kLanes);
      }
    }
    if (step.kind == EpilogueKind::add) {
#pragma GCC unroll 16
      for (int p = 0; p < kCount; ++p) v[p] = hn::Add(v[p], operand[p]);
    } else {
#pragma GCC unroll 16
      for (int p = 0; p < kCount; ++p) v[p] = hn::Mul(v[p], operand[p]);
    }
  }
  if (out.half) round_to_half<kCount>(v);
  float* to = out.rows[row] + block * out.block_stride + static_cast<std::ptrdiff_t>(x) * kLanes;
  if (plain) {
#pragma GCC unroll 16
    for (int p = 0; p < kCount; ++p) hn::StoreU(v[p], d, to + p * kLanes);
  } else {
#pragma GCC unroll 16
    for (int p = 0; p < kCount; ++p) {
      if (p < count) hn::StoreU(v[p], d, to + static_cast<std::ptrdiff_t>(p) * column_stride * kLanes);
    }
  }
}

// Zero columns before and after one block of one row.
HWY_INLINE void clear_left(const Destination& out, int row, int block) {
  float* base = out.rows[row] + block * out.block_stride;
  std::memset(base - static_cast<std::ptrdiff_t>(out.left) * kLanes, 0, sizeof(float) * kLanes * out.left);
}
HWY_INLINE void clear_right(const Destination& out, int row, int block) {
  float* base = out.rows[row] + block * out.block_stride;
  std::memset(base + static_cast<std::ptrdiff_t>(out.width) * kLanes, 0, sizeof(float) * kLanes * out.right);
}

}  // namespace HWY_NAMESPACE
}  // namespace mimo_rt::cpu
HWY_AFTER_NAMESPACE();
#endif
