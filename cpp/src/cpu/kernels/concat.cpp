// Lays the channels of several values one after another: for the rare consumer that is not a convolution
// (those read their parts where they lie).
#include "cpu/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/concat.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/kernels/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mimo_rt::cpu {
namespace HWY_NAMESPACE {
namespace concat {

void run(const ConcatJob& job, int row) {
  const D d;
  for (int x = 0; x < job.out.width; ++x) {
    int part = 0, channel = 0;
    for (int block = 0; block < job.out.blocks; ++block) {
      float lanes[kLanes] = {};
      for (int lane = 0; lane < kLanes && part < job.part_count; ++lane) {
        const SourcePart& from = job.parts[part];
        lanes[lane] = from.rows[row][channel / kLanes * from.block_stride +
                                     static_cast<std::ptrdiff_t>(x) * kLanes + channel % kLanes];
        if (++channel == from.channels) {
          channel = 0;
          ++part;
        }
      }
      V v = hn::LoadU(d, lanes);
      finish<1, false>(job.out, row, block, x, 1, 1, &v);
    }
  }
  for (int block = 0; block < job.out.blocks; ++block) {
    clear_left(job.out, row, block);
    clear_right(job.out, row, block);
  }
}

}  // namespace concat

void fill_concat(KernelTable& table) { table.concat = concat::run; }

}  // namespace HWY_NAMESPACE
}  // namespace mimo_rt::cpu
HWY_AFTER_NAMESPACE();
