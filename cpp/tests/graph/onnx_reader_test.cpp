// What the ONNX reader accepts, with the meaning ONNX gives it, checked on small numbers worked out by hand.
#include <cstdint>
#include <utility>

#include "graph_testing.hpp"

namespace mimo_rt::testing {
namespace {

using Ints = std::vector<std::int64_t>;

// A model of one-channel images: "x" in, "y" out, opset 17.
OnnxModel one_channel(std::int64_t opset = 17) {
  OnnxModel m;
  m.opset = opset;
  m.input("x", {1, 1, -1, -1}).output("y");
  return m;
}

std::vector<float> run(const OnnxModel& m, const std::vector<float>& image, int h, int w) {
  const std::string onnx = m.bytes();
  const std::vector<float> plain = evaluate(read_unfused(onnx), image, h, w);
  const std::vector<float> fused = evaluate(read(onnx), image, h, w);
  EXPECT_EQ(plain.size(), fused.size());
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_NEAR(plain[i], fused[i], 1e-5f);
  return plain;
}

TEST(OnnxReader, ConvIsCorrelationWithZerosAround) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9}))
      .constant(float_tensor("b", {1}, {0.5f}));
  m.node("Conv", {"x", "w", "b"}, {"y"}, {{"pads", Ints{1, 1, 1, 1}}, {"kernel_shape", Ints{3, 3}}});
  // Image 1 2 / 3 4.
  EXPECT_EQ(run(m, {1, 2, 3, 4}, 2, 2), (std::vector<float>{5 + 12 + 24 + 36 + 0.5f, 4 + 10 + 21 + 32 + 0.5f,
                                                            2 + 6 + 15 + 24 + 0.5f, 1 + 4 + 12 + 20 + 0.5f}));
}

TEST(OnnxReader, HalfPrecisionIsComputedInFloat32) {
  OnnxModel m = one_channel();
  m.constant(raw_tensor<std::uint16_t>("w", {1, 1, 1, 1}, kHalf, {0x4200}));  // 3
  m.node("Cast", {"x"}, {"h"}, {{"to", std::int64_t{kHalf}}}).node("Conv", {"h", "w"}, {"c"});
  m.node("Cast", {"c"}, {"y"}, {{"to", std::int64_t{kFloat}}});
  EXPECT_EQ(run(m, {1, 2, 0.1f, -1}, 2, 2), (std::vector<float>{3, 6, 0.1f * 3, -3}));
}

// "x" to 8 bits by scale 0.5 and back, as "q".
OnnxModel quantised() {
  OnnxModel m = one_channel();
  m.constant(float_tensor("s", {}, {0.5f})).constant(raw_tensor<std::int8_t>("z", {}, kInt8, {0}));
  m.node("QuantizeLinear", {"x", "s", "z"}, {"steps"}).node("DequantizeLinear", {"steps", "s", "z"}, {"q"});
  return m;
}

TEST(OnnxReader, QuantisingRoundsHalvesToEvenAndSaturates) {
  OnnxModel m = quantised();
  m.node("Identity", {"q"}, {"y"});
  EXPECT_EQ(run(m, {0.25f, 0.75f, -0.25f, -0.75f, 0.26f, 63.4f, 64, 1e9f, -63.9f, -64.5f, -1e9f, 0}, 3, 4),
            (std::vector<float>{0, 1, 0, -1, 0.5f, 63.5f, 63.5f, 63.5f, -64, -64, -64, 0}));
}

TEST(OnnxReader, WeightsOfEightBitsHaveAScaleForEachOutput) {
  OnnxModel m;
  m.input("x", {1, 1, -1, -1}).output("y");
  m.constant(raw_tensor<std::int8_t>("w8", {2, 1, 1, 1}, kInt8, {-128, 3}))
      .constant(raw_tensor<std::int8_t>("z", {2}, kInt8, {0, 0}))
      .constant(float_tensor("s", {2}, {0.5f, 0.25f}))
      .constant(float_tensor("one", {1, 2, 1, 1}, {1, 100}));
  m.node("DequantizeLinear", {"w8", "s", "z"}, {"w"}, {{"axis", std::int64_t{0}}});
  m.node("Conv", {"x", "w"}, {"both"}).node("Conv", {"both", "one"}, {"y"});
  EXPECT_EQ(run(m, {1, 2, 0, -1}, 2, 2), (std::vector<float>{11, 22, 0, -11}));
}

