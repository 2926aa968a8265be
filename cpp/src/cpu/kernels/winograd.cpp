// 3x3 stride-1 convolution by Winograd's minimal filtering, with bias, ReLU, residual adds and the rest of
// the epilogue fused into the output transform: F(6x6, 3x3) with points 0, ±1, ±2, ±1/2 (1.8 multiplications
// an output instead of 9) and F(4x4, 3x3) with points 0, ±1, ±2 (2.25, and a third of the rounding error).
//
// A work item is a run of tiles: input transform of all its tiles, then panel by panel of output channels one
// small matrix product for each point of the transformed tile, then the output transform. Every product is
// one FMA chain over input channels in ascending order, so neither the run's length nor the thread changes a
// bit.
#include "cpu/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/winograd.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/kernels/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mimo_rt::cpu {
namespace HWY_NAMESPACE {
namespace winograd {

struct F4 {
  static constexpr int kOut = 4, kIn = 6;

  // One dimension of the input transform, B^T d.
  static HWY_INLINE void input(const V (&x)[kIn], V (&out)[kIn]) {
    const D d;
    const V four = hn::Set(d, 4.0F), five = hn::Set(d, 5.0F), two = hn::Set(d, 2.0F);
    const V a = hn::NegMulAdd(four, x[2], x[4]);
    const V b = hn::NegMulAdd(four, x[1], x[3]);
    const V c = hn::Sub(x[4], x[2]);
    const V e = hn::Mul(two, hn::Sub(x[3], x[1]));
    out[0] = hn::NegMulAdd(five, x[2], hn::MulAdd(four, x[0], x[4]));
    out[1] = hn::Add(a, b);
    out[2] = hn::Sub(a, b);
    out[3] = hn::Add(c, e);
    out[4] = hn::Sub(c, e);
    out[5] = hn::NegMulAdd(five, x[3], hn::MulAdd(four, x[1], x[5]));
  }

  // One dimension of the output transform, A^T m.
  static HWY_INLINE void output(const V (&m)[kIn], V (&out)[kOut]) {
    const D d;
    const V s = hn::Add(m[1], m[2]), t = hn::Sub(m[1], m[2]), u = hn::Add(m[3], m[4]),
            w = hn::Sub(m[3], m[4]);
    out[0] = hn::Add(hn::Add(m[0], s), u);
    out[1] = hn::MulAdd(hn::Set(d, 2.0F), w, t);
    out[2] = hn::MulAdd(hn::Set(d, 4.0F), u, s);
    out[3] = hn::Add(hn::MulAdd(hn::Set(d, 8.0F), w, t), m[5]);
  }
};

struct F6 {
  static constexpr int kOut = 6, kIn = 8;

  static HWY_INLINE void input(const V (&x)[kIn], V (&out)[kIn]) {
    const D d;
    const V c21_4 = hn::Set(d, 5.25F), c17_4 = hn::Set(d, 4.25F), c5_2 = hn::Set(d, 2.5F);
    const V c5_4 = hn::Set(d, 1.25F), c5 = hn::Set(d, 5.0F), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V quarter = hn::Set(d, 0.25F), four = hn::Set(d, 4.0F);
    out[0] = hn::MulAdd(c21_4, hn::Sub(x[4], x[2]), hn::Sub(x[0], x[6]));
    out[7] = hn::MulAdd(c21_4, hn::Sub(x[3], x[5]), hn::Sub(x[7], x[1]));
    const V a = hn::NegMulAdd(c17_4, x[4], hn::Add(x[2], x[6]));
    const V b = hn::NegMulAdd(c17_4, x[3], hn::Add(x[1], x[5]));
    out[1] = hn::Add(a, b);
    out[2] = hn::Sub(a, b);
    const V e = hn::NegMulAdd(c5_4, x[4], hn::MulAdd(quarter, x[2], x[6]));
    const V f = hn::MulAdd(two, x[5], hn::NegMulAdd(c5_2, x[3], hn::Mul(half, x[1])));
    out[3] = hn::Add(e, f);
    out[4] = hn::Sub(e, f);
    const V g = hn::NegMulAdd(c5, x[4], hn::MulAdd(four, x[2], x[6]));
    const V h = hn::MulAdd(half, x[5], hn::NegMulAdd(c5_2, x[3], hn::Mul(two, x[1])));
    out[5] = hn::Add(g, h);
    out[6] = hn::Sub(g, h);
  }

