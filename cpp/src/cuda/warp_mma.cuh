// A warp's matrix products on tensor cores, from compute capability 8.0 on: the `Warp` of resblock.hpp. Each
// lane holds its part of a matrix; which, is PTX's layout of mma.m16n8k16 for half precision.
#pragma once

#include <cuda_runtime.h>

#include "core/half.hpp"
#include "cuda/resblock.hpp"

namespace mimo_rt::cuda {

struct WarpMma {
  struct Pixels {
    unsigned r[4];
  };
  struct Weights {
    uint4 r[2];  // 16 output channels each
  };
  struct Sums {
    float r[4][4];  // 8 output channels each
  };

  static __device__ int lane() { return static_cast<int>(threadIdx.x % 32); }

  template <typename At>
  static __device__ void load(Pixels& a, const Half* shared, At at) {
    const Half* row = shared + at(lane() % 16, lane() / 16);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a.r[0]), "=r"(a.r[1]), "=r"(a.r[2]), "=r"(a.r[3])
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row))));
  }

  static __device__ void load(Weights& b, const Half* packed) {
    const auto* from = reinterpret_cast<const uint4*>(packed) + lane();
    b.r[0] = __ldg(from);
    b.r[1] = __ldg(from + 32);
  }

  static __device__ void multiply(Sums& sums, const Pixels& a, const Weights& b) {
    product(sums.r[0], a, b.r[0].x, b.r[0].y);
    product(sums.r[1], a, b.r[0].z, b.r[0].w);
    product(sums.r[2], a, b.r[1].x, b.r[1].y);
    product(sums.r[3], a, b.r[1].z, b.r[1].w);
  }

  // visit(pixel, channel, sum of that channel, of the next)
  template <typename Visit>
  static __device__ void each(const Sums& sums, Visit visit) {
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const int channel = n * 8 + lane() % 4 * 2;
      visit(lane() / 4, channel, sums.r[n][0], sums.r[n][1]);
      visit(lane() / 4 + 8, channel, sums.r[n][2], sums.r[n][3]);
    }
  }

  static __device__ void put(Half* at, float a, float b) {
    *reinterpret_cast<__half2*>(at) = __floats2half2_rn(a, b);
  }

 private:
  static __device__ void product(float (&c)[4], const Pixels& a, unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b0), "r"(b1));
  }
};

}  // namespace mimo_rt::cuda