TEST(OnnxReader, PadsMayLieOnOneSide) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 1, 2, 2}, {1, 10, 100, 1000}));
  m.node("Conv", {"x", "w"}, {"y"}, {{"pads", Ints{0, 1, 1, 0}}});
  // Row y reads rows y and y + 1, column x columns x - 1 and x.
  EXPECT_EQ(run(m, {1, 2, 3, 4}, 2, 2), (std::vector<float>{3010, 4321, 30, 43}));
}

TEST(OnnxReader, AutoPad) {
  for (const auto& [mode, top] : {std::pair{"SAME_UPPER", 0}, std::pair{"SAME_LOWER", 1}}) {
    OnnxModel m = one_channel();
    m.constant(float_tensor("w", {1, 1, 2, 2}, {1, 1, 1, 1}));
    m.node("Conv", {"x", "w"}, {"y"}, {{"auto_pad", std::string(mode)}});
    const Graph g = read_unfused(m.bytes());
    EXPECT_EQ(g.nodes[1].pad_top, top) << mode;
    EXPECT_EQ(g.nodes[1].pad_left, top) << mode;
  }
  for (const auto& [mode, top] : {std::pair{"SAME_UPPER", 0}, std::pair{"SAME_LOWER", 1}}) {
    OnnxModel m = one_channel();
    m.constant(float_tensor("w", {1, 1, 3, 3}, std::vector<float>(9, 1)));
    m.constant(float_tensor("u", {1, 1, 4, 4}, std::vector<float>(16, 1)));
    m.node("Conv", {"x", "w"}, {"h"}, {{"auto_pad", std::string(mode)}, {"strides", Ints{2, 2}}});
    m.node("ConvTranspose", {"h", "u"}, {"y"}, {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}});
    EXPECT_EQ(read_unfused(m.bytes()).nodes[1].pad_top, top) << mode;
  }
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 1, 1, 1}, {2}));
  m.node("Conv", {"x", "w"}, {"y"}, {{"auto_pad", std::string("VALID")}});
  EXPECT_EQ(run(m, {3}, 1, 1), std::vector<float>{6});
}

TEST(OnnxReader, ConvTransposeScatters) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("d", {1, 1, 1, 1}, {1}));
  m.constant(float_tensor("w", {1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9}));
  m.node("Conv", {"x", "d"}, {"h"}, {{"strides", Ints{2, 2}}});
  m.node("ConvTranspose", {"h", "w"}, {"y"},
         {{"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}, {"output_padding", Ints{1, 1}}});
  // One pixel: the kernel from its centre on.
  EXPECT_EQ(run(m, {1, -1, -1, -1}, 2, 2), (std::vector<float>{5, 6, 8, 9}));
}

TEST(OnnxReader, ConvTransposeOfStrideOneIsAFlippedConvolution) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 1, 3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9}));
  m.node("ConvTranspose", {"x", "w"}, {"y"}, {{"pads", Ints{1, 1, 1, 1}}});
  EXPECT_EQ(run(m, {1, 0, 0, 0}, 2, 2), (std::vector<float>{5, 6, 8, 9}));
}

TEST(OnnxReader, ElementwiseAndConcat) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 2, 1, 1}, {10, 1}));
  m.node("Relu", {"x"}, {"r"}).node("Add", {"x", "r"}, {"s"}).node("Mul", {"s", "s"}, {"q"});
  m.node("Concat", {"q", "x"}, {"c"}, {{"axis", std::int64_t{-3}}});
  m.node("Conv", {"c", "w"}, {"y"});
  EXPECT_EQ(run(m, {-2, 3}, 1, 2), (std::vector<float>{40 - 2, 363}));
}