  static HWY_INLINE void output(const V (&m)[kIn], V (&out)[kOut]) {
    const D d;
    const V s1 = hn::Add(m[1], m[2]), t1 = hn::Sub(m[1], m[2]);
    const V s2 = hn::Add(m[3], m[4]), t2 = hn::Sub(m[3], m[4]);
    const V s3 = hn::Add(m[5], m[6]), t3 = hn::Sub(m[5], m[6]);
    out[0] = hn::Add(hn::Add(m[0], s1), hn::Add(s2, s3));
    out[1] = hn::MulAdd(hn::Set(d, 0.5F), t3, hn::MulAdd(hn::Set(d, 2.0F), t2, t1));
    out[2] = hn::MulAdd(hn::Set(d, 0.25F), s3, hn::MulAdd(hn::Set(d, 4.0F), s2, s1));
    out[3] = hn::MulAdd(hn::Set(d, 0.125F), t3, hn::MulAdd(hn::Set(d, 8.0F), t2, t1));
    out[4] = hn::MulAdd(hn::Set(d, 0.0625F), s3, hn::MulAdd(hn::Set(d, 16.0F), s2, s1));
    out[5] = hn::Add(hn::MulAdd(hn::Set(d, 0.03125F), t3, hn::MulAdd(hn::Set(d, 32.0F), t2, t1)), m[7]);
  }
};

// out[r][0..1] = sum over k of a[r][k] * w[k][0..1], for kMicroRows rows and two vectors of output channels.
HWY_INLINE void product(const float* HWY_RESTRICT a, std::ptrdiff_t a_stride, const float* HWY_RESTRICT w,
                        int depth, float* HWY_RESTRICT out, std::ptrdiff_t out_stride) {
  const D d;
  V acc[kMicroRows][2];
#pragma GCC unroll 16
  for (int r = 0; r < kMicroRows; ++r) acc[r][0] = acc[r][1] = hn::Zero(d);
  for (int k = 0; k < depth; ++k) {
    const V w0 = hn::LoadU(d, w), w1 = hn::LoadU(d, w + kLanes);
    w += kPanel;
#pragma GCC unroll 16
    for (int r = 0; r < kMicroRows; ++r) {
      const V x = hn::Set(d, a[r * a_stride + k]);
      acc[r][0] = hn::MulAdd(x, w0, acc[r][0]);
      acc[r][1] = hn::MulAdd(x, w1, acc[r][1]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kMicroRows; ++r) {
    hn::StoreU(acc[r][0], d, out + r * out_stride);
    hn::StoreU(acc[r][1], d, out + r * out_stride + kLanes);
  }
}

// The rows that a tile reads and writes lie far apart, in too many streams for the processor to foresee, and
// short of arithmetic the transforms would wait for every one of them. So each tile asks for what the tile
// `kAhead` columns of tiles later will touch. Prefetching past the end of a row is harmless.
constexpr int kAhead = 2;

template <int kPixels>
HWY_INLINE void prefetch_pixels(const float* from) {
  constexpr int kLine = 16;  // floats
#pragma GCC unroll 8
  for (int at = 0; at < kPixels * kLanes; at += kLine) hwy::Prefetch(from + at);
}

// What `finish` will touch for `kPixels` pixels from column x on of one row and block.
template <int kPixels>
HWY_INLINE void prefetch_destination(const Destination& out, int row, int block, int x) {
  if (out.rows[row] == nullptr) return;
  prefetch_pixels<kPixels>(out.rows[row] + block * out.block_stride +
                           static_cast<std::ptrdiff_t>(x) * kLanes);
  for (int s = 0; s < out.step_count; ++s) {
    const EpilogueStep& step = out.steps[s];
    if (step.kind == EpilogueKind::relu) continue;
    prefetch_pixels<kPixels>(step.rows[row] + block * step.block_stride +
                             static_cast<std::ptrdiff_t>(x >> step.up) * kLanes);
  }
}

// Transforms tiles [first, last) into u[point][row][stride].
template <typename F>
HWY_INLINE void transform_input(const WinogradJob& job, int first, int last, float* u, std::ptrdiff_t stride,
                                std::ptrdiff_t plane) {
  const D d;
  for (int tile = first; tile < last; ++tile) {
    const int ty = tile / job.tiles_x, tx = tile % job.tiles_x;
    float* to = u + (tile - first) * stride;
    for (int p = 0; p < job.part_count; ++p) {
      const SourcePart& part = job.parts[p];
      const int blocks = (part.channels + kLanes - 1) / kLanes;
      const float* from[F::kIn];
      for (int i = 0; i < F::kIn; ++i) {
        from[i] = part.rows[F::kOut * ty + i] + (static_cast<std::ptrdiff_t>(F::kOut) * tx - 1) * kLanes;
      }
      for (int block = 0; block < blocks; ++block) {
        const std::ptrdiff_t ahead = block * part.block_stride + (kAhead * F::kOut + 2) * kLanes;
#pragma GCC unroll 8
        for (int i = 0; i < F::kIn; ++i) prefetch_pixels<F::kOut>(from[i] + ahead);
        V half[F::kIn][F::kIn];
#pragma GCC unroll 8
        for (int i = 0; i < F::kIn; ++i) {
          V x[F::kIn];
          const float* row = from[i] + block * part.block_stride;
#pragma GCC unroll 8
          for (int j = 0; j < F::kIn; ++j) x[j] = hn::LoadU(d, row + j * kLanes);
          F::input(x, half[i]);
        }
#pragma GCC unroll 8
        for (int j = 0; j < F::kIn; ++j) {
          V x[F::kIn], column[F::kIn];
#pragma GCC unroll 8
          for (int i = 0; i < F::kIn; ++i) x[i] = half[i][j];
          F::input(x, column);
#pragma GCC unroll 8
          for (int i = 0; i < F::kIn; ++i) hn::StoreU(column[i], d, to + (i * F::kIn + j) * plane);
        }
        to += kLanes;
      }
    }
  }
}

// Turns m[point][row][stride] into destination pixels for tiles [first, last).
template <typename F>
HWY_INLINE void transform_output(const WinogradJob& job, int first, int last, const float* m,
                                 std::ptrdiff_t stride, std::ptrdiff_t plane) {
  const D d;
  const int last_column = job.tiles_x - 1;
  for (int tile = first; tile < last; ++tile) {
    const int ty = tile / job.tiles_x, tx = tile % job.tiles_x;
    const int count = std::min(F::kOut, job.out.width - F::kOut * tx);
    for (int block = 0; block < job.out.blocks; ++block) {
      const float* from = m + (tile - first) * stride + block * kLanes;
      for (int i = 0; i < F::kOut; ++i)
        prefetch_destination<F::kOut>(job.out, F::kOut * ty + i, block, F::kOut * (tx + kAhead));
      if (block * kLanes % 16 == 0) {  // a new cache line
#pragma GCC unroll 64
        for (int point = 0; point < F::kIn * F::kIn; ++point) hwy::Prefetch(from + point * plane + stride);
      }
      V half[F::kIn][F::kOut];
#pragma GCC unroll 8
      for (int j = 0; j < F::kIn; ++j) {
        V x[F::kIn];
#pragma GCC unroll 8
        for (int i = 0; i < F::kIn; ++i) x[i] = hn::LoadU(d, from + (i * F::kIn + j) * plane);
        F::output(x, half[j]);
      }
      for (int i = 0; i < F::kOut; ++i) {
        const int row = F::kOut * ty + i;
        if (job.out.rows[row] == nullptr) continue;
        V x[F::kIn], pixels[F::kOut];
#pragma GCC unroll 8
        for (int j = 0; j < F::kIn; ++j) x[j] = half[j][i];
        F::output(x, pixels);
        finish<F::kOut>(job.out, row, block, F::kOut * tx, 1, count, pixels);
        if (tx == 0) clear_left(job.out, row, block);
        if (tx == last_column) clear_right(job.out, row, block);
      }
    }
  }
}

// Replaces one point's [row][stride] transformed inputs by the products with its weights,
// [panel][depth][panel width]. The inputs are copied aside first, so that one buffer serves both transforms:
// what the products write is still in the first-level cache, and twice as many tiles fit into the second.
HWY_INLINE void multiply_point(float* HWY_RESTRICT point, std::ptrdiff_t stride, int rows, int depth,
                               const float* HWY_RESTRICT weights, int panels, float* HWY_RESTRICT aside) {
  const D d;
  const std::ptrdiff_t aside_stride = winograd_stride(depth);
  const int padded = (depth + kLanes - 1) / kLanes * kLanes;
  for (int r = 0; r < rows; ++r) {
    for (int k = 0; k < padded; k += kLanes) {
      hn::StoreU(hn::LoadU(d, point + r * stride + k), d, aside + r * aside_stride + k);
    }
  }
  for (int panel = 0; panel < panels; ++panel) {
    for (int r = 0; r < rows; r += kMicroRows) {
      product(aside + r * aside_stride, aside_stride, weights, depth, point + r * stride + panel * kPanel,
              stride);
    }
    weights += static_cast<std::ptrdiff_t>(depth) * kPanel;
  }
}

template <typename F>
void run(const WinogradJob& job, int first, int last) {
  constexpr int kPoints = F::kIn * F::kIn;
  const int rows = (last - first + kMicroRows - 1) / kMicroRows * kMicroRows;
  const int panels = (job.out.blocks + 1) / 2;
  const std::ptrdiff_t stride = std::max(winograd_stride(job.depth), winograd_stride(panels * kPanel));
  const std::ptrdiff_t plane = rows * stride,
                       weights = static_cast<std::ptrdiff_t>(panels) * job.depth * kPanel;
  float* tiles = job.scratch;
  float* aside = tiles + kPoints * plane;
  transform_input<F>(job, first, last, tiles, stride, plane);
  for (int point = 0; point < kPoints; ++point) {
    multiply_point(tiles + point * plane, stride, rows, job.depth, job.weights + point * weights, panels,
                   aside);
  }
  transform_output<F>(job, first, last, tiles, stride, plane);
}

}  // namespace winograd

void fill_winograd(KernelTable& table) {
  table.winograd[0] = {winograd::F4::kOut, winograd::run<winograd::F4>};
  table.winograd[1] = {winograd::F6::kOut, winograd::run<winograd::F6>};
}

}  // namespace HWY_NAMESPACE
}  // namespace mimo_rt::cpu
HWY_AFTER_NAMESPACE();
