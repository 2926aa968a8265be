// The matrix products of a warp in plain loops: the `Warp` of cuda/resblock.hpp on the processor, where one
// object holds a whole matrix. And the kernel's grid, run tile by tile and phase by phase.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "cuda/resblock.hpp"

namespace mimo_rt::cuda::resblock {

struct WarpLoops {
  struct Pixels {
    float at[16][16];  // pixel, channel
  };
  struct Weights {
    float at[16][kChannels];
  };
  struct Sums {
    float at[16][kChannels];
  };

  template <typename At>
  static void load(Pixels& a, const Half* shared, At at) {
    for (int i = 0; i < 16; ++i) {
      for (int k = 0; k < 16; ++k) a.at[i][k] = widen(shared[at(i, k / 8) + k % 8]);
    }
  }
  static void load(Weights& b, const Half* packed) {
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < kChannels; ++n) b.at[k][n] = widen(packed[weight_at(0, k, n)]);
    }
  }
  static void multiply(Sums& sums, const Pixels& a, const Weights& b) {
    for (int i = 0; i < 16; ++i) {
      for (int k = 0; k < 16; ++k) {
        for (int n = 0; n < kChannels; ++n) sums.at[i][n] += a.at[i][k] * b.at[k][n];
      }
    }
  }
  template <typename Visit>
  static void each(const Sums& sums, Visit visit) {
    for (int i = 0; i < 16; ++i) {
      for (int n = 0; n < kChannels; n += 2) visit(i, n, sums.at[i][n], sums.at[i][n + 1]);
    }
  }
  static void put(Half* at, float a, float b) {
    at[0] = narrow(a);
    at[1] = narrow(b);
  }
};

// backwards: threads and warps from the last to the first, which must make no difference between barriers.
inline void run(const Job& job, std::int64_t count, bool backwards = false) {
  constexpr Half kNaN = 0x7e00;
  const auto each_of = [&](int n, auto work) {
    for (int i = 0; i < n; ++i) work(backwards ? n - 1 - i : i);
  };
  const auto copy = [](Half* to, const Half* from) { std::copy_n(from, 8, to); };
  for (std::int64_t image = 0; image < count; ++image) {
    for (std::int64_t top = 0; top < job.height; top += kRows) {
      for (std::int64_t left = 0; left < job.width; left += kColumns) {
        const Tile tile{image, top, left};
        std::vector<Half> loaded(kLoadedHalves, kNaN), middle(kMiddleHalves, kNaN);
        each_of(kThreads, [&](int thread) {
          load(job, tile, thread, loaded.data(), [&](Half* to, const Half* from, bool present) {
            if (present) {
              copy(to, from);
            } else {
              std::fill_n(to, 8, Half{0});
            }
          });
        });
        each_of(kWarps, [&](int warp) { first<WarpLoops>(job, tile, warp, loaded.data(), middle.data()); });
        each_of(kWarps, [&](int warp) { second<WarpLoops>(job, warp, middle.data(), loaded.data()); });
        each_of(kThreads, [&](int thread) { store(job, tile, thread, loaded.data(), copy); });
      }
    }
  }
}

}  // namespace mimo_rt::cuda::resblock
