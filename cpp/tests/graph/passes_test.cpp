// The passes: each fuses what it says, nothing changes the result, and a MIMO-UNet comes down to
// convolutions.
#include "graph_testing.hpp"

namespace mimo_rt::testing {
namespace {

TEST(Passes, ConvolutionTakesRelu) {
  Sketch s;
  s.relu(s.conv(0, 3));
  const Graph g = s.optimized();
  ASSERT_EQ(g.nodes.size(), 2u);
  ASSERT_EQ(g.nodes[1].epilogue.size(), 1u);
  EXPECT_EQ(g.nodes[1].epilogue[0].kind, EpilogueKind::relu);
}

TEST(Passes, ConvolutionWithTwoConsumersKeepsItsReluApart) {
  Sketch s;
  const ValueId c = s.conv(0, 3);
  s.sum(s.conv(s.relu(c), 3), s.conv(c, 3));
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::copy), 1);
  EXPECT_EQ(count(g, Op::conv), 3);
}

TEST(Passes, ConvolutionTakesQuantising) {
  Sketch s;
  s.conv(s.quantised(s.relu(s.conv(0, 3)), 0.05f), 3);
  const Graph g = s.optimized();
  ASSERT_EQ(g.nodes.size(), 3u);
  ASSERT_EQ(g.nodes[1].epilogue.size(), 2u);
  EXPECT_EQ(g.nodes[1].epilogue[1].kind, EpilogueKind::quantise);
  EXPECT_EQ(g.nodes[1].epilogue[1].quantum, 0.05f);
}

TEST(Passes, WhatIsReadUnquantisedAsWellIsQuantisedApart) {
  Sketch s;
  const ValueId c = s.conv(0, 3);
  s.sum(s.conv(s.quantised(c, 0.05f), 3), c);
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::copy), 1);
  EXPECT_TRUE(g.nodes[1].epilogue.empty());
}

TEST(Passes, QuantisingStaysBehindSumAndInterpolation) {
  Sketch s;
  const ValueId low = s.conv(s.copy(0, 1), 3);
  const ValueId up = s.copy(low, -1, {}, Sampling::linear);
  s.conv(s.quantised(s.sum(s.conv(0, 3), up), 0.25f), 3);
  const Graph fused = s.optimized();
  for (const Node& n : fused.nodes) {
    if (!n.epilogue.empty() && n.epilogue.back().kind == EpilogueKind::quantise) {
      ASSERT_EQ(n.epilogue.size(), 2u);
      EXPECT_EQ(n.epilogue[0].kind, EpilogueKind::add);
    }
  }
  EXPECT_LE(difference(s.g, fused, 12, 20),
            0.26);  // a sum beside the edge of a step may fall on its other side
}

TEST(Passes, ResBlockIsTwoConvolutions) {
  Sketch s;
  const ValueId x = s.relu(s.conv(0, 4));
  s.conv(s.sum(s.conv(s.relu(s.conv(x, 4)), 4), x), 3);
  const Graph g = s.optimized();
  ASSERT_EQ(g.nodes.size(), 5u);
  EXPECT_EQ(count(g, Op::conv), 4);
  EXPECT_EQ(g.nodes[3].epilogue.at(0).kind, EpilogueKind::add);
  EXPECT_EQ(g.nodes[3].epilogue.at(0).value, g.nodes[1].output);
}

TEST(Passes, EitherOperandOfAnAddMayBeTheConvolution) {
  for (const bool first : {false, true}) {
    Sketch s;
    const ValueId c = s.conv(0, 3);
    first ? s.sum(c, 0) : s.sum(0, c);
    const Graph g = s.optimized();
    ASSERT_EQ(g.nodes.size(), 2u);
    EXPECT_EQ(g.nodes[1].epilogue.at(0).kind, EpilogueKind::add);
    EXPECT_EQ(g.nodes[1].epilogue.at(0).value, g.input);
  }
}

TEST(Passes, FamIsTwoEpilogues) {
  Sketch s;
  const ValueId gate = s.conv(0, 4);
  const ValueId x = s.relu(s.conv(0, 4));  // made after the gate: its convolution must move behind it
  s.conv(s.sum(x, s.conv(s.product(x, gate), 4)), 3);
  const Graph g = s.optimized();
  EXPECT_EQ(g.nodes.size(), 5u);
  EXPECT_EQ(count(g, Op::conv), 4);
}

