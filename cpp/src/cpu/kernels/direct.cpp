// Direct convolution of any kernel, stride and phase as a sum over taps: the reference for the faster kernels
// and the fallback for what they do not take (1x1, strided, transposed, few channels). Each output is one FMA
// chain over taps and channels in the order of the packed weights.
#include "cpu/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/direct.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/kernels/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mimo_rt::cpu {
namespace HWY_NAMESPACE {
namespace direct {

void run(const DirectJob& job, int row, int first, int last) {
  const D d;
  const int panels = (job.out.blocks + 1) / 2;
  for (int panel = 0; panel < panels; ++panel) {
    const float* panel_weights = job.weights + panel * job.depth * kPanel;
    for (int j = first; j < last; j += kMicroRows) {
      const int count = std::min(kMicroRows, last - j);
      V acc[2][kMicroRows];
#pragma GCC unroll 16
      for (int r = 0; r < kMicroRows; ++r) acc[0][r] = acc[1][r] = hn::Zero(d);
      const float* w = panel_weights;
      for (int t = 0; t < job.tap_count; ++t) {
        const Tap& tap = job.taps[t];
        const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(tap.column_step) * kLanes;
        const float* base =
            tap.rows[row] + (static_cast<std::ptrdiff_t>(j) * tap.column_step + tap.dx) * kLanes;
        for (int c = 0; c < tap.channels; c += kLanes, base += tap.block_stride) {
          const int lanes = std::min(kLanes, tap.channels - c);
          for (int lane = 0; lane < lanes; ++lane, w += kPanel) {
            const V w0 = hn::LoadU(d, w), w1 = hn::LoadU(d, w + kLanes);
#pragma GCC unroll 16
            for (int r = 0; r < kMicroRows; ++r) {
              const V x = hn::Set(d, base[r * step + lane]);
              acc[0][r] = hn::MulAdd(x, w0, acc[0][r]);
              acc[1][r] = hn::MulAdd(x, w1, acc[1][r]);
            }
          }
        }
      }
      const int x = job.phase + j * job.column_stride;
      for (int half = 0; half < 2; ++half) {
        const int block = 2 * panel + half;
        if (block >= job.out.blocks) break;
        finish<kMicroRows>(job.out, row, block, x, job.column_stride, count, acc[half]);
        if (x == 0) clear_left(job.out, row, block);
        // The last column of the row belongs to exactly one item.
        if (x + (count - 1) * job.column_stride == job.out.width - 1) clear_right(job.out, row, block);
      }
    }
  }
}

}  // namespace direct

void fill_direct(KernelTable& table) {
  table.lanes = kLanes;
  table.panel = kPanel;
  table.micro_rows = kMicroRows;
  table.direct = direct::run;
}

}  // namespace HWY_NAMESPACE
}  // namespace mimo_rt::cpu
HWY_AFTER_NAMESPACE();
