// The pixel kernels, thread by thread on the processor, against the CPU engine's rows: every type, channel
// count, order, strength and stride, and tiles at every edge.
#include "cuda/pixel_kernels.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "api/pixels.hpp"
#include "core/crop.hpp"
#include "tiling/tile_plan.hpp"

namespace mimo_rt::cuda {
namespace {

template <typename T>
constexpr PixelType type_of() {
  return std::is_same_v<T, std::uint8_t>    ? PixelType::u8
         : std::is_same_v<T, std::uint16_t> ? PixelType::u16
                                            : PixelType::f32;
}

template <typename T>
struct Picture {
  std::int64_t height, width, channels;
  std::vector<T> pixels;

  Picture(std::int64_t h, std::int64_t w, std::int64_t c, unsigned seed)
      : height(h), width(w), channels(c), pixels(static_cast<std::size_t>(h * w * c)) {
    std::mt19937 random(seed);
    for (T& p : pixels) p = from_unit<T>(std::uniform_real_distribution<float>(0, 1)(random));
  }
  template <typename Byte>
  BasicImageView<Byte> view_of(Byte* data) const {
    constexpr std::ptrdiff_t s = sizeof(T);
    return {data, type_of<T>(), height, width, channels, width * channels * s, channels * s, s};
  }
  ImageView view() const { return view_of(reinterpret_cast<const std::byte*>(pixels.data())); }
  MutableImageView view() { return view_of(reinterpret_cast<std::byte*>(pixels.data())); }
};

// As a grid of blocks would: threads beyond the edges included.
template <typename Thread>
void every_thread(std::int64_t height, std::int64_t width, Thread thread) {
  for (std::int64_t y = 0; y < (height + 7) / 8 * 8; ++y)
    for (std::int64_t x = 0; x < (width + 31) / 32 * 32; ++x) thread(y, x);
}

template <typename T>
std::vector<float> loaded(const ImageView& image, bool bgr, std::int64_t height, std::int64_t width) {
  std::vector<float> planes(static_cast<std::size_t>(3 * height * width), -1.0F);
  LoadJob job{image, bgr, height, width, planes.data()};
  every_thread(height, width, [&](std::int64_t y, std::int64_t x) { load_pixel<T>(job, y, x); });
  return planes;
}

template <typename T>
class PixelKernels : public testing::Test {};
using Types = testing::Types<std::uint8_t, std::uint16_t, float>;
TYPED_TEST_SUITE(PixelKernels, Types);

TYPED_TEST(PixelKernels, LoadIsTheRowsOfTheCpu) {
  using T = TypeParam;
  for (const std::int64_t channels : {1, 3, 4}) {
    for (const bool bgr : {false, true}) {
      for (const auto& [height, width, padded_height, padded_width] :
           {std::tuple{1, 1, 4, 4}, {5, 7, 8, 8}, {13, 40, 16, 64}, {9, 33, 9, 33}, {3, 5, 64, 64}}) {
        const Picture<T> picture(height, width, channels, 3);
        const std::vector<float> planes = loaded<T>(picture.view(), bgr, padded_height, padded_width);
        PixelSource source(picture.view(), bgr, padded_height, padded_width, 3);
        std::vector<float> row(static_cast<std::size_t>(3 * padded_width));
        for (std::int64_t y = 0; y < padded_height; ++y) {
          source.load(y, row.data(), 0);
          for (std::int64_t i = 0; i < 3 * padded_width; ++i) {
            const std::int64_t at = (i % 3 * padded_height + y) * padded_width + i / 3;
            ASSERT_EQ(planes[static_cast<std::size_t>(at)], row[static_cast<std::size_t>(i)])
                << y << " " << i;
          }
        }
      }
    }
  }
}

// A network that gives its input back, in tiles: the picture comes back for every size and halo.
TYPED_TEST(PixelKernels, TilesPutTheirPartsTogether) {
  using T = TypeParam;
  std::mt19937 random(11);
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  for (int round = 0; round < 60; ++round) {
    const std::int64_t channels = std::array{1, 3, 4}[static_cast<std::size_t>(round % 3)];
    const Picture<T> picture(draw(1, 70), draw(1, 130), channels, static_cast<unsigned>(round));
    const bool bgr = round % 2 == 1;
    const float strength = round % 5 == 0 ? 0.5F : 1.0F;
    const tiling::TilePlan plan = tiling::plan_tiles(
        {(picture.height + 3) / 4 * 4, (picture.width + 3) / 4 * 4}, {draw(24, 60), draw(24, 60)}, 8, 4);
    Picture<T> result(picture.height, picture.width, channels, 99);
    int non_finite = 0;
    for (std::size_t i = 0; i < plan.count(); ++i) {
      const auto [rows, columns] = plan[i];
      std::vector<float> planes =
          loaded<T>(cropped(picture.view(), rows.origin, rows.origin + plan.tile.height, columns.origin,
                            columns.origin + plan.tile.width),
                    bgr, plan.tile.height, plan.tile.width);
      StoreJob job{cropped(std::as_const(picture).view(), rows.first, rows.end, columns.first, columns.end),
                   cropped(result.view(), rows.first, rows.end, columns.first, columns.end),
                   bgr,
                   strength,
                   plan.tile.height,
                   plan.tile.width,
                   rows.first - rows.origin,
                   columns.first - columns.origin,
                   planes.data(),
                   &non_finite};
      every_thread(job.source.height, job.source.width,
                   [&](std::int64_t y, std::int64_t x) { store_pixel<T>(job, y, x); });
    }
    EXPECT_EQ(non_finite, 0);
    // Grey goes through the weights of three colours, strength through a difference.
    constexpr bool kFloats = std::is_same_v<T, float>;
    const bool exact = channels != 1 && strength == 1.0F;
    const double allowed = exact ? 0.0 : kFloats ? 1e-6 : 1.0;
    for (std::size_t i = 0; i < result.pixels.size(); ++i) {
      const auto found = static_cast<double>(result.pixels[i]),
                 wanted = static_cast<double>(picture.pixels[i]);
      ASSERT_NEAR(found, wanted, allowed) << "round " << round;
    }
  }
}

TYPED_TEST(PixelKernels, StoreIsTheRowsOfTheCpu) {
  using T = TypeParam;
  std::mt19937 random(5);
  for (const std::int64_t channels : {1, 3, 4}) {
    for (const float strength : {1.0F, 0.3F, 1.5F}) {
      const Picture<T> picture(11, 37, channels, 1);
      Picture<T> ours(11, 37, channels, 2), theirs(11, 37, channels, 2);
      std::vector<float> planes(3 * 11 * 37), row(3 * 37);
      for (float& p : planes) p = std::uniform_real_distribution<float>(-0.3F, 1.3F)(random);
      int non_finite = 0;
      const StoreJob job{picture.view(), ours.view(), true, strength, 11, 37, 0, 0,
                         planes.data(),  &non_finite};
      every_thread(11, 37, [&](std::int64_t y, std::int64_t x) { store_pixel<T>(job, y, x); });
      PixelSink sink(picture.view(), theirs.view(), true, strength, 3);
      for (std::int64_t y = 0; y < 11; ++y) {
        for (std::size_t i = 0; i < row.size(); ++i) {
          row[i] = planes[(i % 3 * 11 + static_cast<std::size_t>(y)) * 37 + i / 3];
        }
        sink.store(y, row.data(), 0);
      }
      EXPECT_EQ(ours.pixels, theirs.pixels);
    }
  }
}

TEST(PixelKernelsNonFinite, AreSeen) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Picture<std::uint8_t> picture(2, 2, 3, 1);
    std::vector<float> planes(12, 0.5F);
    planes[7] = bad;
    int non_finite = 0;
    const StoreJob job{
        std::as_const(picture).view(), picture.view(), false, 1.0F, 2, 2, 0, 0, planes.data(), &non_finite};
    every_thread(2, 2, [&](std::int64_t y, std::int64_t x) { store_pixel<std::uint8_t>(job, y, x); });
    EXPECT_EQ(non_finite, 1);
  }
}

}  // namespace
}  // namespace mimo_rt::cuda