TEST(Passes, ChainsOfEpiloguesKeepTheirOrder) {
  Sketch s;
  const ValueId a = s.conv(0, 4), b = s.conv(0, 4);
  const ValueId keep = s.sum(a, b);  // both are used twice
  s.conv(s.sum(keep, s.relu(s.sum(s.relu(s.product(s.conv(keep, 4), a)), b))), 3);
  const Graph g = s.optimized();
  bool found = false;
  for (const Node& n : g.nodes) {
    if (n.epilogue.size() < 4) continue;
    found = true;
    const std::vector<EpilogueKind> kinds = {n.epilogue[0].kind, n.epilogue[1].kind, n.epilogue[2].kind,
                                             n.epilogue[3].kind};
    EXPECT_EQ(kinds, (std::vector<EpilogueKind>{EpilogueKind::mul, EpilogueKind::relu, EpilogueKind::add,
                                                EpilogueKind::relu}));
  }
  EXPECT_TRUE(found);
}

TEST(Passes, SquareOfAConvolutionIsNotFused) {
  Sketch s;
  const ValueId c = s.conv(0, 3);
  s.product(c, c);
  EXPECT_EQ(s.optimized().nodes.size(), 3u);
}

TEST(Passes, ResamplingChainsBecomeOneShift) {
  Sketch s;
  const ValueId deep = s.conv(s.conv(0, 4, 3, 2), 4, 3, 2);
  s.conv(s.copy(s.copy(deep, -1), -1), 3);
  const Graph g = s.optimized();
  ASSERT_EQ(count(g, Op::copy), 1);
  EXPECT_EQ(g.nodes[3].parts[0].shift, -2);
}

TEST(Passes, ShrinkingAndGrowingIsNotOneShift) {
  Sketch s;
  s.conv(s.copy(s.copy(0, 1), -1), 3);
  EXPECT_EQ(count(s.optimized(), Op::copy), 2);
}

TEST(Passes, GrowingAndShrinkingIsNothing) {
  Sketch s;
  const ValueId half = s.conv(0, 4, 3, 2);
  s.conv_transpose(s.copy(s.copy(half, -1), 1), 3);
  EXPECT_EQ(count(s.optimized(), Op::copy), 0);
}

TEST(Passes, IdentityNetworkIsItsInput) {
  Sketch s;
  s.copy(s.copy(0, 0), 0);
  const Graph g = s.optimized();
  EXPECT_EQ(g.nodes.size(), 1u);
  EXPECT_EQ(g.output, g.input);
}

TEST(Passes, ConcatFoldsIntoEveryConvolutionThatReadsIt) {
  Sketch s;
  const ValueId c = s.concat({s.conv(0, 2), 0, s.conv(0, 3)});
  s.sum(s.conv(c, 3, 3), s.conv(c, 3, 1));
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::concat), 0);
  EXPECT_EQ(count(g, Op::conv), 4);
  EXPECT_EQ(g.nodes.back().parts.size(), 3u);
}

TEST(Passes, NestedConcatsFold) {
  Sketch s;
  const ValueId inner = s.concat({0, s.conv(0, 2)});
  s.conv(s.concat({inner, 0, inner}), 3, 1);
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::concat), 0);
  EXPECT_EQ(g.nodes.back().parts.size(), 5u);
}

TEST(Passes, ConcatStaysForOtherConsumers) {
  Sketch s;
  s.conv(s.relu(s.concat({0, s.conv(0, 2)})), 3);
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::concat), 1);
}

TEST(Passes, DownsamplingFoldsIntoPointwiseConvolutionsOnly) {
  Sketch s;
  const ValueId c = s.conv(0, 4);
  s.conv_transpose(s.conv(s.copy(c, 1), 4, 1), 3);
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::copy), 0);
  EXPECT_EQ(g.nodes[2].parts.at(0).shift, 1);

  Sketch other;
  const ValueId half = other.copy(other.conv(0, 4), 1);
  other.conv_transpose(other.sum(other.conv(half, 4, 1), other.conv(half, 4, 3)), 3);
  const Graph shared = other.optimized();
  EXPECT_EQ(count(shared, Op::copy), 1);
  for (const Node& n : shared.nodes) {
    if (n.op != Op::conv) continue;
    for (const Part& p : n.parts) EXPECT_EQ(p.shift, 0) << "a copy that a 3x3 convolution needs serves both";
  }
}

