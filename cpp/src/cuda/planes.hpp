// How a tile lies in memory as the network's input or output: float32 or half precision, plane after plane
// or, as tensor cores like it, 8 channels of a pixel side by side, of which a picture has 3.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/half.hpp"

namespace mimo_rt::cuda {

inline constexpr int kQuad = 4;  // neighbouring pixels of a row that one thread makes

enum class PlaneType : std::uint8_t { f32, f16, f16_hwc8 };

struct Planes {
  void* data = nullptr;  // 16-byte aligned
  PlaneType type = PlaneType::f32;
  std::int64_t height = 0, width = 0;

  static constexpr std::size_t bytes(PlaneType type, std::int64_t pixels) {
    constexpr std::size_t kOfPixel[] = {3 * sizeof(float), 3 * sizeof(Half), 8 * sizeof(Half)};
    return static_cast<std::size_t>(pixels) * kOfPixel[static_cast<std::size_t>(type)];
  }
};

// Four neighbours, read and written at once.
template <typename T>
struct alignas(kQuad * sizeof(T)) Four {
  T at[kQuad];
};

// Three colours of four pixels.
struct Quad {
  float at[3][kQuad];
};

namespace detail {

MIMO_RT_BOTH inline float number(float x) { return x; }
MIMO_RT_BOTH inline float number(Half x) { return widen(x); }
template <typename T>
MIMO_RT_BOTH T element(float x) {
  if constexpr (sizeof(T) == sizeof(float))
    return x;
  else
    return narrow(x);
}

// Whether four elements from that one on can be moved at once.
template <typename T>
MIMO_RT_BOTH bool aligned(const T* at) {
  return reinterpret_cast<std::uintptr_t>(at) % sizeof(Four<T>) == 0;
}

}  // namespace detail

// Plane after plane.
template <typename T>
struct PlanarPlanes {
  // count: how many of the four pixels from (y, x) on there are.
  static MIMO_RT_BOTH void put(const Planes& planes, std::int64_t y, std::int64_t x, int count,
                               const Quad& quad) {
    MIMO_RT_UNROLL for (int c = 0; c < 3; ++c) {
      T* at = static_cast<T*>(planes.data) + (c * planes.height + y) * planes.width + x;
      if (count == kQuad && detail::aligned(at)) {
        Four<T> four;
        MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) four.at[i] = detail::element<T>(quad.at[c][i]);
        *reinterpret_cast<Four<T>*>(at) = four;
      } else {
        MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) {
          if (i < count) at[i] = detail::element<T>(quad.at[c][i]);
        }
      }
    }
  }
  static MIMO_RT_BOTH void get(const Planes& planes, std::int64_t y, std::int64_t x, int count, Quad& quad) {
    MIMO_RT_UNROLL for (int c = 0; c < 3; ++c) {
      const T* at = static_cast<const T*>(planes.data) + (c * planes.height + y) * planes.width + x;
      if (count == kQuad && detail::aligned(at)) {
        const Four<T> four = *reinterpret_cast<const Four<T>*>(at);
        MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) quad.at[c][i] = detail::number(four.at[i]);
      } else {
        MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) {
          if (i < count) quad.at[c][i] = detail::number(at[i]);
        }
      }
    }
  }
};

// A pixel after another, each of 8 channels: 3 colours and 5 zeros.
struct Hwc8Planes {
  struct alignas(16) Pixel {
    Half at[8];
  };
  static MIMO_RT_BOTH void put(const Planes& planes, std::int64_t y, std::int64_t x, int count,
                               const Quad& quad) {
    Pixel* pixels = static_cast<Pixel*>(planes.data) + y * planes.width + x;
    MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) {
      if (i >= count) continue;
      Pixel pixel{};
      MIMO_RT_UNROLL for (int c = 0; c < 3; ++c) pixel.at[c] = narrow(quad.at[c][i]);
      pixels[i] = pixel;
    }
  }
  static MIMO_RT_BOTH void get(const Planes& planes, std::int64_t y, std::int64_t x, int count, Quad& quad) {
    const Pixel* pixels = static_cast<const Pixel*>(planes.data) + y * planes.width + x;
    MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) {
      if (i >= count) continue;
      const Pixel pixel = pixels[i];
      MIMO_RT_UNROLL for (int c = 0; c < 3; ++c) quad.at[c][i] = widen(pixel.at[c]);
    }
  }
};

// Calls `work.template operator()<Kind>()` with the kind of planes.
template <typename Work>
void by_planes(PlaneType type, Work work) {
  switch (type) {
    case PlaneType::f32:
      return work.template operator()<PlanarPlanes<float>>();
    case PlaneType::f16:
      return work.template operator()<PlanarPlanes<Half>>();
    case PlaneType::f16_hwc8:
      return work.template operator()<Hwc8Planes>();
  }
}

}  // namespace mimo_rt::cuda
