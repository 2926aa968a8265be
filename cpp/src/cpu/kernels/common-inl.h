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

// To half precision, rounded to nearest even as core/half.hpp does it. Where the instruction set has no
// conversion Highway cuts off.
HWY_INLINE hn::Vec<DHalf> to_half(V v) {
#if HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_WASM || HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
  const D d;
  const hn::RebindToUnsigned<D> u;
  const auto bits = hn::BitCast(u, v);
  const auto odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(u, 1));
  const V rounded = hn::BitCast(d, hn::Add(bits, hn::Add(hn::Set(u, 0xfff), odd)));
  // Below the smallest normal half: a multiple of 2^-24, which is what the last bit of such a sum stands for.
  const V size = hn::Abs(v), half = hn::Set(d, 0.5F);
  const V small = hn::CopySign(hn::Sub(hn::Add(size, half), half), v);
  v = hn::IfThenElse(hn::Lt(size, hn::Set(d, 0x1p-14F)), small, rounded);
#endif
  return hn::DemoteTo(DHalf(), v);
}

// To half precision and back; the largest values are clamped to what it holds.
template <int kCount>
HWY_INLINE void round_to_half(V* v) {
  const D d;
  const V most = hn::Set(d, 65504.0F), least = hn::Set(d, -65504.0F);
#pragma GCC unroll 16
  for (int p = 0; p < kCount; ++p) {
    v[p] = hn::PromoteTo(d, to_half(hn::Min(hn::Max(v[p], least), most)));
  }
}

// A fraction f of the way from a to b, and exactly a at f = 0 or where both are equal.
HWY_INLINE V between(V a, V b, V f) { return hn::MulAdd(f, hn::Sub(b, a), a); }

// `count` pixels of one channel block in destination row `row`, interpolated between rows that `rows` and
// `linear` give; column of pixel p is x + p * column_stride, and `width` the destination's. Every pixel takes
// the same steps, alone or among others: first down the columns, then along the row.
template <int kCount>
HWY_INLINE void interpolate(const float* const* rows, const Interpolation& linear,
                            std::ptrdiff_t block_offset, int up, int width, int row, int x, int column_stride,
                            int count, V* v) {
  const D d;
  const float* upper = rows[row] + block_offset;
  const float* lower = linear.below[row] + block_offset;
  const int mask = (1 << up) - 1, last = (width >> up) - 1;
  const float part = 1.0F / static_cast<float>(mask + 1);
  const V down = hn::Set(d, static_cast<float>((linear.phase + row) & mask) * part);
  const bool on_row = upper == lower;
  const auto column = [&](int at) HWY_ATTR {
    const std::ptrdiff_t offset = static_cast<std::ptrdiff_t>(at) * kLanes;
    const V above = hn::LoadU(d, upper + offset);
    return on_row ? above : between(above, hn::LoadU(d, lower + offset), down);
  };
  if constexpr (kCount % 2 == 0) {
    // The common case reads every column once.
    if (up == 1 && count == kCount && column_stride == 1 && x % 2 == 0) {
      const V half = hn::Set(d, 0.5F);
      const int first = x / 2;
      V left = column(first);
#pragma GCC unroll 16
      for (int p = 0; p < kCount; p += 2) {
        const V right = column(std::min(first + p / 2 + 1, last));
        v[p] = left;
        v[p + 1] = between(left, right, half);
        left = right;
      }
      return;
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < kCount; ++p) {
    // Pixels past the end are never stored; they are the last one so that no address leaves the row.
    const int at = x + std::min(p, count - 1) * column_stride, left = at >> up;
    v[p] = column(left);
    if ((at & mask) == 0) continue;
    const V along = hn::Set(d, static_cast<float>(at & mask) * part);
    v[p] = between(v[p], column(std::min(left + 1, last)), along);
  }
}

// To 8 bits and back, as EpilogueKind::quantise says. The quotient is a true division: a reciprocal would
// round some halves to the other side.
template <int kCount>
HWY_INLINE void quantise(float quantum, V* v) {
  const D d;
  const V scale = hn::Set(d, quantum), most = hn::Set(d, 127.0F), least = hn::Set(d, -128.0F);
#pragma GCC unroll 16
  for (int p = 0; p < kCount; ++p) {
    const V steps = hn::IfThenZeroElse(hn::IsNaN(v[p]), hn::Div(v[p], scale));
    v[p] = hn::Mul(hn::Round(hn::Min(hn::Max(steps, least), most)), scale);
  }
}

// Bias and epilogue for `count` pixels of one channel block in a row; column of pixel p is x + p *
// column_stride. kLinear: out.linear, known beforehand so that nothing else is in the way of pixels staying
// in registers.
template <int kCount, bool kLinear>
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
    if (step.kind == EpilogueKind::quantise) {
      quantise<kCount>(step.quantum, v);
      continue;
    }
    const float* base = step.rows[row] + block * step.block_stride;
    V operand[kCount];
    if (kLinear && step.linear.below != nullptr) {
      interpolate<kCount>(step.rows, step.linear, block * step.block_stride, step.up, out.width, row, x,
                          column_stride, count, operand);
    } else if (plain && step.up == 0) {
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
