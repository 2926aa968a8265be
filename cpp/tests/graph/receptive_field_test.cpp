// The receptive field against hand counts and against what impulses actually reach; multiply-adds against
// hand counts.
#include "graph_testing.hpp"

namespace mimo_rt::testing {
namespace {

void expect_field(const Graph& g, int before, int after) {
  const ReceptiveField f = receptive_field(g);
  EXPECT_EQ(f.before, before);
  EXPECT_EQ(f.after, after);
}

// The field that evaluation shows: for each input pixel of a row (and column) disturbed alone, which outputs
// change. The network is linear in what matters here as long as no difference cancels, which random weights
// see to.
ReceptiveField measured(const Graph& g, int size) {
  ReceptiveField out;
  const int channels = g.values[g.input].channels, middle = size / 2 / g.stride() * g.stride();
  const auto base_image = random_image(channels, size, size);
  const auto base = evaluate_all(g, base_image, size, size)[g.output];
  const int out_channels = g.values[g.output].channels;
  for (const bool rows : {true, false})
    for (int at = middle; at < middle + g.stride(); ++at) {
      auto image = base_image;
      for (int c = 0; c < channels; ++c)
        for (int i = 0; i < size; ++i)
          image[static_cast<std::size_t>((c * size + (rows ? at : i)) * size + (rows ? i : at))] += 1.5f;
      const auto moved = evaluate_all(g, image, size, size)[g.output];
      for (int c = 0; c < out_channels; ++c)
        for (int y = 0; y < size; ++y)
          for (int x = 0; x < size; ++x) {
            const auto i = static_cast<std::size_t>((c * size + y) * size + x);
            if (moved[i] == base[i]) continue;
            const int reach = at - (rows ? y : x);  // the output looks this far
            out.after = std::max(out.after, reach);
            out.before = std::max(out.before, -reach);
          }
    }
  return out;
}

TEST(ReceptiveFieldTest, ConvolutionsAdd) {
  Sketch s;
  s.conv(s.conv(0, 2, 3), 3, 5);
  expect_field(s.g, 3, 3);
}

TEST(ReceptiveFieldTest, IsOneSided) {
  Sketch s;
  s.conv(0, 3, 4);
  s.g.nodes.back().pad_top = s.g.nodes.back().pad_left = 1;
  expect_field(s.g, 1, 2);
  s.g.nodes.back().pad_top = s.g.nodes.back().pad_left = 3;
  expect_field(s.g, 3, 0);
}

TEST(ReceptiveFieldTest, TheLargerAxisCounts) {
  Sketch s;
  s.conv(0, 3, 3);
  Node& n = s.g.nodes.back();
  n.kernel_w = 7;
  n.pad_left = 2;
  n.weights = s.tensor({3, 3, 3, 7});
  validate(s.g);
  expect_field(s.g, 2, 4);
}

TEST(ReceptiveFieldTest, ResamplingDependsOnAlignment) {
  Sketch s;
  s.copy(s.copy(0, 2), -2);
  expect_field(s.g, 3, 0);  // row 4k + 3 reads row 4k
}

TEST(ReceptiveFieldTest, InterpolationLooksOneRowFurther) {
  Sketch s;
  s.linear(s.copy(0, 2), 2);
  expect_field(s.g, 3, 3);  // row 4k + 1 lies between rows 4k and 4k + 4, and row 4k + 3 too
  Sketch twice;
  twice.linear(twice.linear(twice.copy(0, 2)));
  expect_field(twice.g, 3, 3);
  Sketch folded;
  folded.sum(folded.conv(0, 3, 1), folded.linear(folded.copy(0, 1)));
  expect_field(folded.g, 1, 1);
  optimize(folded.g);
  ASSERT_EQ(folded.g.nodes.back().epilogue.at(0).sampling, Sampling::linear);
  expect_field(folded.g, 1, 1);
}

TEST(ReceptiveFieldTest, EpilogueOperandsCount) {
  Sketch s;
  const ValueId wide = s.conv(0, 3, 9);
  const ValueId narrow = s.conv(0, 3, 1);
  s.sum(narrow, wide);
  expect_field(s.g, 4, 4);
  optimize(s.g);
  expect_field(s.g, 4, 4);
}

TEST(ReceptiveFieldTest, DownAndUpByConvolutions) {
  Sketch s;
  s.conv_transpose(s.conv(0, 4, 3, 2), 3, 4);
  // Output row 2i needs half rows i - 1 and i, so input rows 2i - 3 to 2i + 1; row 2i + 1 needs rows 2i - 1
  // to 2i + 3.
  const ReceptiveField f = receptive_field(s.g), seen = measured(s.g, 24);
  EXPECT_EQ(f.before, seen.before);
  EXPECT_EQ(f.after, seen.after);
  expect_field(s.g, 3, 2);
}

TEST(ReceptiveFieldTest, MatchesImpulsesOnRandomGraphs) {
  int compared = 0;
  for (std::uint32_t seed = 1000; seed < 1060; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Graph g = random_graph(seed, 14);
    // A ReLU can hide a pixel's influence, a multiplication by zero too: the bare maps are compared exactly.
    for (Node& n : g.nodes)
      std::erase_if(n.epilogue, [](const EpilogueOp& e) { return e.kind == EpilogueKind::relu; });
    const ReceptiveField f = receptive_field(g);
    if (f.before > 24 || f.after > 24) continue;
    const ReceptiveField seen = measured(g, 72);
    EXPECT_EQ(f.before, seen.before);
    EXPECT_EQ(f.after, seen.after);
    ++compared;
  }
  EXPECT_GT(compared, 30);
}

TEST(ReceptiveFieldTest, OfTheBaseModelRoundsTo244) {
  const std::string onnx = mimo_unet_onnx(4, {8, 8, 8}, 1);
  const Graph plain = read_unfused(onnx), fused = read(onnx);
  for (const Graph* g : {&plain, &fused}) {
    const ReceptiveField f = receptive_field(*g);
    EXPECT_EQ((f.before + 3) / 4 * 4, 244);
    EXPECT_LE(f.after, f.before);
  }
}

TEST(MacsPerPixel, CountsEachResolution) {
  Sketch s;
  s.conv(0, 8, 3);
  EXPECT_DOUBLE_EQ(macs_per_pixel(s.g), 3 * 8 * 9);
  const ValueId half = s.conv(1, 16, 3, 2);
  EXPECT_DOUBLE_EQ(macs_per_pixel(s.g), 3 * 8 * 9 + 8 * 16 * 9 / 4.0);
  s.conv_transpose(half, 4, 4);
  EXPECT_DOUBLE_EQ(macs_per_pixel(s.g), 3 * 8 * 9 + 8 * 16 * 9 / 4.0 + 16 * 4 * 16 / 4.0);
}

// 7 x 32 channels at level 1: 7.2 k multiply-adds a pixel as one convolution, 1.8 k as a sum of parts.
TEST(MacsPerPixel, SplittingTheFusionConvolutionSavesThreeQuarters) {
  Sketch s;
  const ValueId a = s.conv(0, 32, 1), b = s.conv(a, 64, 1, 2), c = s.conv(b, 128, 1, 2);
  const double rest = macs_per_pixel(s.g);
  s.conv(s.concat({a, s.copy(b, -1), s.copy(c, -2)}), 32, 1);
  EXPECT_DOUBLE_EQ(macs_per_pixel(s.g) - rest, 224 * 32);
  optimize(s.g);
  EXPECT_DOUBLE_EQ(macs_per_pixel(s.g) - rest, 32 * (32 + 64 / 4.0 + 128 / 16.0));
}

}  // namespace
}  // namespace mimo_rt::testing
