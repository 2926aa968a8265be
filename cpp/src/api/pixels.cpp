// The conversions, one template over the pixel type.
#include "api/pixels.hpp"

#include <array>
#include <cmath>
#include <cstring>

#include "core/pixel_math.hpp"

namespace mimo_rt {
namespace {

template <typename T>
T read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}
template <typename T>
void write(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

template <typename Function>
void with_type(PixelType type, Function f) {
  switch (type) {
    case PixelType::u8:
      return f(std::uint8_t{});
    case PixelType::u16:
      return f(std::uint16_t{});
    case PixelType::f32:
      return f(float{});
  }
}

}  // namespace

PixelSource::PixelSource(const ImageView& image, bool bgr, std::int64_t padded_height,
                         std::int64_t padded_width, int lanes)
    : image_(image), bgr_(bgr), padded_height_(padded_height), padded_width_(padded_width), lanes_(lanes) {}

void PixelSource::load(std::int64_t y, float* row, std::ptrdiff_t block_stride) {
  const std::int64_t source_y = source_of(y, image_.height, padded_height_);
  const bool grey = image_.channels == 1;
  const bool bgr = bgr_ && !grey;
  with_type(image_.type, [&](auto tag) {
    using T = decltype(tag);
    bool finite = true;
    // Fewer lanes than colours (the portable kernels) spread over several blocks.
    for (int c = 0; c < (3 + lanes_ - 1) / lanes_ * lanes_; ++c) {
      float* to = row + c / lanes_ * block_stride + c % lanes_;
      if (c >= 3) {
        for (std::int64_t x = 0; x < padded_width_; ++x) to[x * lanes_] = 0.0F;
        continue;
      }
      const std::byte* from = pixel_at(image_, source_y, 0, grey ? 0 : bgr ? 2 - c : c);
      for (std::int64_t x = 0; x < image_.width; ++x) {
        const float value = to_unit(read<T>(from + x * image_.column_stride));
        if constexpr (std::is_same_v<T, float>) finite = finite && std::isfinite(value);
        to[x * lanes_] = value;
      }
      for (std::int64_t x = image_.width; x < padded_width_; ++x)
        to[x * lanes_] = to[source_of(x, image_.width, padded_width_) * lanes_];
    }
    if (!finite) non_finite_.store(true, std::memory_order_relaxed);
  });
}

PixelSink::PixelSink(const ImageView& source, const MutableImageView& destination, bool bgr, float strength,
                     int lanes)
    : source_(source), destination_(destination), bgr_(bgr), strength_(strength), lanes_(lanes) {}

void PixelSink::store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) {
  if (y >= source_.height) return;
  const bool grey = source_.channels == 1;
  const bool bgr = bgr_ && !grey;
  std::array<const float*, 3> planes{};
  for (int c = 0; c < 3; ++c)
    planes[static_cast<std::size_t>(c)] = row + c / lanes_ * block_stride + c % lanes_;
  with_type(source_.type, [&](auto tag) {
    using T = decltype(tag);
    const auto blended = [&](float output, const std::byte* pixel) {
      if (strength_ == 1.0F) return output;
      const float input = to_unit(read<T>(pixel));
      return input + strength_ * (output - input);
    };
    if (grey) {
      for (std::int64_t x = 0; x < source_.width; ++x) {
        const std::int64_t i = x * lanes_;
        const float grey_output = luma(planes[0][i], planes[1][i], planes[2][i]);
        write(pixel_at(destination_, y, x, 0),
              from_unit<T>(blended(grey_output, pixel_at(source_, y, x, 0))));
      }
      return;
    }
    for (int c = 0; c < 3; ++c) {
      const int channel = bgr ? 2 - c : c;
      const std::byte* from = pixel_at(source_, y, 0, channel);
      std::byte* to = pixel_at(destination_, y, 0, channel);
      const float* plane = planes[static_cast<std::size_t>(c)];
      for (std::int64_t x = 0; x < source_.width; ++x) {
        write(to + x * destination_.column_stride,
              from_unit<T>(blended(plane[x * lanes_], from + x * source_.column_stride)));
      }
    }
    for (std::int64_t c = 3; c < source_.channels; ++c) {
      for (std::int64_t x = 0; x < source_.width; ++x) {
        std::memcpy(pixel_at(destination_, y, x, c), pixel_at(source_, y, x, c), sizeof(T));
      }
    }
  });
}

void PlaneSource::load(std::int64_t y, float* row, std::ptrdiff_t block_stride) {
  const auto padded = (planes_.channels + lanes_ - 1) / lanes_ * lanes_;
  for (std::int64_t c = 0; c < padded; ++c) {
    float* to = row + c / lanes_ * block_stride + c % lanes_;
    for (std::int64_t x = 0; x < planes_.width; ++x) {
      to[x * lanes_] = c < planes_.channels ? read<float>(pixel_at(planes_, y, x, c)) : 0.0F;
    }
  }
}

void PlaneSink::store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) {
  for (std::int64_t c = 0; c < planes_.channels; ++c) {
    const float* from = row + c / lanes_ * block_stride + c % lanes_;
    for (std::int64_t x = 0; x < planes_.width; ++x) write(pixel_at(planes_, y, x, c), from[x * lanes_]);
  }
}

void copy_pixels(const ImageView& source, const MutableImageView& destination) {
  with_type(source.type, [&](auto tag) {
    for (std::int64_t y = 0; y < source.height; ++y) {
      for (std::int64_t x = 0; x < source.width; ++x) {
        for (std::int64_t c = 0; c < source.channels; ++c) {
          std::memcpy(pixel_at(destination, y, x, c), pixel_at(source, y, x, c), sizeof(tag));
        }
      }
    }
  });
}

}  // namespace mimo_rt