TEST(OnnxReader, IdentityCastAndDropoutChangeNothing) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("ratio", {}, {0.1f}));
  m.node("Identity", {"x"}, {"a"}).node("Cast", {"a"}, {"b"}, {{"to", std::int64_t{1}}});
  m.node("Dropout", {"b", "ratio"}, {"c", "mask"}).node("Relu", {"c"}, {"y"});
  EXPECT_EQ(run(m, {-1, 2}, 1, 2), (std::vector<float>{0, 2}));
}

TEST(OnnxReader, ConstantsMayComeFromNodesAndTypedFields) {
  OnnxModel m = one_channel();
  m.node("Constant", {}, {"w"}, {{"value", typed_float_tensor("", {1, 1, 1, 1}, {3})}});
  m.node("Identity", {"w"}, {"w2"});
  m.constant(raw_tensor<std::uint16_t>("b", {1}, kHalf, {0xC100}));  // -2.5
  m.node("Cast", {"b"}, {"b2"}, {{"to", std::int64_t{1}}});
  m.constant(raw_tensor<std::uint16_t>("b_direct", {1}, kHalf, {0x0001}));  // the smallest half: 2^-24
  m.node("Conv", {"x", "w2", "b"}, {"t"}).node("Conv", {"t", "w", "b_direct"}, {"y"});
  const float tiny = 1.0f / 16777216.0f;
  EXPECT_EQ(run(m, {1, 2.5f / 3}, 1, 2),
            (std::vector<float>{1.5f + tiny, static_cast<float>(3 * (2.5f / 3 * 3.0 - 2.5) + tiny)}));
}

TEST(OnnxReader, ConstantFactorsAndSummandsFoldIntoTheConvolution) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {2, 1, 1, 1}, {1, 2})).constant(float_tensor("v", {1, 2, 1, 1}, {1, 100}));
  m.constant(float_tensor("k", {1, 2, 1, 1}, {3, 4})).constant(float_tensor("a", {2, 1, 1}, {10, 20}));
  m.constant(float_tensor("half", {}, {0.5f}));
  m.node("Conv", {"x", "w"}, {"c"}).node("Mul", {"k", "c"}, {"d"}).node("Add", {"d", "a"}, {"e"});
  m.node("Mul", {"e", "half"}, {"f"}).node("Conv", {"f", "v"}, {"y"});
  EXPECT_EQ(read_unfused(m.bytes()).nodes.size(), 3u);
  // Channels (3 x + 10) / 2 and (8 x + 20) / 2.
  EXPECT_EQ(run(m, {1, 2}, 1, 2), (std::vector<float>{6.5f + 1400, 8 + 1800}));
}

TEST(OnnxReader, FoldingIntoATransposedConvolutionScalesOutputs) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 2, 1, 1}, {1, 2})).constant(float_tensor("k", {2, 1, 1}, {3, 5}));
  m.constant(float_tensor("v", {1, 2, 1, 1}, {1, 100}));
  m.node("ConvTranspose", {"x", "w"}, {"c"}).node("Mul", {"c", "k"}, {"d"}).node("Conv", {"d", "v"}, {"y"});
  EXPECT_EQ(run(m, {1}, 1, 1), std::vector<float>{3 + 1000});
}

TEST(OnnxReader, FoldingLeavesOtherUsersOfTheWeightsAlone) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 1, 1, 1}, {2})).constant(float_tensor("b", {1}, {1}));
  m.constant(float_tensor("ten", {1}, {10}));
  m.node("Conv", {"x", "w", "b"}, {"c"}).node("Mul", {"c", "ten"}, {"d"});
  m.node("Conv", {"d", "w", "b"}, {"y"});
  EXPECT_EQ(run(m, {1}, 1, 1), std::vector<float>{30 * 2 + 1});
}

TEST(OnnxReader, ConstantsBesideOtherConsumersKeepTheirMeaning) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 1, 1, 1}, {2})).constant(float_tensor("ten", {}, {10}));
  m.node("Conv", {"x", "w"}, {"c"}).node("Identity", {"c"}, {"alias"}).node("Mul", {"alias", "ten"}, {"d"});
  m.node("Add", {"d", "c"}, {"y"});
  EXPECT_EQ(run(m, {1}, 1, 1), std::vector<float>{22});
}

