// The pixel kernels, thread by thread on the processor, against the CPU engine's rows: every type, channel
// count, order, strength, stride and kind of planes, and tiles at every edge.
#include "cuda/pixel_kernels.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
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
    for (std::int64_t x = 0; x < (width + 127) / 128 * 128; x += kQuad) thread(y, x);
}

// Planes of a kind, poisoned, and what they hold at a place.
struct TestPlanes {
  struct alignas(16) Chunk {
    std::byte bytes[16];
  };
  std::vector<Chunk> memory;
  Planes planes;

  TestPlanes(PlaneType type, std::int64_t height, std::int64_t width)
      : memory(Planes::bytes(type, height * width) / sizeof(Chunk) + 1),
        planes{memory.data(), type, height, width} {
    std::memset(memory.data(), 0xff, memory.size() * sizeof(Chunk));  // NaN in both precisions
  }
  float at(int c, std::int64_t y, std::int64_t x) const {
    const std::int64_t pixel = y * planes.width + x, plane = c * planes.height * planes.width + pixel;
    switch (planes.type) {
      case PlaneType::f32:
        return static_cast<const float*>(planes.data)[plane];
      case PlaneType::f16:
        return widen(static_cast<const Half*>(planes.data)[plane]);
      case PlaneType::f16_hwc8:
        return widen(static_cast<const Half*>(planes.data)[pixel * 8 + c]);
    }
    return 0;
  }
};

constexpr PlaneType kKinds[] = {PlaneType::f32, PlaneType::f16, PlaneType::f16_hwc8};

float rounded(PlaneType type, float value) { return type == PlaneType::f32 ? value : widen(narrow(value)); }

template <typename T>
TestPlanes loaded(const ImageView& image, bool bgr, PlaneType type, std::int64_t height, std::int64_t width) {
  TestPlanes tile(type, height, width);
  const LoadJob job{image, bgr, tile.planes};
  by_planes(type, [&]<typename Kind>() {
    every_thread(height, width, [&](std::int64_t y, std::int64_t x) { load_quad<T, Kind>(job, y, x); });
  });
  return tile;
}

template <typename T>
void store(const StoreJob& job) {
  by_planes(job.tile.type, [&]<typename Kind>() {
    every_thread(job.source.height, job.source.width,
                 [&](std::int64_t y, std::int64_t x) { store_quad<T, Kind>(job, y, x); });
  });
}

template <typename T>
class PixelKernels : public testing::Test {};
using Types = testing::Types<std::uint8_t, std::uint16_t, float>;
TYPED_TEST_SUITE(PixelKernels, Types);

