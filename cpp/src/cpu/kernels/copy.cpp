// Copies rows, resampled along columns, and runs the epilogue: resampling that nothing could take, and
// elementwise steps that no convolution precedes.
#include "cpu/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/copy.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/kernels/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mimo_rt::cpu {
namespace HWY_NAMESPACE {
namespace copy {

void run_linear(const CopyJob& job, int row) {
  for (int block = 0; block < job.out.blocks; ++block) {
    for (int x = 0; x < job.out.width; x += kMicroRows) {
      const int count = std::min(kMicroRows, job.out.width - x);
      V v[kMicroRows];
      interpolate<kMicroRows>(job.part.rows, job.linear, block * job.part.block_stride, -job.shift,
                              job.out.width, row, x, 1, count, v);
      finish<kMicroRows, true>(job.out, row, block, x, 1, count, v);
    }
    clear_left(job.out, row, block);
    clear_right(job.out, row, block);
  }
}

template <bool kLinear>
void run_nearest(const CopyJob& job, int row) {
  const D d;
  for (int block = 0; block < job.out.blocks; ++block) {
    const float* from = job.part.rows[row] + block * job.part.block_stride;
    for (int x = 0; x < job.out.width; ++x) {
      const std::ptrdiff_t column =
          job.shift >= 0 ? static_cast<std::ptrdiff_t>(x) << job.shift : x >> -job.shift;
      V v = hn::LoadU(d, from + column * kLanes);
      finish<1, kLinear>(job.out, row, block, x, 1, 1, &v);
    }
    clear_left(job.out, row, block);
    clear_right(job.out, row, block);
  }
}

void run(const CopyJob& job, int row) {
  if (job.linear.below != nullptr) return run_linear(job, row);
  if (job.out.linear) return run_nearest<true>(job, row);
  run_nearest<false>(job, row);
}

}  // namespace copy

void fill_copy(KernelTable& table) { table.copy = copy::run; }

}  // namespace HWY_NAMESPACE
}  // namespace mimo_rt::cpu
HWY_AFTER_NAMESPACE();