TEST(OnnxReader, ImageNormalisationIsAPointwiseConvolution) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("two", {}, {2}));
  m.node("Constant", {}, {"one"}, {{"value_float", -1.0f}});
  m.node("Mul", {"x", "two"}, {"a"}).node("Add", {"a", "one"}, {"y"});
  EXPECT_EQ(run(m, {0, 0.5f, 1, 2}, 2, 2), (std::vector<float>{-1, 0, 1, 3}));
}

// x1/2 and x2 in the ways that sample rows 0, 2, 4 and repeat rows.
struct NearestMode {
  const char* mode;
  const char* rounding;
  bool down, up;
};

class ResizeSampling : public ::testing::TestWithParam<NearestMode> {};

TEST_P(ResizeSampling, IsAcceptedWhereItIsTheSame) {
  const NearestMode p = GetParam();
  for (const bool down : {true, false}) {
    OnnxModel m = one_channel();
    m.constant(float_tensor("half", {4}, {1, 1, 0.5f, 0.5f}))
        .constant(float_tensor("twice", {4}, {1, 1, 2, 2}));
    const std::vector<OnnxAttribute> safe = {{"coordinate_transformation_mode", std::string("asymmetric")},
                                             {"nearest_mode", std::string("floor")}};
    const std::vector<OnnxAttribute> tried = {{"coordinate_transformation_mode", std::string(p.mode)},
                                              {"nearest_mode", std::string(p.rounding)}};
    m.node("Resize", {"x", "", "half"}, {"h"}, down ? tried : safe);
    m.node("Resize", {"h", "", "twice"}, {"y"}, down ? safe : tried);
    if (down ? p.down : p.up) {
      EXPECT_EQ(run(m, {1, 2, 3, 4, 5, 6, 7, 8}, 2, 4), (std::vector<float>{1, 1, 3, 3, 1, 1, 3, 3}));
    } else {
      EXPECT_EQ(error_code([&] { read(m.bytes()); }), "model.unsupported_resize") << (down ? "x1/2" : "x2");
    }
  }
}

// Worked out by hand from ONNX's formulas: asymmetric x1/2 reads 2y exactly and x2 reads y / 2; half_pixel
// x1/2 reads 2y + 1/2 and x2 reads y / 2 - 1/4.
INSTANTIATE_TEST_SUITE_P(Modes, ResizeSampling,
                         ::testing::Values(NearestMode{"asymmetric", "floor", true, true},
                                           NearestMode{"asymmetric", "round_prefer_floor", true, true},
                                           NearestMode{"asymmetric", "ceil", true, false},
                                           NearestMode{"asymmetric", "round_prefer_ceil", true, false},
                                           NearestMode{"half_pixel", "round_prefer_floor", true, true},
                                           NearestMode{"half_pixel", "floor", true, false},
                                           NearestMode{"half_pixel", "round_prefer_ceil", false, true},
                                           NearestMode{"half_pixel", "ceil", false, false},
                                           NearestMode{"pytorch_half_pixel", "round_prefer_floor", true,
                                                       true},
                                           NearestMode{"tf_half_pixel_for_nn", "floor", false, true},
                                           NearestMode{"align_corners", "floor", false, false},
                                           NearestMode{"asymmetric", "odd", false, false}));

TEST(OnnxReader, LinearResizeInterpolatesAndKeepsTheLastPixel) {
  for (const bool by_sizes : {false, true}) {
    OnnxModel m = one_channel();
    m.constant(float_tensor("half", {4}, {1, 1, 0.5f, 0.5f}))
        .constant(float_tensor("twice", {4}, {1, 1, 2, 2}));
    m.node("Resize", {"x", "", "half"}, {"h"},
           {{"coordinate_transformation_mode", std::string("asymmetric")},
            {"nearest_mode", std::string("floor")}});
    m.node("Shape", {"x"}, {"sizes"});
    const std::vector<OnnxAttribute> linear = {{"mode", std::string("linear")},
                                               {"coordinate_transformation_mode", std::string("asymmetric")}};
    m.node("Resize",
           by_sizes ? std::vector<std::string>{"h", "", "", "sizes"}
                    : std::vector<std::string>{"h", "", "twice"},
           {"y"}, linear);
    const std::vector<float> image = {0, 9, 1, 9, 2, 9, 9, 9, 9, 9, 9, 9, 4, 9, 5, 9, 8, 9, 9, 9, 9, 9, 9, 9};
    EXPECT_EQ(run(m, image, 4, 6), (std::vector<float>{0, 0.5f, 1, 1.5f, 2, 2, 2, 2.5f, 3, 4,    5, 5,  //
                                                       4, 4.5f, 5, 6.5f, 8, 8, 4, 4.5f, 5, 6.5f, 8, 8}));
  }
}

