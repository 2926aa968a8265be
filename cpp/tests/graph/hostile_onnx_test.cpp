// Models that are broken, unsupported or hostile: each is refused with its own code and a sentence that names
// the node and says what to do, before memory is taken for it.

#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

#include "graph_testing.hpp"

namespace mimo_rt::testing {
namespace {

using Ints = std::vector<std::int64_t>;

OnnxModel shell() {
  OnnxModel m;
  m.input("x", {1, 3, -1, -1}).output("y");
  return m;
}

std::vector<float> values(std::size_t n) { return std::vector<float>(n, 0.25f); }

// shell() with weights "w" [3, 3, 3, 3] and the attributes of a plain 3x3 convolution changed.
OnnxModel conv_with(std::vector<OnnxAttribute> attributes) {
  OnnxModel m = shell();
  m.constant(float_tensor("w", {3, 3, 3, 3}, values(81)));
  return m.node("Conv", {"x", "w"}, {"y"}, attributes);
}

const OnnxAttribute kSame = {"pads", Ints{1, 1, 1, 1}};

// "x" quantised by this scale and zero point and dequantised by "back", the same unless given.
OnnxModel quantised_with(const OnnxTensor& scale, const OnnxTensor& zero, const char* back = "s") {
  OnnxModel m = shell();
  m.constant(scale).constant(zero).constant(float_tensor("other", {}, {0.5f}));
  return m.node("QuantizeLinear", {"x", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", back, "z"}, {"y"});
}

OnnxModel quantised_with(float scale) {
  return quantised_with(float_tensor("s", {}, {scale}), raw_tensor<std::int8_t>("z", {}, kInt8, {0}));
}

const char* const kQuantization = "model.unsupported_quantization";

// Weights of 8 bits [3, 3, 1, 1] behind a DequantizeLinear.
OnnxModel weights_with(const std::vector<std::int8_t>& data, const std::vector<float>& scales,
                       std::int64_t axis) {
  OnnxModel m = shell();
  m.constant(raw_tensor("w8", {3, 3, 1, 1}, kInt8, data))
      .constant(float_tensor("s", {static_cast<std::int64_t>(scales.size())}, scales));
  m.node("DequantizeLinear", {"w8", "s"}, {"w"}, {{"axis", axis}});
  return m.node("Conv", {"x", "w"}, {"y"});
}

struct Case {
  const char* name;
  const char* code;
  std::function<std::string()> model;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class HostileOnnx : public ::testing::TestWithParam<Case> {};

TEST_P(HostileOnnx, IsRefusedWithItsOwnCode) {
  const std::string onnx = GetParam().model();
  std::string message;
  EXPECT_EQ(error_code([&] { read(onnx); }, &message), GetParam().code) << message;
  EXPECT_GT(message.size(), 30u);
  EXPECT_LT(message.size(), 800u);
  for (const char c : message) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << "only printable characters";
}

std::string huge_name() { return std::string(100000, '\x01'); }

const Case kCases[] = {
    {"Empty", "model.truncated", [] { return std::string(); }},
    {"Text", "model.malformed", [] { return std::string("This is a picture, not a network.\n"); }},
    {"Png", "model.malformed", [] { return std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16); }},
    {"NoGraph", "model.malformed", [] { return std::string("\x08\x08"); }},
    {"TwoGraphs", "model.malformed",
     [] {
       const std::string m = shell().node("Relu", {"x"}, {"y"}).bytes();
       return m + m;
     }},
    {"CutShort", "model.truncated",
     [] {
       const std::string m = conv_with({kSame}).bytes();
       return m.substr(0, m.size() - 1);
     }},
    {"NoOpset", "model.unsupported_opset",
     [] {
       OnnxModel m = shell().node("Relu", {"x"}, {"y"});
       m.opset = 0;
       return m.bytes();
     }},
    {"OldOpset", "model.unsupported_opset",
     [] {
       OnnxModel m = shell().node("Relu", {"x"}, {"y"});
       m.opset = 8;
       return m.bytes();
     }},
    {"FutureOpset", "model.unsupported_opset",
     [] {
       OnnxModel m = shell().node("Relu", {"x"}, {"y"});
       m.opset = 1000;
       return m.bytes();
     }},
    {"NegativeOpset", "model.unsupported_opset",
     [] {
       OnnxModel m = shell().node("Relu", {"x"}, {"y"});
       m.opset = -17;
       return m.bytes();
     }},
    {"UnknownOperator", "model.unsupported_operator",
     [] { return shell().node("LSTM", {"x"}, {"y"}).bytes(); }},
    {"BatchNormalization", "model.unsupported_operator",
     [] { return shell().node("BatchNormalization", {"x"}, {"y"}).bytes(); }},
    {"ForeignDomain", "model.unsupported_operator",
     [] { return shell().node("Relu", {"x"}, {"y"}, {}, "com.example").bytes(); }},
    {"OperatorWithControlCharacters", "model.unsupported_operator",
     [] { return shell().node(huge_name(), {"x"}, {"y"}).bytes(); }},
    {"Sub", "model.unsupported_operator",
     [] {
       return shell().node("Sub", {"x", "x"}, {"y"}).bytes();
     }},
    {"ScaleZero", kQuantization, [] { return quantised_with(0.0f).bytes(); }},
    {"ScaleNegative", kQuantization, [] { return quantised_with(-0.5f).bytes(); }},
    {"ScaleNaN", "model.nonfinite_weights",
     [] { return quantised_with(std::numeric_limits<float>::quiet_NaN()).bytes(); }},
    {"ScaleInfinite", "model.nonfinite_weights",
     [] { return quantised_with(std::numeric_limits<float>::infinity()).bytes(); }},
    {"ZeroPointUnsigned", kQuantization,
     [] {
       return quantised_with(float_tensor("s", {}, {0.5f}), raw_tensor<std::uint8_t>("z", {}, kUint8, {0}))
           .bytes();
     }},
    {"ZeroPointShifted", kQuantization,
     [] {
       return quantised_with(float_tensor("s", {}, {0.5f}), raw_tensor<std::int8_t>("z", {}, kInt8, {7}))
           .bytes();
     }},
    {"ZeroPointMissing", kQuantization,
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("s", {}, {0.5f}));
       return m.node("QuantizeLinear", {"x", "s"}, {"q"}).node("DequantizeLinear", {"q", "s"}, {"y"}).bytes();
     }},
    {"ScalesDiffer", kQuantization,
     [] {
       return quantised_with(float_tensor("s", {}, {0.25f}), raw_tensor<std::int8_t>("z", {}, kInt8, {0}),
                             "other")
           .bytes();
     }},
    {"ScalesInBlocks", kQuantization,
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("s", {}, {0.5f})).constant(raw_tensor<std::int8_t>("z", {}, kInt8, {0}));
       m.node("QuantizeLinear", {"x", "s", "z"}, {"q"}, {{"block_size", std::int64_t{4}}});
       return m.node("DequantizeLinear", {"q", "s", "z"}, {"y"}).bytes();
     }},
    {"WeightScalesTooFew", kQuantization,
     [] {
       return weights_with(std::vector<std::int8_t>(9, 1), {1, 1}, 0).bytes();
     }},
    {"WeightScalesAlongInputs", kQuantization,
     [] {
       return weights_with(std::vector<std::int8_t>(9, 1), {1, 1, 1}, 1).bytes();
     }},
    {"WeightDataTooShort", "model.malformed",
     [] { return weights_with(std::vector<std::int8_t>(8, 1), {1}, 0).bytes(); }},
    {"DuplicateOutput", "model.duplicate_name",
     [] { return shell().node("Relu", {"x"}, {"y"}).node("Relu", {"x"}, {"y"}).bytes(); }},
    {"OutputNamedAsInput", "model.duplicate_name",
     [] { return shell().node("Relu", {"x"}, {"x"}).node("Relu", {"x"}, {"y"}).bytes(); }},
    {"DuplicateConstant", "model.duplicate_name",
     [] {
       return conv_with({kSame}).constant(float_tensor("w", {3, 3, 3, 3}, values(81))).bytes();
     }},
    {"DuplicateAttribute", "model.duplicate_name",
     [] {
       return conv_with({kSame, kSame}).bytes();
     }},
    {"DuplicateMetadata", "model.duplicate_name",
     [] { return conv_with({kSame}).metadata("a", "1").metadata("a", "2").bytes(); }},
    {"MissingTensor", "model.missing_tensor", [] { return shell().node("Relu", {"z"}, {"y"}).bytes(); }},
    {"MissingOutput", "model.missing_tensor", [] { return shell().node("Relu", {"x"}, {"z"}).bytes(); }},
    {"Cycle", "model.unordered_nodes",
     [] {
       return shell()
           .node("Add", {"x", "b"}, {"a"})
           .node("Relu", {"a"}, {"b"})
           .node("Relu", {"b"}, {"y"})
           .bytes();
     }},
    {"SelfCycle", "model.unordered_nodes",
     [] {
       return shell().node("Add", {"x", "y"}, {"y"}).bytes();
     }},
    {"Unordered", "model.unordered_nodes",
     [] { return shell().node("Relu", {"a"}, {"y"}).node("Relu", {"x"}, {"a"}).bytes(); }},
    {"NodeWithoutOutput", "model.malformed", [] { return shell().node("Relu", {"x"}, {}).bytes(); }},
    {"NodeWithoutInput", "model.unsupported_operator",
     [] { return shell().node("Relu", {}, {"y"}).bytes(); }},
    {"AddOfOne", "model.malformed", [] { return shell().node("Add", {"x"}, {"y"}).bytes(); }},
    {"OverflowingDims", "model.bad_shape",
     [] {
       const std::int64_t d = std::int64_t{1} << 32;
       return shell().constant(float_tensor("w", {d, d, d, d}, {})).node("Conv", {"x", "w"}, {"y"}).bytes();
     }},
    {"NegativeDims", "model.bad_shape",
     [] {
       return shell().constant(float_tensor("w", {-3, -3, 3, 3}, values(81))).bytes();
     }},
    {"ZeroDims", "model.bad_shape",
     [] {
       return shell().constant(float_tensor("w", {0, 3, 3, 3}, {})).node("Conv", {"x", "w"}, {"y"}).bytes();
     }},
    {"ShortData", "model.bad_shape",
     [] {
       return shell()
           .constant(float_tensor("w", {3, 3, 3, 3}, values(80)))
           .node("Conv", {"x", "w"}, {"y"}, {kSame})
           .bytes();
     }},
    {"LongData", "model.bad_shape",
     [] {
       return shell()
           .constant(float_tensor("w", {3, 3, 3, 3}, values(82)))
           .node("Conv", {"x", "w"}, {"y"}, {kSame})
           .bytes();
     }},
    {"ShortTypedData", "model.bad_shape",
     [] {
       return shell()
           .constant(typed_float_tensor("w", {3, 3, 3, 3}, values(80)))
           .node("Conv", {"x", "w"}, {"y"}, {kSame})
           .bytes();
     }},
    {"LongTypedData", "model.bad_shape",
     [] {
       return shell()
           .constant(typed_float_tensor("w", {3, 3, 3, 3}, values(82)))
           .node("Conv", {"x", "w"}, {"y"}, {kSame})
           .bytes();
     }},
    {"NoData", "model.bad_shape",
     [] {
       return shell()
           .constant(typed_float_tensor("w", {3, 3, 3, 3}, {}))
           .node("Conv", {"x", "w"}, {"y"}, {kSame})
           .bytes();
     }},
    {"TooManyDims", "model.too_large",
     [] { return shell().constant(float_tensor("w", Ints(1000, 1), {1})).bytes(); }},
    {"WeightsOfRank3", "model.bad_shape",
     [] {
       return shell()
           .constant(float_tensor("w", {3, 3, 3}, values(27)))
           .node("Conv", {"x", "w"}, {"y"})
           .bytes();
     }},
    {"WeightsForOtherChannels", "model.bad_shape",
     [] {
       return shell()
           .constant(float_tensor("w", {3, 4, 1, 1}, values(12)))
           .node("Conv", {"x", "w"}, {"y"})
           .bytes();
     }},
    {"BiasForOtherChannels", "model.bad_shape",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("w", {3, 3, 1, 1}, values(9))).constant(float_tensor("b", {4}, values(4)));
       return m.node("Conv", {"x", "w", "b"}, {"y"}).bytes();
     }},
    {"NaNWeights", "model.nonfinite_weights",
     [] {
       auto v = values(81);
       v[80] = std::numeric_limits<float>::quiet_NaN();
       return shell()
           .constant(float_tensor("w", {3, 3, 3, 3}, v))
           .node("Conv", {"x", "w"}, {"y"}, {kSame})
           .bytes();
     }},
    {"InfiniteTypedWeights", "model.nonfinite_weights",
     [] {
       auto v = values(81);
       v[0] = -std::numeric_limits<float>::infinity();
       return shell()
           .constant(typed_float_tensor("w", {3, 3, 3, 3}, v))
           .node("Conv", {"x", "w"}, {"y"}, {kSame})
           .bytes();
     }},
    {"InfiniteHalfWeights", "model.nonfinite_weights",
     [] {
       OnnxModel m = shell();
       m.constant(raw_tensor<std::uint16_t>("w", {3, 3, 1, 1}, kHalf, std::vector<std::uint16_t>(9, 0x7c00)));
       return m.node("Conv", {"x", "w"}, {"y"}).bytes();
     }},
    {"OverflowInFolding", "model.nonfinite_weights",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("w", {3, 3, 1, 1}, std::vector<float>(9, 1e30f)))
           .constant(float_tensor("k", {}, {1e30f}));
       return m.node("Conv", {"x", "w"}, {"c"}).node("Mul", {"c", "k"}, {"y"}).bytes();
     }},
    {"DoubleWeights", "model.unsupported_tensor",
     [] {
       OnnxModel m = shell();
       m.constant(raw_tensor<double>("w", {3, 3, 1, 1}, kDouble, std::vector<double>(9, 0.1)));
       return m.node("Conv", {"x", "w"}, {"y"}).bytes();
     }},
    {"UnknownElementType", "model.unsupported_tensor",
     [] {
       OnnxModel m = shell();
       m.constant(raw_tensor<float>("w", {3, 3, 1, 1}, 999, values(9)));
       return m.node("Conv", {"x", "w"}, {"y"}).bytes();
     }},
    {"WeightsFromTheImage", "model.unsupported_operator",
     [] {
       return shell().node("Conv", {"x", "x"}, {"y"}).bytes();
     }},
    {"GroupedConv", "model.unsupported_attribute",
     [] {
       return conv_with({kSame, {"group", std::int64_t{3}}}).bytes();
     }},
    {"DilatedConv", "model.unsupported_attribute",
     [] {
       return conv_with({kSame, {"dilations", Ints{2, 2}}}).bytes();
     }},
    {"StrideThree", "model.unsupported_attribute",
     [] {
       return conv_with({kSame, {"strides", Ints{3, 3}}}).bytes();
     }},
    {"UnevenStrides", "model.unsupported_attribute",
     [] {
       return conv_with({kSame, {"strides", Ints{1, 2}}}).bytes();
     }},
    {"ThreeStrides", "model.unsupported_attribute",
     [] {
       return conv_with({kSame, {"strides", Ints{1, 1, 1}}}).bytes();
     }},
    {"NoPadding", "model.unsupported_attribute", [] { return conv_with({}).bytes(); }},
    {"NegativePadding", "model.unsupported_attribute",
     [] {
       return conv_with({{"pads", Ints{-1, -1, 3, 3}}}).bytes();
     }},
    {"HugePadding", "model.unsupported_attribute",
     [] {
       const std::int64_t huge = std::numeric_limits<std::int64_t>::max();
       return conv_with({{"pads", Ints{huge, huge, huge, huge}}}).bytes();
     }},
    {"TwoPads", "model.bad_shape",
     [] {
       return conv_with({{"pads", Ints{1, 1}}}).bytes();
     }},
    {"ForeignKernelShape", "model.bad_shape",
     [] {
       return conv_with({kSame, {"kernel_shape", Ints{5, 5}}}).bytes();
     }},
    {"UnknownAttribute", "model.unsupported_attribute",
     [] {
       return conv_with({kSame, {"surprise", std::int64_t{1}}}).bytes();
     }},
    {"AttributeOfOtherType", "model.unsupported_attribute",
     [] {
       return conv_with({kSame, {"group", std::string("1")}}).bytes();
     }},
    {"UnknownAutoPad", "model.unsupported_attribute",
     [] {
       return conv_with({{"auto_pad", std::string("MOST")}}).bytes();
     }},
    {"EndlessAttribute", "model.too_large",
     [] {
       return conv_with({{"pads", Ints(100000, 1)}}).bytes();
     }},
    {"EndlessInputs", "model.too_large",
     [] { return shell().node("Concat", std::vector<std::string>(1000, "x"), {"y"}).bytes(); }},
    {"EndlessNodes", "model.too_large",
     [] {
       OnnxModel m = shell();
       for (int i = 0; i < 10000; ++i) m.node("Relu", {"x"}, {std::to_string(i)});
       return m.bytes();
     }},
    {"EndlessEdges", "model.too_large",
     [] {
       OnnxModel m = shell();
       for (int i = 0; i < 1000; ++i)
         m.node("Concat", std::vector<std::string>(200, "x"), {std::to_string(i)});
       return m.bytes();
     }},
    {"TooManyChannels", "model.too_large",
     [] {
       OnnxModel m = shell();
       m.node("Concat", std::vector<std::string>(250, "x"), {"a"}, {{"axis", std::int64_t{1}}});
       m.node("Concat", std::vector<std::string>(250, "a"), {"b"}, {{"axis", std::int64_t{1}}});
       return m.node("Relu", {"b"}, {"y"}).bytes();
     }},
    {"TransposedOfOtherSize", "model.unsupported_attribute",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("w", {3, 3, 3, 3}, values(81)));
       return m.node("ConvTranspose", {"x", "w"}, {"y"}, {{"strides", Ints{2, 2}}, kSame}).bytes();
     }},
    {"TransposedBeyondTheImage", "model.unsupported_operator",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("w", {3, 3, 4, 4}, values(144)));
       return m.node("ConvTranspose", {"x", "w"}, {"y"}, {{"strides", Ints{2, 2}}, kSame}).bytes();
     }},
    {"TooDeep", "model.unsupported_operator",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("w", {3, 3, 1, 1}, values(9)));
       std::string at = "x";
       for (int i = 0; i < 40; ++i) {
         const std::string next = numbered("v", i);
         m.node("Conv", {at, "w"}, {next}, {{"strides", Ints{2, 2}}});
         at = next;
       }
       return m.node("Relu", {at}, {"y"}).bytes();
     }},
    {"ConcatOfRows", "model.unsupported_attribute",
     [] {
       return shell().node("Concat", {"x", "x"}, {"y"}, {{"axis", std::int64_t{2}}}).bytes();
     }},
    {"AddOfUnlikeChannels", "model.bad_shape",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("w", {1, 3, 1, 1}, values(3)));
       return m.node("Conv", {"x", "w"}, {"a"}).node("Add", {"x", "a"}, {"y"}).bytes();
     }},
    {"ConstantOfAWholePlane", "model.unsupported_operator",
     [] {
       return shell()
           .constant(float_tensor("k", {1, 3, 2, 2}, values(12)))
           .node("Add", {"x", "k"}, {"y"})
           .bytes();
     }},
    {"ConstantOfWrongChannels", "model.unsupported_operator",
     [] {
       return shell()
           .constant(float_tensor("k", {1, 4, 1, 1}, values(4)))
           .node("Add", {"x", "k"}, {"y"})
           .bytes();
     }},
    {"ConstantOnManyChannels", "model.unsupported_operator",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("w", {32, 3, 1, 1}, values(96))).constant(float_tensor("k", {}, {2}));
       m.constant(float_tensor("v", {3, 32, 1, 1}, values(96)));
       m.node("Conv", {"x", "w"}, {"a"}).node("Relu", {"a"}, {"b"}).node("Mul", {"b", "k"}, {"c"});
       return m.node("Conv", {"c", "v"}, {"y"}).bytes();
     }},
    {"ResizeByThree", "model.unsupported_resize",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("s", {4}, {1, 1, 3, 3}));
       return m
           .node("Resize", {"x", "", "s"}, {"y"},
                 {{"coordinate_transformation_mode", std::string("asymmetric")}})
           .bytes();
     }},
    {"ResizeUneven", "model.unsupported_resize",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("s", {4}, {1, 1, 0.5f, 1}));
       return m
           .node("Resize", {"x", "", "s"}, {"y"},
                 {{"coordinate_transformation_mode", std::string("asymmetric")}})
           .bytes();
     }},
    {"ResizeOfChannels", "model.unsupported_resize",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("s", {4}, {1, 2, 0.5f, 0.5f}));
       return m
           .node("Resize", {"x", "", "s"}, {"y"},
                 {{"coordinate_transformation_mode", std::string("asymmetric")}})
           .bytes();
     }},
    {"ResizeLinear", "model.unsupported_resize",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("s", {4}, {1, 1, 0.5f, 0.5f}));
       return m.node("Resize", {"x", "", "s"}, {"y"}, {{"mode", std::string("linear")}}).bytes();
     }},
    {"ResizeByFeature", "model.unsupported_operator",
     [] {
       return shell().node("Resize", {"x", "", "x"}, {"y"}).bytes();
     }},
    {"ResizeByThreeScales", "model.bad_shape",
     [] {
       return shell()
           .constant(float_tensor("s", {3}, {1, 1, 2}))
           .node("Resize", {"x", "", "s"}, {"y"})
           .bytes();
     }},
    {"ResizeWithoutScales", "model.malformed", [] { return shell().node("Resize", {"x"}, {"y"}).bytes(); }},
    {"ResizeToAConstantSize", "model.unsupported_resize",
     [] {
       OnnxModel m = shell();
       m.constant(int_tensor("s", {4}, {1, 3, 64, 64}));
       return m
           .node("Resize", {"x", "", "", "s"}, {"y"},
                 {{"coordinate_transformation_mode", std::string("asymmetric")}})
           .bytes();
     }},
    {"EndlessScales", "model.unsupported_tensor",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("s", {100000}, values(100000)));
       return m.node("Resize", {"x", "", "s"}, {"y"}).bytes();
     }},
    {"ShapeTimesShape", "model.unsupported_operator",
     [] {
       return shell()
           .node("Shape", {"x"}, {"s"})
           .node("Mul", {"s", "s"}, {"t"})
           .node("Relu", {"x"}, {"y"})
           .bytes();
     }},
    {"ShapeByZero", "model.unsupported_operator",
     [] {
       OnnxModel m = shell().constant(int_tensor("zero", {}, {0}));
       return m.node("Shape", {"x"}, {"s"})
           .node("Div", {"s", "zero"}, {"t"})
           .node("Relu", {"x"}, {"y"})
           .bytes();
     }},
    {"ShapeByThirds", "model.unsupported_operator",
     [] {
       OnnxModel m = shell().constant(int_tensor("three", {}, {3}));
       return m.node("Shape", {"x"}, {"s"})
           .node("Div", {"s", "three"}, {"t"})
           .node("Relu", {"x"}, {"y"})
           .bytes();
     }},
    {"GatherOutside", "model.bad_shape",
     [] {
       OnnxModel m = shell().constant(int_tensor("i", {}, {4}));
       return m.node("Shape", {"x"}, {"s"})
           .node("Gather", {"s", "i"}, {"t"})
           .node("Relu", {"x"}, {"y"})
           .bytes();
     }},
    {"GrowingList", "model.unsupported_operator",
     [] {
       OnnxModel m = shell();
       m.node("Shape", {"x"}, {"s0"});
       for (int i = 0; i < 60; ++i)
         m.node("Concat", {numbered("s", i), numbered("s", i)}, {numbered("s", i + 1)},
                {{"axis", std::int64_t{0}}});
       return m.node("Relu", {"x"}, {"y"}).bytes();
     }},
    {"DropoutInTraining", "model.unsupported_operator",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("r", {}, {0.5f})).constant(raw_tensor<std::uint8_t>("t", {}, 9, {1}));
       return m.node("Dropout", {"x", "r", "t"}, {"y"}).bytes();
     }},
    {"NoInput", "model.inputs", [] { return OnnxModel().output("y").bytes(); }},
    {"TwoInputs", "model.inputs",
     [] {
       return shell().input("z", {1, 3, -1, -1}).node("Relu", {"x"}, {"y"}).bytes();
     }},
    {"InputOfRank3", "model.inputs",
     [] {
       return OnnxModel().input("x", {3, -1, -1}).output("y").bytes();
     }},
    {"InputOfUnknownChannels", "model.inputs",
     [] {
       return OnnxModel().input("x", {1, -1, -1, -1}).output("y").bytes();
     }},
    {"InputOfBatchFour", "model.inputs",
     [] {
       return OnnxModel().input("x", {4, 3, -1, -1}).output("y").bytes();
     }},
    {"InputOfHalves", "model.inputs",
     [] {
       return OnnxModel().input("x", {1, 3, -1, -1}, kHalf).output("y").bytes();
     }},
    {"InputOfNegativeSize", "model.bad_shape",
     [] {
       return OnnxModel().input("x", {1, 3, -7, -1}).output("y").bytes();
     }},
    {"InputOfHugeChannels", "model.inputs",
     [] {
       return OnnxModel().input("x", {1, std::int64_t{1} << 40, -1, -1}).output("y").bytes();
     }},
    {"NoOutput", "model.outputs",
     [] {
       return OnnxModel().input("x", {1, 3, -1, -1}).bytes();
     }},
    {"TwoOutputs", "model.outputs",
     [] { return shell().node("Relu", {"x"}, {"y"}).node("Relu", {"x"}, {"z"}).output("z").bytes(); }},
    {"SmallOutput", "model.outputs",
     [] {
       OnnxModel m = shell();
       m.constant(float_tensor("w", {3, 3, 1, 1}, values(9)));
       return m.node("Conv", {"x", "w"}, {"y"}, {{"strides", Ints{2, 2}}}).bytes();
     }},
    {"OutputOfOtherChannels", "model.outputs",
     [] {
       return shell().node("Concat", {"x", "x"}, {"y"}, {{"axis", std::int64_t{1}}}).bytes();
     }},
    {"ConstantOutput", "model.outputs", [] { return shell().constant(float_tensor("y", {1}, {1})).bytes(); }},
    {"SparseConstant", "model.unsupported_tensor",
     [] { return shell().node("Relu", {"x"}, {"y"}).raw_graph_bytes(std::string("\x7a\x00", 2)).bytes(); }},
    {"NodeOfWrongWireType", "model.malformed",
     [] { return shell().node("Relu", {"x"}, {"y"}).raw_graph_bytes(std::string("\x08\x01", 2)).bytes(); }},
    {"LengthBeyondTheFile", "model.truncated",
     [] { return shell().raw_graph_bytes(std::string("\x2a\xff\xff\xff\xff\x0f", 6)).bytes(); }},
    {"ExternalDataOfBytes", "model.external_data",
     [] {
       OnnxModel m = shell();
       m.constant(external_tensor("w", {3, 3, 1, 1}, {{"location", "w.bin"}}));
       return m.node("Conv", {"x", "w"}, {"y"}).bytes();
     }},
};