// The AFF of MIMO-UNet at level 1: three resolutions, one sum.
TEST(Passes, PointwiseConvolutionOverUpsampledPartsIsASumOfLevels) {
  Sketch s;
  const ValueId a = s.conv(0, 2), b = s.conv(a, 4, 3, 2), c = s.conv(b, 8, 3, 2);
  const ValueId up_c = s.copy(c, -1);
  s.conv(s.relu(s.conv(s.concat({a, s.copy(b, -1), s.copy(up_c, -1)}), 5, 1)), 3);
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::copy), 0);
  ASSERT_EQ(g.nodes.size(), 8u);
  const Node &quarter = g.nodes[4], &half = g.nodes[5], &full = g.nodes[6];
  EXPECT_EQ(g.values[quarter.output].scale, 2);
  EXPECT_EQ(quarter.bias, kNone);
  EXPECT_TRUE(quarter.epilogue.empty());
  EXPECT_EQ(g.values[half.output].scale, 1);
  EXPECT_EQ(half.bias, kNone);
  ASSERT_EQ(half.epilogue.size(), 1u);
  EXPECT_EQ(half.epilogue[0].value, quarter.output);
  EXPECT_EQ(half.epilogue[0].up, 1);
  EXPECT_EQ(g.values[full.output].scale, 0);
  EXPECT_NE(full.bias, kNone);
  ASSERT_EQ(full.epilogue.size(), 2u);
  EXPECT_EQ(full.epilogue[0].value, half.output);
  EXPECT_EQ(full.epilogue[0].up, 1);
  EXPECT_EQ(full.epilogue[1].kind, EpilogueKind::relu);
}

// The same, interpolated: convolving 1x1 and interpolating may be done in either order.
TEST(Passes, PointwiseConvolutionOverInterpolatedPartsIsASumOfLevels) {
  Sketch s;
  const ValueId a = s.conv(0, 2), b = s.conv(a, 4, 3, 2), c = s.conv(b, 8, 3, 2);
  const ValueId up_c = s.linear(c);
  s.conv(s.relu(s.conv(s.concat({a, s.linear(b), s.linear(up_c)}), 5, 1)), 3);
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::copy), 0);
  ASSERT_EQ(g.nodes.size(), 8u);
  const Node &quarter = g.nodes[4], &half = g.nodes[5], &full = g.nodes[6];
  EXPECT_EQ(quarter.bias, kNone);
  EXPECT_EQ(half.bias, kNone);
  EXPECT_NE(full.bias, kNone);
  ASSERT_EQ(half.epilogue.size(), 1u);
  EXPECT_EQ(half.epilogue[0].value, quarter.output);
  EXPECT_EQ(half.epilogue[0].up, 1);
  EXPECT_EQ(half.epilogue[0].sampling, Sampling::linear);
  ASSERT_EQ(full.epilogue.size(), 2u);
  EXPECT_EQ(full.epilogue[0].value, half.output);
  EXPECT_EQ(full.epilogue[0].up, 1);
  EXPECT_EQ(full.epilogue[0].sampling, Sampling::linear);
  EXPECT_EQ(full.epilogue[1].kind, EpilogueKind::relu);
}

TEST(Passes, PartsUpsampledInTwoWaysAreTwoSums) {
  Sketch s;
  const ValueId a = s.conv(0, 2), b = s.conv(a, 4, 3, 2), c = s.conv(b, 8, 3, 2);
  const ValueId up_c = s.linear(c);
  s.relu(s.conv(s.concat({s.copy(b, -1), a, s.linear(up_c), s.copy(up_c, -1)}), 3, 1));
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::copy), 0) << "what is interpolated and then repeated is split twice";
  const Node& last = g.nodes.back();
  ASSERT_EQ(last.epilogue.size(), 3u);
  EXPECT_NE(last.epilogue[0].sampling, last.epilogue[1].sampling);
  EXPECT_EQ(last.epilogue[2].kind, EpilogueKind::relu);
}

// Each convolution takes other parts at half resolution, so that no two slices of the weights are the same.
TEST(Passes, SlicesOfSharedWeightsAreBounded) {
  const auto bytes = [](const Graph& g) {
    std::size_t sum = 0;
    for (const Tensor& tensor : g.tensors) sum += tensor.data.size();
    return sum;
  };
  Sketch s;
  const ValueId a = s.conv(0, 2), low = s.conv(a, 2, 3, 2);
  ValueId total = 0;
  std::int32_t shared = kNone;
  constexpr int kParts = 6, kConvolutions = 1 << kParts;
  for (int mask = 1; mask < kConvolutions - 1; ++mask) {
    std::vector<ValueId> parts;
    for (int bit = 0; bit < kParts; ++bit) parts.push_back((mask >> bit & 1) != 0 ? s.copy(low, -1) : a);
    const ValueId made = s.conv(s.concat(parts), 3, 1);
    Node& node = s.g.nodes.back();
    if (shared == kNone) shared = node.weights;
    node.weights = shared;
    total = s.sum(total, made);
  }
  s.g.output = total;
  const Graph g = s.optimized();
  EXPECT_LE(bytes(g), 2 * bytes(s.g));
  EXPECT_GT(count(g, Op::conv), kConvolutions) << "as many are split as there is room for";
  EXPECT_LE(difference(s.g, g, 8, 12), 1e-5);
}