// What else "linear" may mean is refused, with a sentence that says what is supported.
TEST(OnnxReader, LinearResizeOfAnotherKindIsRefused) {
  const auto resize = [](std::int64_t opset, const char* kind, std::vector<float> scales, const char* mode,
                         const char* coordinates) {
    OnnxModel m = one_channel(opset);
    m.constant(float_tensor("w", {1, 1, 1, 1}, {2})).constant(float_tensor("scales", {4}, scales));
    m.node("Conv", {"x", "w"}, {"h"}, {{"strides", Ints{2, 2}}});
    std::vector<OnnxAttribute> attributes = {{"mode", std::string(mode)}};
    if (coordinates != nullptr)
      attributes.push_back({"coordinate_transformation_mode", std::string(coordinates)});
    m.node(kind,
           opset < 11 ? std::vector<std::string>{"h", "scales"} : std::vector<std::string>{"h", "", "scales"},
           {"y"}, attributes);
    return m.bytes();
  };
  struct Tried {
    std::int64_t opset;
    const char* kind;
    std::vector<float> scales;
    const char* mode;
    const char* coordinates;
    const char* named;
  };
  const Tried refused[] = {
      {17, "Resize", {1, 1, 2, 2}, "linear", nullptr, "half_pixel"},
      {17, "Resize", {1, 1, 2, 2}, "linear", "half_pixel", "half_pixel"},
      {17, "Resize", {1, 1, 2, 2}, "linear", "pytorch_half_pixel", "pytorch_half_pixel"},
      {17, "Resize", {1, 1, 2, 2}, "linear", "align_corners", "align_corners"},
      {17, "Resize", {1, 1, 0.5f, 0.5f}, "linear", "asymmetric", "1/2"},
      {17, "Resize", {1, 1, 4, 4}, "linear", "asymmetric", "factor of 4"},
      {17, "Resize", {1, 1, 1.5f, 1.5f}, "linear", "asymmetric", "factor of 1.5"},
      {17, "Resize", {1, 1, 1, 2}, "linear", "asymmetric", "different factors"},
      {17, "Resize", {1, 1, 2, 2}, "cubic", "asymmetric", "cubic"},
      {10, "Resize", {1, 1, 2, 2}, "linear", nullptr, "opset_version=17"},
      {9, "Upsample", {1, 1, 2, 2}, "linear", nullptr, "opset_version=17"},
  };
  for (const Tried& t : refused) {
    std::string message;
    EXPECT_EQ(error_code([&] { read(resize(t.opset, t.kind, t.scales, t.mode, t.coordinates)); }, &message),
              "model.unsupported_resize")
        << t.named;
    EXPECT_NE(message.find(t.named), std::string::npos) << message;
  }
  const Graph g = read(resize(17, "Resize", {1, 1, 2, 2}, "linear", "asymmetric"));
  EXPECT_EQ(g.nodes.back().parts[0].sampling, Sampling::linear);
}