TYPED_TEST(PixelKernels, LoadIsTheRowsOfTheCpu) {
  using T = TypeParam;
  for (const std::int64_t channels : {1, 3, 4}) {
    for (const bool bgr : {false, true}) {
      for (const PlaneType type : kKinds) {
        for (const auto& [height, width, padded_height, padded_width] :
             {std::tuple{1, 1, 4, 4}, {5, 7, 8, 8}, {13, 40, 16, 64}, {9, 33, 9, 33}, {3, 5, 64, 64}}) {
          const Picture<T> picture(height, width, channels, 3);
          const TestPlanes tile = loaded<T>(picture.view(), bgr, type, padded_height, padded_width);
          PixelSource source(picture.view(), bgr, padded_height, padded_width, 3);
          std::vector<float> row(static_cast<std::size_t>(3 * padded_width));
          for (std::int64_t y = 0; y < padded_height; ++y) {
            source.load(y, row.data(), 0);
            for (std::int64_t i = 0; i < 3 * padded_width; ++i) {
              const float wanted = rounded(type, row[static_cast<std::size_t>(i)]);
              ASSERT_EQ(tile.at(static_cast<int>(i % 3), y, i / 3), wanted) << y << " " << i;
            }
          }
          if (type == PlaneType::f16_hwc8) {  // the channels that a picture does not have
            for (int c = 3; c < 8; ++c) EXPECT_EQ(tile.at(c, 0, 0), 0.0F);
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
      const PlaneType type = kKinds[round / 3 % 3];
      const TestPlanes tile = loaded<T>(cropped(picture.view(), rows.origin, rows.origin + plan.tile.height,
                                                columns.origin, columns.origin + plan.tile.width),
                                        bgr, type, plan.tile.height, plan.tile.width);
      store<T>({cropped(std::as_const(picture).view(), rows.first, rows.end, columns.first, columns.end),
                cropped(result.view(), rows.first, rows.end, columns.first, columns.end), bgr, strength,
                rows.first - rows.origin, columns.first - columns.origin, tile.planes, &non_finite});
    }
    EXPECT_EQ(non_finite, 0);
    // Grey goes through the weights of three colours, strength through a difference.
    constexpr bool kFloats = std::is_same_v<T, float>;
    const bool exact = channels != 1 && strength == 1.0F;
    // Half precision's steps below 1 are 2^-11, an eighth of one of 8 bits.
    const double half = round / 3 % 3 == 0 ? 0.0 : kFloats ? 0x1p-11 : sizeof(T) == 1 ? 0.0 : 32.0;
    const double allowed = half + (exact ? 0.0 : kFloats ? 1e-6 : 1.0);
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
      for (const PlaneType type : kKinds) {
        const Picture<T> picture(11, 37, channels, 1);
        Picture<T> ours(11, 37, channels, 2), theirs(11, 37, channels, 2);
        TestPlanes single(PlaneType::f32, 11, 37), tile(type, 11, 37);
        std::vector<float> row(3 * 37);
        for (int i = 0; i < 3 * 11 * 37; ++i) {
          static_cast<float*>(single.planes.data)[i] =
              std::uniform_real_distribution<float>(-0.3F, 1.3F)(random);
        }
        by_planes(type, [&]<typename Kind>() {
          const ConvertJob job{single.planes, tile.planes};
          every_thread(11, 37, [&](std::int64_t y, std::int64_t x) {
            convert_quad<PlanarPlanes<float>, Kind>(job, y, x);
          });
        });
        int non_finite = 0;
        store<T>({picture.view(), ours.view(), true, strength, 0, 0, tile.planes, &non_finite});
        EXPECT_EQ(non_finite, 0);
        PixelSink sink(picture.view(), theirs.view(), true, strength, 3);
        for (std::int64_t y = 0; y < 11; ++y) {
          for (std::int64_t i = 0; i < 3 * 37; ++i) {
            row[static_cast<std::size_t>(i)] = rounded(type, single.at(static_cast<int>(i % 3), y, i / 3));
          }
          sink.store(y, row.data(), 0);
        }
        EXPECT_EQ(ours.pixels, theirs.pixels);
      }
    }
  }
}

// Whatever the network gave, and whatever the picture holds.
TYPED_TEST(PixelKernels, StrengthZeroGivesThePictureBack) {
  using T = TypeParam;
  for (const std::int64_t channels : {1, 3, 4}) {
    Picture<T> picture(5, 37, channels, 1), result(5, 37, channels, 2);
    if constexpr (std::is_same_v<T, float>) {
      picture.pixels[0] = -0.25F;
      picture.pixels[1] = 1.75F;
      picture.pixels[2] = 1e-30F;
    }
    const TestPlanes tile(PlaneType::f32, 5, 37);  // NaN
    int non_finite = 0;
    store<T>({std::as_const(picture).view(), result.view(), false, 0.0F, 0, 0, tile.planes, &non_finite});
    EXPECT_EQ(non_finite, 0);
    EXPECT_EQ(result.pixels, picture.pixels);
  }
}

// Images whose rows start anywhere, in which four pixels cannot be moved at once.
TEST(PixelKernelsViews, RowsMayStartAnywhere) {
  const Picture<std::uint8_t> wide(9, 41, 3, 8);
  for (std::int64_t left = 0; left < 5; ++left) {
    const ImageView part = cropped(wide.view(), 1, 8, left, left + 30);
    const TestPlanes tile = loaded<std::uint8_t>(part, false, PlaneType::f32, 8, 32);
    Picture<std::uint8_t> result(9, 41, 3, 9);
    int non_finite = 0;
    store<std::uint8_t>(
        {part, cropped(result.view(), 1, 8, left, left + 30), false, 1.0F, 0, 0, tile.planes, &non_finite});
    for (std::int64_t y = 1; y < 8; ++y) {
      for (std::int64_t x = left; x < left + 30; ++x) {
        const auto at = static_cast<std::size_t>((y * 41 + x) * 3);
        for (std::size_t c = 0; c < 3; ++c) ASSERT_EQ(result.pixels[at + c], wide.pixels[at + c]);
      }
    }
  }
}

TEST(PixelKernelsNonFinite, AreSeen) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const PlaneType type : kKinds) {
      Picture<std::uint8_t> picture(2, 2, 3, 1);
      TestPlanes single(PlaneType::f32, 2, 2), tile(type, 2, 2);
      std::fill_n(static_cast<float*>(single.planes.data), 12, 0.5F);
      static_cast<float*>(single.planes.data)[7] = bad;
      by_planes(type, [&]<typename Kind>() {
        for (std::int64_t y = 0; y < 2; ++y) {
          convert_quad<PlanarPlanes<float>, Kind>({single.planes, tile.planes}, y, 0);
        }
      });
      int non_finite = 0;
      store<std::uint8_t>(
          {std::as_const(picture).view(), picture.view(), false, 1.0F, 0, 0, tile.planes, &non_finite});
      EXPECT_EQ(non_finite, 1);
    }
  }
}

// The host's float32 images go to the network and back.
TEST(PixelKernelsConvert, ThereAndBack) {
  std::mt19937 random(6);
  for (const PlaneType type : kKinds) {
    TestPlanes first(PlaneType::f32, 7, 21), middle(type, 7, 21), last(PlaneType::f32, 7, 21);
    for (int i = 0; i < 3 * 7 * 21; ++i) {
      static_cast<float*>(first.planes.data)[i] = std::normal_distribution<float>()(random);
    }
    by_planes(type, [&]<typename Kind>() {
      every_thread(7, 21, [&](std::int64_t y, std::int64_t x) {
        convert_quad<PlanarPlanes<float>, Kind>({first.planes, middle.planes}, y, x);
        convert_quad<Kind, PlanarPlanes<float>>({middle.planes, last.planes}, y, x);
      });
    });
    for (int c = 0; c < 3; ++c) {
      for (std::int64_t y = 0; y < 7; ++y) {
        for (std::int64_t x = 0; x < 21; ++x) {
          ASSERT_EQ(last.at(c, y, x), rounded(type, first.at(c, y, x)));
        }
      }
    }
  }
}

}  // namespace
}  // namespace mimo_rt::cuda