TEST(Passes, NoReluMovesInFrontOfAnInterpolation) {
  Sketch s;
  const ValueId b = s.conv(0, 4, 3, 2), c = s.conv(b, 8, 3, 2);
  const ValueId mixed = s.relu(s.conv(s.concat({s.linear(b), s.linear(c, 2)}), 3, 1));
  s.conv(s.sum(mixed, 0), 3);
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::conv), 5);
  ASSERT_EQ(count(g, Op::copy), 1) << "the sum is made at level 1/2 and interpolated once";
  for (const Node& n : g.nodes) {
    if (n.op != Op::copy) continue;
    ASSERT_EQ(n.epilogue.size(), 2u);
    EXPECT_EQ(n.epilogue[0].kind, EpilogueKind::relu);
  }
}

TEST(Passes, InterpolationsInARowAreOne) {
  Sketch s;
  const ValueId deep = s.conv(s.conv(0, 4, 3, 2), 4, 3, 2);
  s.conv(s.linear(s.linear(deep)), 3);
  const Graph g = s.optimized();
  ASSERT_EQ(count(g, Op::copy), 1);
  EXPECT_EQ(g.nodes[3].parts[0].shift, -2);
  EXPECT_EQ(g.nodes[3].parts[0].sampling, Sampling::linear);

  Sketch two_ways;
  const ValueId low = two_ways.conv(two_ways.conv(0, 4, 3, 2), 4, 3, 2);
  two_ways.conv(two_ways.linear(two_ways.copy(low, -1)), 3);
  EXPECT_EQ(count(two_ways.optimized(), Op::copy), 2);

  Sketch back;
  const ValueId half = back.conv(0, 4, 3, 2);
  back.conv_transpose(back.copy(back.linear(half), 1), 3);
  EXPECT_EQ(count(back.optimized(), Op::copy), 0) << "every second row is the source's";
}

TEST(Passes, SkippedLevelIsReadByAHigherUp) {
  Sketch s;
  const ValueId deep = s.conv(s.conv(0, 2, 3, 2), 4, 3, 2);
  s.conv(s.concat({0, s.copy(deep, -2)}), 3, 1);
  const Graph g = s.optimized();
  EXPECT_EQ(g.nodes.back().epilogue.at(0).up, 2);
}

TEST(Passes, PointwiseConvolutionOverNothingButUpsampledParts) {
  Sketch s;
  const ValueId b = s.conv(0, 4, 3, 2), c = s.conv(b, 8, 3, 2);
  const ValueId mixed = s.relu(s.conv(s.concat({s.copy(b, -1), s.copy(c, -2)}), 3, 1));
  s.conv(s.sum(mixed, 0), 3);
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::conv), 5);
  ASSERT_EQ(count(g, Op::copy), 1) << "the sum is made at level 1/2 and repeated once";
}

TEST(Passes, ConvolutionsThatShareWeightsShareTheirSlices) {
  Sketch s;
  const ValueId b = s.conv(0, 4, 3, 2);
  const ValueId mixed = s.concat({0, s.copy(b, -1)});
  const ValueId one = s.conv(mixed, 3, 1);
  const ValueId two = s.conv(s.concat({one, s.copy(b, -1)}), 3, 1);
  s.g.nodes.back().weights = s.g.nodes[s.g.nodes.size() - 4].weights;
  (void)two;
  const Graph g = s.optimized();
  EXPECT_EQ(g.tensors.size(), 2u + 2u + 2u) << "first convolution, two slices, two biases";
}

TEST(Passes, UpsampledOperandOfAnAddIsReadInPlace) {
  for (const bool first : {false, true}) {
    Sketch s;
    const ValueId up = s.copy(s.conv(0, 3, 3, 2), -1), c = s.conv(0, 3);
    first ? s.sum(up, c) : s.sum(c, up);
    const Graph g = s.optimized();
    EXPECT_EQ(count(g, Op::copy), 0);
    EXPECT_EQ(g.nodes.back().epilogue.at(0).up, 1);
  }
  Sketch s;
  s.sum(s.linear(s.conv(0, 3, 3, 2)), s.conv(0, 3));
  const Graph g = s.optimized();
  EXPECT_EQ(count(g, Op::copy), 0);
  EXPECT_EQ(g.nodes.back().epilogue.at(0).sampling, Sampling::linear);
}

