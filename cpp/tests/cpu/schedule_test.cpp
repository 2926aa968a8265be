// Anchors and layout: pure arithmetic, checked against counts by hand and against the rule that nothing
// overlaps.
#include "cpu/schedule.hpp"

#include <gtest/gtest.h>

#include "mimo_rt/error.hpp"
#include "nets.hpp"

namespace mimo_rt::test {
namespace {

std::vector<int> tiles_of(const Graph& graph) {
  std::vector<int> tiles;
  for (const Node& node : graph.nodes) {
    const std::string_view kernel = cpu::kernel_for(graph, node);
    tiles.push_back(kernel == cpu::kWinogradF6 ? 6 : kernel == cpu::kWinogradF4 ? 4 : 0);
  }
  return tiles;
}

TEST(Anchors, GrowByOneRowAThreeByThreeAndScaleWithTheLevel) {
  NetBuilder net(3);
  const ValueId x = net.image();
  const ValueId a = net.conv({{x, 0}}, 8, 3);
  const ValueId b = net.conv({{a, 0}}, 8, 3, 2);
  const ValueId c = net.conv({{b, 0}}, 8, 3);
  const ValueId d = net.conv_transpose(c, 8);
  const ValueId e = net.conv({{d, 0}, {a, 0}}, 3, 3);
  const Graph graph = net.finish(e);
  const cpu::Anchors anchors = cpu::compute_anchors(graph, tiles_of(graph));
  EXPECT_EQ(anchors.anchor[e], 0);
  EXPECT_EQ(anchors.anchor[d], 1);
  EXPECT_EQ(anchors.anchor[c],
            1);  // output row 0 of d, and row 0's lower neighbour: rows 0 .. 0, and 1 for row 1
  EXPECT_EQ(anchors.anchor[b], 2);
  EXPECT_EQ(anchors.anchor[a], 4);
  EXPECT_EQ(anchors.anchor[x], 5);
  EXPECT_EQ(anchors.carry[x], 2);
  EXPECT_EQ(anchors.carry[c], 1);  // row 1 of d reads rows 0 and 1
  EXPECT_EQ(anchors.carry[a], 5);  // from row -1, for e, to row 3
  EXPECT_EQ(anchors.unit, 12);
  EXPECT_EQ(anchors.tile, 6);
  EXPECT_EQ(anchors.lead, 5);
}

// A direct kernel loads a whole group of pixels where fewer are left, at the distance that it samples them.
TEST(Anchors, RowsReachAsFarAsASampledGroupOfPixels) {
  for (const int shift : {0, 1, 8}) {
    NetBuilder net(3);
    const Graph graph = net.finish(net.conv({{net.image(), shift}}, 3, 1));
    EXPECT_EQ(cpu::compute_anchors(graph, tiles_of(graph), 12).hang, 11 << shift);
  }
}

TEST(Anchors, InterpolationNeedsOneRowMoreBelow) {
  for (const int up : {1, 2}) {
    for (const Sampling how : {Sampling::nearest, Sampling::linear}) {
      NetBuilder net(3);
      const ValueId x = net.image();
      const ValueId low = net.copy(x, up);
      const ValueId folded = net.conv({{x, 0}}, 3, 1, 1, {plus(low, up, how)});
      const ValueId copied = net.copy(low, -up, {}, how);
      const ValueId y = net.conv({{folded, 0}, {copied, 0}}, 3, 1);
      const Graph graph = net.finish(y);
      const cpu::Anchors anchors = cpu::compute_anchors(graph, tiles_of(graph));
      const bool linear = how == Sampling::linear;
      EXPECT_EQ(anchors.anchor[low], linear ? 1 : 0);  // row -1 of y lies between rows -1 and 0
      EXPECT_EQ(anchors.carry[low], linear ? 1 : 0);   // row 0, which row 0 of y reads too
      EXPECT_EQ(anchors.anchor[x], linear ? 1 : 0);
      EXPECT_EQ(anchors.lead, linear ? 1 << up : 0);
    }
  }
}

// At every step a node reads rows that this step has made or an earlier one has kept, and no others.
TEST(Anchors, EveryRowThatIsReadHasBeenMadeAndKept) {
  for (const Sampling how : {Sampling::nearest, Sampling::linear}) {
    const Graph graph = three_levels(8, 1, how);
    const cpu::Anchors anchors = cpu::compute_anchors(graph, tiles_of(graph));
    const std::int64_t height = 244;
    for (const std::int64_t band : {24, 48}) {
      const cpu::Layout layout = cpu::make_layout(graph, anchors, height, 20, band, 8);
      for (std::int64_t s = 0; s < layout.steps; ++s) {
        const auto fresh = [&](ValueId v) {
          const int scale = graph.values[v].scale;
          const auto at = [&](std::int64_t row) {
            return std::clamp<std::int64_t>(anchors.anchor[v] + (row >> scale), 0, height >> scale);
          };
          return cpu::RowRange{at(layout.first + s * band), at(layout.first + (s + 1) * band)};
        };
        for (const Node& node : graph.nodes) {
          const cpu::RowRange made = fresh(node.output);
          if (made.first >= made.end) continue;
          for (const cpu::Read& read : cpu::reads(node, made)) {
            const cpu::RowRange there = fresh(read.value);
            const std::int64_t rows = height >> graph.values[read.value].scale;
            EXPECT_LE(std::min(read.rows.end, rows), there.end) << node.name;
            EXPECT_GE(std::max<std::int64_t>(read.rows.first, 0),
                      there.first - layout.values[read.value].carry_rows)
                << node.name;
          }
        }
      }
    }
  }
}

TEST(Layout, NothingThatLivesAtOnceOverlaps) {
  const Graph graph = three_levels(13);
  const cpu::Anchors anchors = cpu::compute_anchors(graph, tiles_of(graph));
  for (const auto& [band, half] :
       {std::pair{0, false}, {24, false}, {48, false}, {168, false}, {24, true}, {48, true}}) {
    const cpu::Layout layout = cpu::make_layout(graph, anchors, 244, 100, band, 8, half);
    const auto carry_end = [&](const cpu::Storage& s) {
      return s.carry_offset + static_cast<std::size_t>(s.carry_rows * (s.half ? cpu::half_row_stride(s.shape)
                                                                              : s.shape.row_stride));
    };
    EXPECT_EQ(layout.values[graph.input].half, false);
    std::vector<std::size_t> made(graph.values.size());
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) made[graph.nodes[n].output] = n;
    for (std::size_t a = 0; a < graph.values.size(); ++a) {
      const cpu::Storage& s = layout.values[a];
      EXPECT_EQ(s.shape.row_stride % 16, 0);
      EXPECT_EQ(s.shape.row_stride / 16 % 2, 1);
      const std::size_t end = s.fresh_offset + static_cast<std::size_t>(s.fresh_rows * s.shape.row_stride);
      EXPECT_LE(end, layout.floats);
      for (std::size_t b = a + 1; b < graph.values.size(); ++b) {
        const cpu::Storage& t = layout.values[b];
        const std::size_t t_end =
            t.fresh_offset + static_cast<std::size_t>(t.fresh_rows * t.shape.row_stride);
        if (s.fresh_rows > 0 && t.fresh_rows > 0 && made[a] <= layout.last_use[b] &&
            made[b] <= layout.last_use[a]) {
          EXPECT_TRUE(end <= t.fresh_offset || t_end <= s.fresh_offset) << a << " and " << b;
        }
        const std::size_t s_carry = carry_end(s), t_carry = carry_end(t);
        EXPECT_LE(s_carry, layout.widened_offset);
        EXPECT_LE(layout.widened_offset, layout.zero_offset);
        if (s.carry_rows > 0 && t.carry_rows > 0) {
          EXPECT_TRUE(s_carry <= t.carry_offset || t_carry <= s.carry_offset);
        }
        if (s.carry_rows > 0 && t.fresh_rows > 0) {
          EXPECT_LE(s_carry, t.fresh_offset);
        }
      }
    }
  }
}

TEST(Layout, MemoryGrowsWithTheWidthAndNotWithTheHeight) {
  const Graph graph = three_levels(16);
  const cpu::Anchors anchors = cpu::compute_anchors(graph, tiles_of(graph));
  const std::size_t low = cpu::make_layout(graph, anchors, 1000, 400, 48, 8).floats;
  const std::size_t high = cpu::make_layout(graph, anchors, 16000, 400, 48, 8).floats;
  const std::size_t wide = cpu::make_layout(graph, anchors, 1000, 800, 48, 8).floats;
  EXPECT_EQ(low, high);
  EXPECT_GT(wide, low + low / 2);
}

TEST(Layout, RefusesSizesThatNoMemoryHolds) {
  const Graph graph = three_levels(16);
  const cpu::Anchors anchors = cpu::compute_anchors(graph, tiles_of(graph));
  EXPECT_THROW(cpu::make_layout(graph, anchors, std::int64_t{1} << 29, std::int64_t{1} << 29, 0, 8),
               MemoryLimitError);
  EXPECT_THROW(cpu::make_layout(graph, anchors, std::int64_t{1} << 40, 4, 24, 8), MemoryLimitError);
}

}  // namespace
}  // namespace mimo_rt::test
