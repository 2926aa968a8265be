// float32 to half precision and back, for rows that are carried from step to step in half the memory.
#include "cpu/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/half.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/kernels/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mimo_rt::cpu {
namespace HWY_NAMESPACE {
namespace half {

void narrow(const float* from, std::uint16_t* to, std::ptrdiff_t count) {
  const D d;
  const DHalf h;
  auto* out = reinterpret_cast<hwy::float16_t*>(to);
  for (std::ptrdiff_t i = 0; i < count; i += kLanes) hn::StoreU(to_half(hn::LoadU(d, from + i)), h, out + i);
}

void widen(const std::uint16_t* from, float* to, std::ptrdiff_t count) {
  const D d;
  const DHalf h;
  const auto* in = reinterpret_cast<const hwy::float16_t*>(from);
  for (std::ptrdiff_t i = 0; i < count; i += kLanes)
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(h, in + i)), d, to + i);
}

}  // namespace half

void fill_half(KernelTable& table) {
  table.narrow = half::narrow;
  table.widen = half::widen;
}

}  // namespace HWY_NAMESPACE
}  // namespace mimo_rt::cpu
HWY_AFTER_NAMESPACE();