INSTANTIATE_TEST_SUITE_P(Cases, HostileOnnx, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(HostileOnnxMessages, NameNodeOperatorAndWhatIsSupported) {
  std::string message;
  error_code([] { read(shell().node("LSTM", {"x"}, {"y"}).bytes()); }, &message);
  for (const char* part : {"node_y", "LSTM", "supported: Conv", "Resize"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
  error_code([] { read(conv_with({kSame, {"group", std::int64_t{3}}}).bytes()); }, &message);
  for (const char* part : {"node_y", "Conv", "group 1"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(HostileOnnxFile, EveryTruncationIsRefused) {
  const std::string onnx = mimo_unet_onnx(4, {1, 1, 1}, 1, ResizeStyle::gather);
  const std::size_t stride = std::max<std::size_t>(1, onnx.size() / 4000);
  for (std::size_t n = 0; n < onnx.size(); n += stride) {
    // The metadata at the end is optional: a file cut right before it is whole.
    const std::string code = error_code([&] { read(onnx.substr(0, n)); });
    EXPECT_TRUE(!code.empty() || n > onnx.size() - 64) << n;
  }
}

// --- external data ---

class ExternalData : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "mimo_rt_external_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    folder_ = root_ / "model";
    std::filesystem::create_directories(folder_ / "deep");
    for (const auto& path : {root_ / "outside.bin", folder_ / "w.bin", folder_ / "deep" / "w.bin"})
      write(path, 16);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  static void write(const std::filesystem::path& path, std::size_t floats) {
    const std::vector<float> v(floats, 2.0f);
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(v.data()),
               static_cast<std::streamsize>(v.size() * sizeof(float)));
  }

  Graph load(const std::vector<std::pair<std::string, std::string>>& pairs) const {
    OnnxModel m = shell();
    m.constant(external_tensor("w", {3, 3, 1, 1}, pairs)).node("Conv", {"x", "w"}, {"y"});
    return read_onnx(reference::as_bytes(m.bytes()), folder_);
  }

  std::string code(const std::vector<std::pair<std::string, std::string>>& pairs) const {
    return error_code([&] { load(pairs); });
  }

  std::filesystem::path root_, folder_;
};

TEST_F(ExternalData, IsReadFromInsideTheFolder) {
  for (const char* where : {"w.bin", "deep/w.bin", "./deep/./w.bin"}) {
    const Graph g = load({{"location", where}, {"offset", "28"}, {"length", "36"}});
    ASSERT_EQ(g.tensors.at(0).data.size(), 36u) << where;
    float v = 0;
    std::memcpy(&v, g.tensors[0].data.data(), sizeof v);
    EXPECT_EQ(v, 2.0f);
  }
}

TEST_F(ExternalData, OutsideTheFolderIsRefused) {
  for (const std::string& where :
       {std::string("../outside.bin"), std::string("deep/../../outside.bin"),
        (root_ / "outside.bin").string(), std::string("/etc/passwd"), std::string("deep"), std::string(""),
        std::string("."), std::string("w.bin/"), std::string("none.bin"), std::string("C:\\w.bin"),
        std::string("w.bin\0x", 7)})
    EXPECT_EQ(code({{"location", where}}), "model.external_data") << where;
  EXPECT_EQ(code({}), "model.external_data");
}

TEST_F(ExternalData, LinksAreRefused) {
  std::filesystem::create_symlink(root_ / "outside.bin", folder_ / "link.bin");
  std::filesystem::create_symlink("w.bin", folder_ / "inner_link.bin");
  std::filesystem::create_directory_symlink(root_, folder_ / "up");
  for (const char* where : {"link.bin", "inner_link.bin", "up/outside.bin"})
    EXPECT_EQ(code({{"location", where}}), "model.external_data") << where;
  std::filesystem::create_hard_link(root_ / "outside.bin", folder_ / "hard.bin");
  std::string message;
  EXPECT_EQ(error_code([&] { load({{"location", "hard.bin"}}); }, &message), "model.external_data");
  EXPECT_NE(message.find("hard link"), std::string::npos);
}

TEST_F(ExternalData, OffsetsAndLengthsAreChecked) {
  EXPECT_EQ(code({{"location", "w.bin"}, {"offset", "32"}}), "model.truncated");
  EXPECT_EQ(code({{"location", "w.bin"}, {"offset", "18446744073709551615"}}), "model.malformed");
  EXPECT_EQ(code({{"location", "w.bin"}, {"offset", "9223372036854775807"}}), "model.truncated");
  EXPECT_EQ(code({{"location", "w.bin"}, {"offset", "-4"}}), "model.malformed");
  EXPECT_EQ(code({{"location", "w.bin"}, {"offset", "four"}}), "model.malformed");
  EXPECT_EQ(code({{"location", "w.bin"}, {"length", "35"}}), "model.bad_shape");
  EXPECT_EQ(code({{"location", "w.bin"}, {"length", ""}}), "model.malformed");
}

TEST_F(ExternalData, OverlappingConstantsCannotMultiplyAFile) {
  write(folder_ / "big.bin", 1 << 16);
  OnnxModel m = shell();
  std::string at = "x";
  for (int i = 0; i < 100; ++i) {
    const std::string w = numbered("w", i);
    m.constant(external_tensor(w, {128, 128, 2, 2}, {{"location", "big.bin"}}));
    if (i == 0) {
      m.constant(float_tensor("first", {128, 3, 1, 1}, values(384))).node("Conv", {"x", "first"}, {"start"});
      at = "start";
    }
    const std::string next = numbered("v", i);
    m.node("Conv", {at, w}, {next}, {{"pads", Ints{0, 0, 1, 1}}});
    at = next;
  }
  m.constant(float_tensor("last", {3, 128, 1, 1}, values(384))).node("Conv", {at, "last"}, {"y"});
  const std::string onnx = m.bytes();
  EXPECT_EQ(error_code([&] { read_onnx(reference::as_bytes(onnx), folder_); }), "model.too_large");
}

}  // namespace
}  // namespace mimo_rt::testing
