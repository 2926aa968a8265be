// Tile plans for ten thousand random sizes: every pixel kept once, from a tile in which it has its halo.
#include "tiling/tile_plan.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "mimo_rt/error.hpp"

namespace mimo_rt::tiling {
namespace {

std::int64_t up(std::int64_t n, std::int64_t stride) { return (n + stride - 1) / stride * stride; }

// Walks every pixel of an axis.
void check_axis(const std::vector<Span>& spans, std::int64_t side, std::int64_t tile, std::int64_t halo,
                std::int64_t stride) {
  std::vector<int> kept(static_cast<std::size_t>(side), 0);
  for (const Span& span : spans) {
    ASSERT_EQ(span.origin % stride, 0);
    ASSERT_GE(span.origin, 0);
    ASSERT_LE(span.origin + tile, side);
    ASSERT_LT(span.first, span.end);
    for (std::int64_t at = span.first; at < span.end; ++at) {
      ++kept[static_cast<std::size_t>(at)];
      ASSERT_TRUE(span.origin == 0 || at - span.origin >= halo) << at;
      ASSERT_TRUE(span.origin + tile == side || span.origin + tile - at > halo) << at;
    }
  }
  for (const int times : kept) ASSERT_EQ(times, 1);
}

TEST(TilePlan, EveryPixelIsKeptOnceFromATileInWhichItHasItsHalo) {
  std::mt19937 random(3);
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  int tiled = 0;
  for (int round = 0; round < 10'000; ++round) {
    const std::int64_t stride = std::int64_t{1} << draw(0, 4);
    const Size padded{up(draw(1, 900), stride), up(draw(1, 900), stride)};
    const std::int64_t halo = draw(0, 80);
    const std::int64_t least = std::max(2 * up(halo, stride) + stride, 2 * stride);
    const Size wanted{least + draw(0, 300), least + draw(0, 300)};
    const TilePlan plan = plan_tiles(padded, wanted, halo, stride);
    ASSERT_EQ(plan.tile.height, std::min(up(wanted.height, stride), padded.height));
    ASSERT_EQ(plan.tile.width, std::min(up(wanted.width, stride), padded.width));
    check_axis(plan.rows, padded.height, plan.tile.height, halo, stride);
    check_axis(plan.columns, padded.width, plan.tile.width, halo, stride);
    if (HasFatalFailure()) FAIL() << "round " << round;
    tiled += plan.count() > 1 ? 1 : 0;
  }
  EXPECT_GT(tiled, 5'000);
}

TEST(TilePlan, TilesAreInOrderRowByRow) {
  const TilePlan plan = plan_tiles({64, 96}, {40, 40}, 8, 4);
  ASSERT_EQ(plan.count(), 2U * 4U);
  EXPECT_EQ(plan[0].columns.origin, 0);
  EXPECT_EQ(plan[1].columns.origin, 24);
  EXPECT_EQ(plan[3].columns.origin, 56);  // shifted inward
  EXPECT_EQ(plan[3].rows.origin, 0);
  EXPECT_EQ(plan[4].rows.origin, 24);
}

TEST(TilePlan, TilesWithNothingLeftAreRefused) {
  for (const auto& [tile, halo] : {std::pair<Size, std::int64_t>{{64, 64}, 32},
                                   {{0, 64}, 0},
                                   {{64, 4}, 0},
                                   {{64, 64}, -1},
                                   {{64, 64}, std::int64_t{1} << 40}}) {
    try {
      plan_tiles({640, 640}, tile, halo, 4);
      FAIL() << tile.height << " " << halo;
    } catch (const ImageError& error) {
      EXPECT_EQ(error.code(), "image.tile");
    }
  }
  EXPECT_EQ(plan_tiles({64, 64}, {64, 64}, 100, 4).count(), 1U);  // no inner edge, no halo
}

TEST(ChooseTile, TheWholeImageWhereItFits) {
  EXPECT_EQ(choose_tile({640, 960}, 244, 4, [](Size) { return true; }), (Size{640, 960}));
  EXPECT_EQ(choose_tile({640, 960}, 244, 4, [](Size) { return false; }), std::nullopt);
}

TEST(ChooseTile, FitsCoversAndComputesLeast) {
  std::mt19937 random(5);
  const auto draw = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  int chosen = 0;
  for (int round = 0; round < 300; ++round) {
    const std::int64_t stride = 4, halo = draw(0, 60);
    const Size padded{up(draw(200, 1500), stride), up(draw(200, 1500), stride)};
    const std::int64_t bound = draw(20'000, 600'000);
    const auto fits = [&](Size s) { return s.height * s.width <= bound; };
    const auto tile = choose_tile(padded, halo, stride, fits);
    const auto area = [&](Size size) {
      const TilePlan plan = plan_tiles(padded, size, halo, stride);
      return static_cast<std::int64_t>(plan.count()) * plan.tile.height * plan.tile.width;
    };
    if (!tile) continue;
    ++chosen;
    ASSERT_TRUE(fits(*tile));
    const std::int64_t found = area(*tile);
    for (int other = 0; other < 200; ++other) {  // none of many others that fit computes less
      const std::int64_t least = std::max(2 * up(halo, stride) + stride, 2 * stride);
      const Size size{std::min(up(draw(least, padded.height + least), stride), padded.height),
                      std::min(up(draw(least, padded.width + least), stride), padded.width)};
      if (fits(size)) {
        ASSERT_GE(area(size), found) << size.height << "x" << size.width;
      }
    }
  }
  EXPECT_GT(chosen, 200);
}

}  // namespace
}  // namespace mimo_rt::tiling
