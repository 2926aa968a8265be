// A view of somebody's pixels: base pointer, shape, strides. It owns nothing and copies nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mimo_rt {

enum class PixelType : std::uint8_t { u8, u16, f32 };

// Strides are in bytes and may have any sign, so flipped, transposed, planar and BGR images need no copy.
template <typename Byte>
struct BasicImageView {
  Byte* data = nullptr;
  PixelType type = PixelType::u8;
  std::int64_t height = 0, width = 0, channels = 0;
  std::ptrdiff_t row_stride = 0, column_stride = 0, channel_stride = 0;
};

using ImageView = BasicImageView<const std::byte>;
using MutableImageView = BasicImageView<std::byte>;

}  // namespace mimo_rt
