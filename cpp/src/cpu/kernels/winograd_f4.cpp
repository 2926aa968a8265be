// 3x3 stride-1 convolution by Winograd's F(4x4, 3x3), points 0, 1, -1, 2, -2: a quarter of the
// multiplications, with bias, ReLU, residual adds and the rest of the epilogue fused into the output
// transform.
//
// A work item is a run of tiles: input transform of all its tiles, then panel by panel of output channels 36
// small matrix products and the output transform. Every product is one FMA chain over input channels in
// ascending order, so neither the run's length nor the thread changes a bit.
#include "cpu/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/winograd_f4.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/kernels/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mimo_rt::cpu {
namespace HWY_NAMESPACE {
namespace winograd {

// One dimension of the input transform, B^T d.
HWY_INLINE void input_1d(V d0, V d1, V d2, V d3, V d4, V d5, V* out) {
  const D d;
  const V four = hn::Set(d, 4.0F), five = hn::Set(d, 5.0F), two = hn::Set(d, 2.0F);
  const V a = hn::NegMulAdd(four, d2, d4);    // d4 - 4 d2
  const V b = hn::NegMulAdd(four, d1, d3);    // d3 - 4 d1
  const V c = hn::Sub(d4, d2);                // d4 - d2
  const V e = hn::Mul(two, hn::Sub(d3, d1));  // 2 d3 - 2 d1
  out[0] = hn::NegMulAdd(five, d2, hn::MulAdd(four, d0, d4));
  out[1] = hn::Add(a, b);
  out[2] = hn::Sub(a, b);
  out[3] = hn::Add(c, e);
  out[4] = hn::Sub(c, e);
  out[5] = hn::NegMulAdd(five, d3, hn::MulAdd(four, d1, d5));
}

// One dimension of the output transform, A^T m.
HWY_INLINE void output_1d(V m0, V m1, V m2, V m3, V m4, V m5, V* out) {
  const D d;
  const V s = hn::Add(m1, m2), t = hn::Sub(m1, m2), u = hn::Add(m3, m4), w = hn::Sub(m3, m4);
  out[0] = hn::Add(hn::Add(m0, s), u);
  out[1] = hn::MulAdd(hn::Set(d, 2.0F), w, t);
  out[2] = hn::MulAdd(hn::Set(d, 4.0F), u, s);
  out[3] = hn::Add(hn::MulAdd(hn::Set(d, 8.0F), w, t), m5);
}

// out[r][0..1] = sum over k of a[r][k] * w[k][0..1], for kMicroRows rows and two vectors of output channels.
HWY_INLINE void product(const float* HWY_RESTRICT a, std::ptrdiff_t a_stride, const float* HWY_RESTRICT w,
                        int depth, float* HWY_RESTRICT out) {
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
    hn::StoreU(acc[r][0], d, out + r * kPanel);
    hn::StoreU(acc[r][1], d, out + r * kPanel + kLanes);
  }
}

// Transforms tiles [first, last) into u[36][rows][stride].
HWY_INLINE void transform_input(const WinogradJob& job, int first, int last, float* u, std::ptrdiff_t stride,
                                std::ptrdiff_t plane) {
  const D d;
  for (int tile = first; tile < last; ++tile) {
    const int ty = tile / job.tiles_x, tx = tile % job.tiles_x;
    float* to = u + (tile - first) * stride;
    for (int p = 0; p < job.part_count; ++p) {
      const SourcePart& part = job.parts[p];
      const int blocks = (part.channels + kLanes - 1) / kLanes;
      const float* from[6];
      for (int i = 0; i < 6; ++i)
        from[i] = part.rows[4 * ty + i] + (static_cast<std::ptrdiff_t>(4) * tx - 1) * kLanes;
      for (int block = 0; block < blocks; ++block) {
        V columns[6][6];
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) {
          const std::ptrdiff_t at = block * part.block_stride + j * kLanes;
          input_1d(hn::LoadU(d, from[0] + at), hn::LoadU(d, from[1] + at), hn::LoadU(d, from[2] + at),
                   hn::LoadU(d, from[3] + at), hn::LoadU(d, from[4] + at), hn::LoadU(d, from[5] + at),
                   columns[j]);
        }
#pragma GCC unroll 6
        for (int i = 0; i < 6; ++i) {
          V row[6];
          input_1d(columns[0][i], columns[1][i], columns[2][i], columns[3][i], columns[4][i], columns[5][i],
                   row);
#pragma GCC unroll 6
          for (int j = 0; j < 6; ++j) hn::StoreU(row[j], d, to + (i * 6 + j) * plane);
        }
        to += kLanes;
      }
    }
  }
}

// Turns m[36][rows][kPanel] into destination pixels of panel `panel`, for tiles [first, last).
HWY_INLINE void transform_output(const WinogradJob& job, int first, int last, int panel, const float* m,
                                 std::ptrdiff_t plane) {
  const D d;
  const int last_column = job.tiles_x - 1;
  for (int half = 0; half < 2; ++half) {
    const int block = 2 * panel + half;
    if (block >= job.out.blocks) break;
    for (int tile = first; tile < last; ++tile) {
      const int ty = tile / job.tiles_x, tx = tile % job.tiles_x;
      const float* from = m + (tile - first) * kPanel + half * kLanes;
      V columns[6][4];
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) {
        output_1d(hn::LoadU(d, from + j * plane), hn::LoadU(d, from + (6 + j) * plane),
                  hn::LoadU(d, from + (12 + j) * plane), hn::LoadU(d, from + (18 + j) * plane),
                  hn::LoadU(d, from + (24 + j) * plane), hn::LoadU(d, from + (30 + j) * plane), columns[j]);
      }
      const int count = std::min(4, job.out.width - 4 * tx);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int row = 4 * ty + i;
        if (job.out.rows[row] == nullptr) continue;
        V pixels[4];
        output_1d(columns[0][i], columns[1][i], columns[2][i], columns[3][i], columns[4][i], columns[5][i],
                  pixels);
        finish<4>(job.out, row, block, 4 * tx, 1, count, pixels);
        if (tx == 0) clear_left(job.out, row, block);
        if (tx == last_column) clear_right(job.out, row, block);
      }
    }
  }
}

void run(const WinogradJob& job, int first, int last) {
  const int rows = (last - first + kMicroRows - 1) / kMicroRows * kMicroRows;
  const std::ptrdiff_t stride = (job.depth + 15) / 16 * 16 + 8;
  float* u = job.scratch;
  float* m = u + 36 * rows * stride;
  transform_input(job, first, last, u, stride, rows * stride);
  const int panels = (job.out.blocks + 1) / 2;
  const float* weights = job.weights;
  for (int panel = 0; panel < panels; ++panel) {
    for (int xi = 0; xi < 36; ++xi) {
      for (int r = 0; r < rows; r += kMicroRows) {
        product(u + (static_cast<std::ptrdiff_t>(xi) * rows + r) * stride, stride, weights, job.depth,
                m + (static_cast<std::ptrdiff_t>(xi) * rows + r) * kPanel);
      }
      weights += static_cast<std::ptrdiff_t>(job.depth) * kPanel;
    }
    transform_output(job, first, last, panel, m, static_cast<std::ptrdiff_t>(rows) * kPanel);
  }
}

}  // namespace winograd

void fill_winograd_f4(KernelTable& table) { table.winograd_f4 = winograd::run; }

}  // namespace HWY_NAMESPACE
}  // namespace mimo_rt::cpu
HWY_AFTER_NAMESPACE();
