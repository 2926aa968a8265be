// The ResBlock kernel, run on the processor, against two convolutions in plain loops.
#include "cuda/resblock.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include "cuda/warp_loops.hpp"

namespace mimo_rt::cuda::resblock {
namespace {

struct Block {
  std::int64_t count, height, width;
  std::vector<Half> input, plain, packed;  // plain: two convolutions [32][32][3][3]
  std::vector<float> bias;

  Block(std::int64_t n, std::int64_t h, std::int64_t w, unsigned seed)
      : count(n),
        height(h),
        width(w),
        input(static_cast<std::size_t>(n * h * w * kChannels)),
        plain(kBlockHalves),
        packed(kBlockHalves),
        bias(kBlockBiases) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (Half& v : input) v = narrow(normal(random));
    for (Half& v : plain) v = narrow(0.06F * normal(random));
    for (float& v : bias) v = 0.3F * normal(random);
    for (std::size_t c = 0; c < 2; ++c) {
      pack(plain.data() + c * kConvolutionHalves, packed.data() + c * kConvolutionHalves);
    }
  }
  std::vector<Half> ours(bool backwards = false) const {
    std::vector<Half> output(input.size(), Half{0x7e00});
    run({input.data(), output.data(), packed.data(), bias.data(), height, width}, count, backwards);
    return output;
  }

  // What one convolution gives, its input zero beyond the edges.
  std::vector<double> convolved(const std::vector<Half>& x, std::size_t which) const {
    std::vector<double> y(x.size());
    const Half* weights = plain.data() + which * kConvolutionHalves;
    std::size_t at = 0;
    for (std::int64_t image = 0; image < count; ++image) {
      for (std::int64_t row = 0; row < height; ++row) {
        for (std::int64_t column = 0; column < width; ++column) {
          for (int n = 0; n < kChannels; ++n, ++at) {
            y[at] = static_cast<double>(bias[which * kChannels + static_cast<std::size_t>(n)]);
            for (int tap = 0; tap < 9; ++tap) {
              const std::int64_t r = row + tap / 3 - 1, c = column + tap % 3 - 1;
              if (r < 0 || r >= height || c < 0 || c >= width) continue;
              const Half* pixel = x.data() + ((image * height + r) * width + c) * kChannels;
              for (int k = 0; k < kChannels; ++k) {
                y[at] += static_cast<double>(widen(pixel[k])) *
                         static_cast<double>(widen(weights[(n * kChannels + k) * 9 + tap]));
              }
            }
          }
        }
      }
    }
    return y;
  }
  std::vector<double> reference() const {
    std::vector<Half> middle;
    for (const double v : convolved(input, 0))
      middle.push_back(narrow(std::max(0.0F, static_cast<float>(v))));
    std::vector<double> y = convolved(middle, 1);
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += static_cast<double>(widen(input[i]));
    return y;
  }
};

class ResBlock : public testing::TestWithParam<std::tuple<int, int, int>> {};

TEST_P(ResBlock, IsTwoConvolutionsAndAnAddition) {
  const auto [count, height, width] = GetParam();
  const Block block(count, height, width, 7);
  const std::vector<Half> found = block.ours();
  const std::vector<double> wanted = block.reference();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    // Half precision's step where the sum lies, and what steps of the middle can add to it.
    const double allowed = std::abs(wanted[i]) * 0x1p-10 + 4e-3;
    ASSERT_NEAR(static_cast<double>(widen(found[i])), wanted[i], allowed) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ResBlock,
                         testing::Values(std::tuple{1, 1, 1}, std::tuple{1, 1, 33}, std::tuple{1, 17, 1},
                                         std::tuple{1, 2, 2}, std::tuple{2, 15, 31}, std::tuple{1, 16, 32},
                                         std::tuple{3, 17, 33}, std::tuple{1, 18, 34}, std::tuple{2, 33, 65},
                                         std::tuple{1, 70, 130}, std::tuple{1, 130, 70}));

TEST(ResBlockPhases, NeedNoOrderBetweenBarriers) {
  const Block block(1, 21, 70, 3);
  EXPECT_EQ(block.ours(false), block.ours(true));
}

TEST(ResBlockPhases, KeepNaNAndInfinity) {
  Block block(1, 5, 5, 3);
  block.input[12 * kChannels] = 0x7e00;
  EXPECT_TRUE(std::isnan(widen(block.ours()[12 * kChannels + 3])));
  Block wide(1, 5, 5, 3);
  for (Half& v : wide.input) v = narrow(60000.0F);
  bool finite = true;
  for (const Half v : wide.ours()) finite &= std::isfinite(widen(v));
  EXPECT_FALSE(finite);
}

TEST(ResBlockWeights, EachHasAPlaceOfItsOwn) {
  std::set<int> places;
  for (int step = 0; step < kSteps; ++step) {
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < kChannels; ++n) places.insert(weight_at(step, k, n));
    }
  }
  EXPECT_EQ(places.size(), static_cast<std::size_t>(kConvolutionHalves));
  EXPECT_EQ(*places.begin(), 0);
  EXPECT_EQ(*places.rbegin(), kConvolutionHalves - 1);
}

// The tensor cores' layout, in their documentation's words: of the second operand a lane holds, for column
// lane / 4, rows lane % 4 * 2 and the next in its first register, and 8 rows below in its second.
TEST(ResBlockWeights, LieAsTensorCoresHaveThem) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int eighth = 0; eighth < 4; ++eighth) {
      for (int word = 0; word < 2; ++word) {
        for (int i = 0; i < 2; ++i) {
          const int in_registers = ((eighth / 2 * 32 + lane) * 2 + eighth % 2) * 4 + word * 2 + i;
          EXPECT_EQ(weight_at(0, lane % 4 * 2 + i + word * 8, eighth * 8 + lane / 4), in_registers);
        }
      }
    }
  }
}

TEST(ResBlockSharedMemory, EightFollowingPixelsLieInDifferentBanks) {
  for (int pixel = 0; pixel < kMiddlePixels - 8; ++pixel) {
    for (int chunk = 0; chunk < 4; ++chunk) {
      std::set<int> banks;
      for (int i = 0; i < 8; ++i) banks.insert(chunk_at(pixel + i, chunk) / 8 % 8);
      EXPECT_EQ(banks.size(), 8U);
    }
  }
}

TEST(Half, GoesThereAndBack) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<Half>(bits);
    if (std::isnan(widen(half))) {
      EXPECT_TRUE(std::isnan(widen(narrow(widen(half)))));
    } else {
      EXPECT_EQ(narrow(widen(half)), half);
    }
  }
}

TEST(Half, RoundsToTheNearestAndToEven) {
  for (unsigned bits = 0; bits < 0x7bff; ++bits) {
    const float low = widen(static_cast<Half>(bits)), high = widen(static_cast<Half>(bits + 1));
    const float between = 0.5F * (low + high);  // exact in float32
    EXPECT_EQ(narrow(between), bits + (bits & 1U));
    EXPECT_EQ(narrow(std::nextafter(between, low)), bits);
    EXPECT_EQ(narrow(-std::nextafter(between, high)), (bits + 1) | 0x8000U);
  }
  EXPECT_EQ(narrow(65519.0F), 0x7bff);
  EXPECT_EQ(narrow(65520.0F), 0x7c00);
}

}  // namespace
}  // namespace mimo_rt::cuda::resblock
