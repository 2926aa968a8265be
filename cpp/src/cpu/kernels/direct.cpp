// Direct convolution of any kernel, stride and phase as a sum over taps: the reference for the faster kernels
// and the fallback for what they do not take (1x1, strided, transposed, few channels). Each output is one FMA
// chain over taps and channels in the order of the packed weights.
#include "cpu/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/direct.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/kernels/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mimo_rt::cpu {
namespace HWY_NAMESPACE {
namespace direct {

// Weights of so many floats of depth stay in the first-level cache while a stripe of pixels passes by.
constexpr int kDepth = 128;
constexpr int kStripe = 8 * kMicroRows;

using Sums = V[2][kMicroRows];

// Goes on with the sums of kMicroRows pixels from column j on by one tap, whose weights `w` points at and
// passes. kStep: the tap's column step, 0 where it is not known beforehand.
template <int kStep>
HWY_INLINE void add_tap(const Tap& tap, int row, int j, const float*& w, Sums& acc) {
  const D d;
  const std::ptrdiff_t step = static_cast<std::ptrdiff_t>(kStep > 0 ? kStep : tap.column_step) * kLanes;
  const float* base = tap.rows[row] + j * step + static_cast<std::ptrdiff_t>(tap.dx) * kLanes;
  const auto add = [&](int lane) HWY_ATTR {
    const V w0 = hn::LoadU(d, w), w1 = hn::LoadU(d, w + kLanes);
    w += kPanel;
#pragma GCC unroll 16
    for (int r = 0; r < kMicroRows; ++r) {
      const V x = hn::Set(d, base[r * step + lane]);
      acc[0][r] = hn::MulAdd(x, w0, acc[0][r]);
      acc[1][r] = hn::MulAdd(x, w1, acc[1][r]);
    }
  };
  int left = tap.channels;
  for (; left >= kLanes; left -= kLanes, base += tap.block_stride) {
#pragma GCC unroll 4
    for (int lane = 0; lane < kLanes; ++lane) add(lane);
  }
  for (int lane = 0; lane < left; ++lane) add(lane);
}

HWY_INLINE void add_taps(const DirectJob& job, int row, int j, int first, int last, const float* w,
                         Sums& acc) {
  for (int t = first; t < last; ++t) {
    const Tap& tap = job.taps[t];
    if (tap.column_step == 1) {
      add_tap<1>(tap, row, j, w, acc);
    } else if (tap.column_step == 2) {
      add_tap<2>(tap, row, j, w, acc);
    } else {
      add_tap<0>(tap, row, j, w, acc);
    }
  }
}

HWY_INLINE void prefetch(const float* from, std::ptrdiff_t floats) {
  for (std::ptrdiff_t at = 0; at < floats; at += kLine) hwy::Prefetch(from + at);
}

// Asks for all that the columns [first, last) read and write. They come in more and shorter streams than a
// processor foresees.
void prefetch_stripe(const DirectJob& job, int row, int first, int last) {
  for (int t = 0; t < job.tap_count; ++t) {
    const Tap& tap = job.taps[t];
    const float* from =
        tap.rows[row] + (static_cast<std::ptrdiff_t>(first) * tap.column_step + tap.dx) * kLanes;
    for (int c = 0; c < tap.channels; c += kLanes, from += tap.block_stride) {
      prefetch(from, static_cast<std::ptrdiff_t>(last - first) * tap.column_step * kLanes);
    }
  }
  const int x = job.phase + first * job.column_stride, end = job.phase + last * job.column_stride;
  for (int block = 0; block < job.out.blocks; ++block) {
    prefetch(job.out.rows[row] + block * job.out.block_stride + static_cast<std::ptrdiff_t>(x) * kLanes,
             static_cast<std::ptrdiff_t>(end - x) * kLanes);
    for (int s = 0; s < job.out.step_count; ++s) {
      const EpilogueStep& step = job.out.steps[s];
      if (!has_operand(step.kind)) continue;
      const std::ptrdiff_t at =
          block * step.block_stride + static_cast<std::ptrdiff_t>(x >> step.up) * kLanes;
      const std::ptrdiff_t floats = static_cast<std::ptrdiff_t>((end - x) >> step.up) * kLanes;
      prefetch(step.rows[row] + at, floats);
      if (step.linear.below != nullptr && step.linear.below[row] != step.rows[row]) {
        prefetch(step.linear.below[row] + at, floats);
      }
    }
  }
}

// Columns [first, last), at most a stripe of them, of two channel blocks. Where the weights of all taps are
// more than the cache holds, sums wait in memory while one part of the taps after the other passes over the
// whole stripe.
template <bool kLinear>
void run_stripe(const DirectJob& job, int row, int first, int last, int panel) {
  const D d;
  HWY_ALIGN float waiting[kStripe * kPanel];
  const float* w = job.weights + panel * job.depth * kPanel;
  for (int tap = 0; tap < job.tap_count;) {
    int end = tap, depth = 0;
    while (end < job.tap_count && (end == tap || depth + job.taps[end].channels <= kDepth)) {
      depth += job.taps[end++].channels;
    }
    for (int j = first; j < last; j += kMicroRows) {
      const int count = std::min(kMicroRows, last - j);
      float* sums = waiting + static_cast<std::ptrdiff_t>(j - first) * kPanel;
      Sums acc;
#pragma GCC unroll 16
      for (int r = 0; r < kMicroRows; ++r) {
        acc[0][r] = tap == 0 ? hn::Zero(d) : hn::Load(d, sums + r * kPanel);
        acc[1][r] = tap == 0 ? hn::Zero(d) : hn::Load(d, sums + r * kPanel + kLanes);
      }
      add_taps(job, row, j, tap, end, w, acc);
      if (end < job.tap_count) {
#pragma GCC unroll 16
        for (int r = 0; r < kMicroRows; ++r) {
          hn::Store(acc[0][r], d, sums + r * kPanel);
          hn::Store(acc[1][r], d, sums + r * kPanel + kLanes);
        }
        continue;
      }
      const int x = job.phase + j * job.column_stride;
      for (int half = 0; half < 2; ++half) {
        const int block = 2 * panel + half;
        if (block >= job.out.blocks) break;
        finish<kMicroRows, kLinear>(job.out, row, block, x, job.column_stride, count, acc[half]);
        if (x == 0) clear_left(job.out, row, block);
        // The last column of the row belongs to exactly one item.
        if (x + (count - 1) * job.column_stride == job.out.width - 1) clear_right(job.out, row, block);
      }
    }
    w += static_cast<std::ptrdiff_t>(depth) * kPanel;
    tap = end;
  }
}

void run(const DirectJob& job, int row, int first, int last) {
  const int panels = (job.out.blocks + 1) / 2;
  for (int j = first; j < last; j += kStripe) {
    const int end = std::min(j + kStripe, last);
    if (j == first) prefetch_stripe(job, row, j, end);
    if (end < last) prefetch_stripe(job, row, end, std::min(end + kStripe, last));
    for (int panel = 0; panel < panels; ++panel) {
      (job.out.linear ? run_stripe<true> : run_stripe<false>)(job, row, j, end, panel);
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
