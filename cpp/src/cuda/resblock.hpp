// A ResBlock of 32 channels in one kernel: 3x3 convolution, ReLU, 3x3 convolution, addition of the input, on
// half precision [height][width][32]. What lies between the convolutions never leaves the chip.
//
// A block of threads makes a tile of 16 x 32 pixels in four phases with a barrier after each:
//   load     the tile and a rim of 2 into shared memory, zeros outside the image
//   first    convolution and ReLU of the tile and a rim of 1; zero again outside the image, since the second
//            convolution pads what the first gave and not what it would have given there
//   second   convolution, bias, input added; over the tile's part of the loaded pixels
//   store    that part to the image
// Load and store are what one thread does. The convolutions are what one warp does, 16 pixels x 32 channels
// at a time, in terms of a `Warp`: on a GPU its tensor cores' (warp_mma.cuh), on the processor plain loops in
// the tests. So the tests run this very indexing, padding and order on the processor.
//
// 83 KiB of shared memory, for every GPU from compute capability 8.0 on. Weights (36 KiB) are read through
// the first cache: each warp reads them once for each convolution of the tile.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/half.hpp"

namespace mimo_rt::cuda::resblock {

inline constexpr int kChannels = 32, kRows = 16, kColumns = 32;
inline constexpr int kWarps = 8, kThreads = 32 * kWarps;
inline constexpr int kLoadedRows = kRows + 4, kLoadedColumns = kColumns + 4;
inline constexpr int kMiddleRows = kRows + 2, kMiddleColumns = kColumns + 2;
inline constexpr int kMiddlePixels = kMiddleRows * kMiddleColumns;
inline constexpr int kLoadedHalves = kLoadedRows * kLoadedColumns * kChannels;
inline constexpr int kMiddleHalves = kMiddlePixels * kChannels;
inline constexpr int kSharedBytes = (kLoadedHalves + kMiddleHalves) * static_cast<int>(sizeof(Half));

// A product step: 16 of the channels of one of the 9 taps.
inline constexpr int kSteps = 2 * 9, kStepHalves = 16 * kChannels;
inline constexpr int kConvolutionHalves = kSteps * kStepHalves;
inline constexpr int kBlockHalves = 2 * kConvolutionHalves;  // weights of a ResBlock
inline constexpr int kBlockBiases = 2 * kChannels;

// Pixels at a time: of 16 in a row where a tile is 32 wide, and of any 16 following pixels in the middle.
inline constexpr int kGroup = 16;
inline constexpr int kFirstGroups = (kMiddlePixels + kGroup * kWarps - 1) / (kGroup * kWarps);  // of a warp
inline constexpr int kSecondGroups = kRows * kColumns / (kGroup * kWarps);
static_assert(kSecondGroups * kGroup * kWarps == kRows * kColumns);

struct Job {
  const Half* input = nullptr;    // [count][height][width][32], 16-byte aligned
  Half* output = nullptr;         // of the same shape, elsewhere
  const Half* weights = nullptr;  // packed by `pack`, both convolutions
  const float* bias = nullptr;    // of the first convolution, then of the second
  std::int64_t height = 0, width = 0;
};

struct Tile {
  std::int64_t image, top, left;
};

// Where a weight lies: channel k of the step's 16, output channel n. As the tensor cores' second operand has
// it in registers: 16 bytes a lane hold what it needs for 16 of the output channels.
MIMO_RT_BOTH constexpr int weight_at(int step, int k, int n) {
  const int part = n / 16, eighth = n % 16 / 8, lane = n % 8 * 4 + k % 8 / 2;
  return (((step * 2 + part) * 32 + lane) * 2 + eighth) * 4 + k / 8 * 2 + k % 2;
}

// A convolution's weights [32][32][3][3] (output, input, row, column), as PyTorch has them, packed.
inline void pack(const Half* weights, Half* packed) {
  for (int n = 0; n < kChannels; ++n) {
    for (int c = 0; c < kChannels; ++c) {
      for (int tap = 0; tap < 9; ++tap) {
        packed[weight_at(tap * 2 + c / 16, c % 16, n)] = weights[(n * kChannels + c) * 9 + tap];
      }
    }
  }
}

// Where 8 channels of a pixel lie in shared memory, in halves. Turned by the pixel's number, so that the same
// channels of 8 following pixels lie in different banks.
MIMO_RT_BOTH constexpr int chunk_at(int pixel, int chunk) {
  return pixel * kChannels + (chunk ^ (pixel / 2 % 4)) * 8;
}

MIMO_RT_BOTH inline bool inside(const Job& job, std::int64_t y, std::int64_t x) {
  return y >= 0 && y < job.height && x >= 0 && x < job.width;
}

MIMO_RT_BOTH inline std::int64_t pixel_of(const Job& job, const Tile& tile, std::int64_t y, std::int64_t x) {
  return ((tile.image * job.height + y) * job.width + x) * kChannels;
}

// copy(to, from, present): 8 halves to shared memory, zeros where they are not present; `from` is sound then
// as well.
template <typename Copy>
MIMO_RT_BOTH void load(const Job& job, const Tile& tile, int thread, Half* loaded, Copy copy) {
  for (int i = thread; i < kLoadedRows * kLoadedColumns * 4; i += kThreads) {
    const int pixel = i / 4, chunk = i % 4;
    const std::int64_t y = tile.top - 2 + pixel / kLoadedColumns, x = tile.left - 2 + pixel % kLoadedColumns;
    const bool present = inside(job, y, x);
    const Half* from = present ? job.input + pixel_of(job, tile, y, x) + chunk * 8 : job.input;
    copy(loaded + chunk_at(pixel, chunk), from, present);
  }
}

// sums[g] of 16 pixels each: the products of a convolution. origin(g, i): the number in `pixels`, of rows of
// `columns`, of the first of the 9 taps of the i-th pixel.
template <typename Warp, int kGroups, typename Origin>
MIMO_RT_BOTH void convolve(const Half* pixels, int columns, const Half* weights, Origin origin,
                           typename Warp::Sums (&sums)[kGroups]) {
  for (int step = 0; step < kSteps; ++step) {
    const int tap = step / 2 / 3 * columns + step / 2 % 3;
    typename Warp::Weights b;
    Warp::load(b, weights + step * kStepHalves);
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
    for (int g = 0; g < kGroups; ++g) {
      typename Warp::Pixels a;
      Warp::load(a, pixels, [&](int i, int half) {  // 8 channels of the i-th pixel
        return chunk_at(origin(g, i) + tap, step % 2 * 2 + half);
      });
      Warp::multiply(sums[g], a, b);
    }
  }
}

// NaN stays, so that it is seen at the end.
MIMO_RT_BOTH inline float relu(float x) { return x <= 0.0F ? 0.0F : x; }

template <typename Warp>
MIMO_RT_BOTH void first(const Job& job, const Tile& tile, int warp, const Half* loaded, Half* middle) {
  typename Warp::Sums sums[kFirstGroups] = {};
  const auto number = [&](int g, int i) { return (warp * kFirstGroups + g) * kGroup + i; };
  convolve<Warp>(
      loaded, kLoadedColumns, job.weights,
      [&](int g, int i) {
        const int pixel = number(g, i) < kMiddlePixels ? number(g, i) : 0;  // beyond: any, and not kept
        return pixel / kMiddleColumns * kLoadedColumns + pixel % kMiddleColumns;
      },
      sums);
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
  for (int g = 0; g < kFirstGroups; ++g) {
    Warp::each(sums[g], [&](int i, int channel, float a, float b) {
      const int pixel = number(g, i);
      if (pixel >= kMiddlePixels) return;
      const bool kept =
          inside(job, tile.top - 1 + pixel / kMiddleColumns, tile.left - 1 + pixel % kMiddleColumns);
      a += job.bias[channel];
      b += job.bias[channel + 1];
      Half* at = middle + chunk_at(pixel, channel / 8) + channel % 8;
      Warp::put(at, kept ? relu(a) : 0.0F, kept ? relu(b) : 0.0F);
    });
  }
}

template <typename Warp>
MIMO_RT_BOTH void second(const Job& job, int warp, const Half* middle, Half* loaded) {
  typename Warp::Sums sums[kSecondGroups] = {};
  const auto row = [&](int g) { return (warp * kSecondGroups + g) * kGroup / kColumns; };
  const auto column = [&](int g, int i) { return (warp * kSecondGroups + g) * kGroup % kColumns + i; };
  convolve<Warp>(
      middle, kMiddleColumns, job.weights + kConvolutionHalves,
      [&](int g, int i) { return row(g) * kMiddleColumns + column(g, i); }, sums);
#if defined(__CUDA_ARCH__)
#pragma unroll
#endif
  for (int g = 0; g < kSecondGroups; ++g) {
    Warp::each(sums[g], [&](int i, int channel, float a, float b) {
      const int pixel = (row(g) + 2) * kLoadedColumns + column(g, i) + 2;
      Half* at = loaded + chunk_at(pixel, channel / 8) + channel % 8;
      const float* bias = job.bias + kChannels + channel;
      Warp::put(at, widen(at[0]) + (a + bias[0]), widen(at[1]) + (b + bias[1]));
    });
  }
}

// copy(to, from): 8 halves to the image.
template <typename Copy>
MIMO_RT_BOTH void store(const Job& job, const Tile& tile, int thread, const Half* loaded, Copy copy) {
  for (int i = thread; i < kRows * kColumns * 4; i += kThreads) {
    const int pixel = i / 4, chunk = i % 4;
    const int row = pixel / kColumns, column = pixel % kColumns;
    if (!inside(job, tile.top + row, tile.left + column)) continue;
    copy(job.output + pixel_of(job, tile, tile.top + row, tile.left + column) + chunk * 8,
         loaded + chunk_at((row + 2) * kLoadedColumns + column + 2, chunk));
  }
}

}  // namespace mimo_rt::cuda::resblock