TEST(Passes, DeadBranchesGo) {
  Sketch s;
  const ValueId c = s.conv(0, 3);
  s.conv(s.conv(c, 7, 3, 2), 9);
  s.g.output = c;
  const Graph g = s.optimized();
  EXPECT_EQ(g.nodes.size(), 2u);
  EXPECT_EQ(g.values.size(), 2u);
  EXPECT_EQ(g.tensors.size(), 2u);
  EXPECT_EQ(g.stride(), 1);
}

TEST(Passes, OptimizingTwiceChangesNothing) {
  Graph g = read(mimo_unet_onnx(8, {1, 2, 1}, 3));
  const std::size_t nodes = g.nodes.size(), tensors = g.tensors.size();
  optimize(g);
  EXPECT_EQ(g.nodes.size(), nodes);
  EXPECT_EQ(g.tensors.size(), tensors);
}

class MimoUnetPasses : public ::testing::TestWithParam<std::tuple<ResizeStyle, Sampling>> {};

TEST_P(MimoUnetPasses, ComesDownToConvolutionsAndTwoSmallImages) {
  const std::string onnx = mimo_unet_onnx(8, {1, 2, 3}, 7, std::get<0>(GetParam()), std::get<1>(GetParam()));
  const Graph plain = read_unfused(onnx), g = read(onnx);
  const int blocks = 2 * (1 + 2 + 3);
  // Each ResBlock 2; six feature convolutions of which two transposed; two SCMs of 5; two FAMs; two AFFs of
  // 2, split into three and two levels; two 1x1 mixers.
  EXPECT_EQ(count(g, Op::conv), 2 * blocks + 4 + 10 + 2 + (3 + 1) + (2 + 1) + 2);
  EXPECT_EQ(count(g, Op::conv_transpose), 2);
  EXPECT_EQ(count(g, Op::input), 1);
  EXPECT_EQ(count(g, Op::concat), 0);
  ASSERT_EQ(count(g, Op::copy), 2);
  std::vector<int> shifts;
  for (const Node& n : g.nodes) {
    if (n.op != Op::copy) continue;
    EXPECT_EQ(n.parts[0].value, g.input);
    EXPECT_TRUE(n.epilogue.empty());
    shifts.push_back(n.parts[0].shift);
  }
  EXPECT_EQ(shifts, (std::vector<int>{1, 2}));
  // The network's last step adds the image.
  const Node& last = g.nodes.back();
  EXPECT_EQ(last.output, g.output);
  ASSERT_EQ(last.epilogue.size(), 1u);
  EXPECT_EQ(last.epilogue[0].kind, EpilogueKind::add);
  EXPECT_EQ(last.epilogue[0].value, g.input);
  EXPECT_EQ(g.stride(), 4);
  EXPECT_EQ(g.metadata.at("preset"), "test");
  EXPECT_LT(difference(plain, g, 16, 12), 1e-6);
  EXPECT_LT(difference(plain, g, 4, 4), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Styles, MimoUnetPasses,
                         ::testing::Combine(::testing::Values(ResizeStyle::scales, ResizeStyle::shape_chain,
                                                              ResizeStyle::gather),
                                            ::testing::Values(Sampling::nearest, Sampling::linear)));

class RandomPasses : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(RandomPasses, KeepTheMeaning) {
  for (std::uint32_t i = 0; i < 50; ++i) {
    const std::uint32_t seed = GetParam() * 50 + i;
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Graph plain = random_graph(seed, 6 + static_cast<int>(seed % 40));
    ASSERT_NO_THROW(validate(plain));
    Graph fused = plain;
    ASSERT_NO_THROW(optimize(fused));
    EXPECT_LE(fused.nodes.size(), 2 * plain.nodes.size());
    ASSERT_LT(difference(plain, fused, 8, 12), 1e-6);
    const ReceptiveField a = receptive_field(plain), b = receptive_field(fused);
    // Fusing may drop a dead branch's share, and never adds any.
    EXPECT_LE(b.before, a.before);
    EXPECT_LE(b.after, a.after);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPasses, ::testing::Range<std::uint32_t>(0, 10));

}  // namespace
}  // namespace mimo_rt::testing
