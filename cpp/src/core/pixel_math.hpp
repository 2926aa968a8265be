// What a pixel becomes as a network's number, and a number as a pixel; where a padded pixel comes from. One
// rule for every backend: this compiles for the processor and for GPUs.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/both.hpp"
#include "mimo_rt/image.hpp"

namespace mimo_rt {

template <typename T>
MIMO_RT_BOTH constexpr float largest() {
  return std::is_same_v<T, std::uint8_t> ? 255.0F : std::is_same_v<T, std::uint16_t> ? 65535.0F : 1.0F;
}

template <typename T>
MIMO_RT_BOTH float to_unit(T pixel) {
  return static_cast<float>(pixel) / largest<T>();
}

// NaN, which only a broken model can make, becomes 0.
template <typename T>
MIMO_RT_BOTH T from_unit(float y) {
  y = y > 0.0F ? (y < 1.0F ? y : 1.0F) : 0.0F;
  if constexpr (std::is_same_v<T, float>) return y;
  return static_cast<T>(y * largest<T>() + 0.5F);
}

// Rec. 601.
MIMO_RT_BOTH inline float luma(float red, float green, float blue) {
  return 0.299F * red + 0.587F * green + 0.114F * blue;
}

// The pixel that stands at i of an axis padded from size to padded, one rule for the whole axis: reflection
// about the last pixel, which is not repeated; where the image is too small for that, its last pixel over and
// over.
MIMO_RT_BOTH inline std::int64_t source_of(std::int64_t i, std::int64_t size, std::int64_t padded) {
  if (i < size) return i;
  return padded - size <= size - 1 ? 2 * size - 2 - i : size - 1;
}

template <typename View>
MIMO_RT_BOTH auto* pixel_at(const View& view, std::int64_t y, std::int64_t x, std::int64_t c) {
  return view.data + y * view.row_stride + x * view.column_stride + c * view.channel_stride;
}

}  // namespace mimo_rt