TEST(OnnxReader, ResizeOfOldOpsets) {
  OnnxModel ten = one_channel(10);
  ten.constant(float_tensor("half", {4}, {1, 1, 0.5f, 0.5f}))
      .constant(float_tensor("twice", {4}, {1, 1, 2, 2}));
  ten.node("Resize", {"x", "half"}, {"h"}, {{"mode", std::string("nearest")}});
  ten.node("Resize", {"h", "twice"}, {"y"}, {{"mode", std::string("nearest")}});
  EXPECT_EQ(run(ten, {1, 2, 3, 4}, 2, 2), (std::vector<float>{1, 1, 1, 1}));

  OnnxModel nine = one_channel(9);
  nine.constant(float_tensor("half", {4}, {1, 1, 0.5f, 0.5f}))
      .constant(float_tensor("twice", {4}, {1, 1, 2, 2}));
  nine.node("Upsample", {"x", "half"}, {"h"}, {{"mode", std::string("nearest")}});
  nine.node("Upsample", {"h", "twice"}, {"y"}, {{"mode", std::string("nearest")}});
  EXPECT_EQ(run(nine, {1, 2, 3, 4}, 2, 2), (std::vector<float>{1, 1, 1, 1}));
}

const std::vector<OnnxAttribute> kFloorSampling = {
    {"coordinate_transformation_mode", std::string("asymmetric")}, {"nearest_mode", std::string("floor")}};

TEST(OnnxReader, ResizeByConstantSizesOfAFixedImage) {
  OnnxModel m;
  m.input("x", {1, 1, 4, 8}).output("y");
  m.constant(int_tensor("small", {4}, {1, 1, 2, 4})).constant(int_tensor("large", {4}, {1, 1, 4, 8}));
  m.node("Resize", {"x", "", "", "small"}, {"h"}, kFloorSampling);
  m.node("Resize", {"h", "", "", "large"}, {"y"}, kFloorSampling);
  const Graph g = read(m.bytes());
  EXPECT_EQ(g.stride(), 2);
  ASSERT_EQ(g.nodes.size(), 3u);
  EXPECT_EQ(g.nodes[1].parts[0].shift, 1);
}

TEST(OnnxReader, ResizeByAxes) {
  OnnxModel m = one_channel(18);
  m.constant(float_tensor("half", {2}, {0.5f, 0.5f})).constant(float_tensor("twice", {2}, {2, 2}));
  std::vector<OnnxAttribute> attributes = kFloorSampling;
  attributes.push_back({"axes", Ints{2, 3}});
  m.node("Resize", {"x", "", "half"}, {"h"}, attributes)
      .node("Resize", {"h", "", "twice"}, {"y"}, attributes);
  EXPECT_EQ(run(m, {1, 2, 3, 4}, 2, 2), (std::vector<float>{1, 1, 1, 1}));
}

// The upsampled value's size taken from another value's Shape, as decoders do ("like the skip").
TEST(OnnxReader, ResizeToTheSizeOfAnotherValue) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 1, 1, 1}, {2}));
  m.constant(int_tensor("two", {1}, {2}))
      .constant(int_tensor("four", {1}, {4}))
      .constant(int_tensor("zero", {1}, {0}));
  m.constant(int_tensor("list", {1}, {-1})).constant(int_tensor("step", {1}, {1}));
  m.node("Conv", {"x", "w"}, {"h"}, {{"strides", Ints{2, 2}}});
  m.node("Shape", {"x"}, {"plane"}, {{"start", std::int64_t{2}}});
  m.node("Shape", {"h"}, {"shape"});
  m.node("Slice", {"shape", "zero", "two", "zero", "step"}, {"front"});
  m.node("Reshape", {"plane", "list"}, {"plane2"});
  m.node("Concat", {"front", "plane2"}, {"sizes"}, {{"axis", std::int64_t{0}}});
  m.node("Resize", {"h", "", "", "sizes"}, {"y"}, kFloorSampling);
  EXPECT_EQ(run(m, {1, 2, 3, 4}, 2, 2), (std::vector<float>{2, 2, 2, 2}));
}

TEST(OnnxReader, ArithmeticOnShapes) {
  // H -> H * 3 / 6, by integers; W -> floor(W / 2.0), by floats; Squeeze and Unsqueeze on the way.
  OnnxModel m = one_channel();
  m.constant(int_tensor("i2", {}, {2}))
      .constant(int_tensor("i3", {}, {3}))
      .constant(int_tensor("i6", {1}, {6}));
  m.constant(int_tensor("last", {}, {-1}))
      .constant(int_tensor("axis", {1}, {0}))
      .constant(float_tensor("f2", {}, {2}));
  m.constant(int_tensor("ones", {2}, {1, 1})).constant(float_tensor("twice", {4}, {1, 1, 2, 2}));
  m.node("Shape", {"x"}, {"s"}).node("Gather", {"s", "i2"}, {"h"}).node("Gather", {"s", "last"}, {"w"});
  m.node("Mul", {"h", "i3"}, {"h3"}).node("Squeeze", {"i6"}, {"six"}).node("Div", {"h3", "six"}, {"hh"});
  m.node("Cast", {"w"}, {"wf"}, {{"to", std::int64_t{1}}}).node("Div", {"wf", "f2"}, {"w2"});
  m.node("Floor", {"w2"}, {"wd"}).node("Cast", {"wd"}, {"ww"}, {{"to", std::int64_t{7}}});
  m.node("Unsqueeze", {"hh", "axis"}, {"hl"}).node("Unsqueeze", {"ww", "axis"}, {"wl"});
  m.node("Concat", {"ones", "hl", "wl"}, {"sizes"}, {{"axis", std::int64_t{0}}});
  m.node("Resize", {"x", "", "", "sizes"}, {"half"}, kFloorSampling);
  m.node("Resize", {"half", "", "twice"}, {"y"}, kFloorSampling);
  EXPECT_EQ(run(m, {1, 2, 3, 4}, 2, 2), (std::vector<float>{1, 1, 1, 1}));
}

TEST(OnnxReader, SizesRoundedBeyondTheStrideAreRefused) {
  // (H / 4) * 4 is H only for multiples of 4, and this network takes multiples of 2.
  OnnxModel m = one_channel();
  m.constant(int_tensor("four", {1}, {4})).constant(int_tensor("two", {1}, {2}));
  m.constant(int_tensor("end", {1}, {4})).constant(int_tensor("zero", {1}, {0}));
  m.constant(int_tensor("ones", {2}, {1, 1})).constant(float_tensor("w", {1, 1, 2, 2}, {1, 1, 1, 1}));
  m.node("Shape", {"x"}, {"s"}).node("Slice", {"s", "two", "end", "zero"}, {"plane"});
  m.node("Div", {"plane", "four"}, {"q"}).node("Mul", {"q", "four"}, {"p"});
  m.node("Concat", {"ones", "p"}, {"sizes"}, {{"axis", std::int64_t{0}}});
  m.node("Resize", {"x", "", "", "sizes"}, {"same"}, kFloorSampling);
  m.node("Conv", {"same", "w"}, {"h"}, {{"strides", Ints{2, 2}}});
  m.node("ConvTranspose", {"h", "w"}, {"y"}, {{"strides", Ints{2, 2}}});
  EXPECT_EQ(error_code([&] { read(m.bytes()); }), "model.unsupported_resize");
}

TEST(OnnxReader, WeightsListedAmongTheInputsAreNoInputs) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 1, 1, 1}, {2})).input("w", {1, 1, 1, 1});
  m.node("Conv", {"x", "w"}, {"y"});
  EXPECT_EQ(run(m, {3}, 1, 1), std::vector<float>{6});
}

TEST(OnnxReader, KeepsMetadata) {
  OnnxModel m = one_channel();
  m.node("Relu", {"x"}, {"y"}).metadata("preset", "mimo-unet-s").metadata("version", "1");
  const Graph g = read(m.bytes());
  EXPECT_EQ(g.metadata, (std::map<std::string, std::string>{{"preset", "mimo-unet-s"}, {"version", "1"}}));
}

TEST(OnnxReader, SharedWeightsAreStoredOnce) {
  OnnxModel m = one_channel();
  m.constant(float_tensor("w", {1, 1, 3, 3}, std::vector<float>(9, 0.1f)));
  m.node("Conv", {"x", "w"}, {"a"}, {{"pads", Ints{1, 1, 1, 1}}});
  m.node("Conv", {"a", "w"}, {"y"}, {{"pads", Ints{1, 1, 1, 1}}});
  EXPECT_EQ(read(m.bytes()).tensors.size(), 1u);
}

}  // namespace
}  // namespace mimo_rt::testing
