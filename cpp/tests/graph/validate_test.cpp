// Every rule of graph.hpp, broken once: a backend that runs a validated graph may trust all of them.
#include <functional>
#include <limits>

#include "graph/limits.hpp"
#include "graph_testing.hpp"

namespace mimo_rt::testing {
namespace {

// A valid graph that uses every operator: nodes 0 input, 1 conv + epilogue, 2 conv stride 2, 3
// conv_transpose, 4 copy x1/2, 5 1x1 conv over a sampled part, 6 copy x2, 7 concat, 8 conv.
Graph sample() {
  Sketch s;
  const ValueId c = s.conv(0, 4);
  s.g.nodes.back().epilogue = {{EpilogueKind::relu, 0, 0}};
  const ValueId half = s.conv(c, 6, 3, 2);
  const ValueId back = s.conv_transpose(half, 4);
  s.g.nodes.back().epilogue = {{EpilogueKind::add, c, 0}};
  const ValueId small = s.copy(c, 1);
  Node n;
  n.op = Op::conv;
  n.parts = {{small, 0}, {c, 1}};
  n.weights = s.tensor({4, 8, 1, 1});
  const ValueId mixed = s.add(n, 4, 1);
  const ValueId up = s.copy(mixed, -1);
  s.conv(s.concat({back, up}), 3);
  s.g.nodes.back().epilogue = {{EpilogueKind::add, 0, 0}};
  return s.g;
}

struct Break {
  const char* name;
  std::function<void(Graph&)> apply;
};

void PrintTo(const Break& b, std::ostream* out) { *out << b.name; }

class BrokenGraph : public ::testing::TestWithParam<Break> {};

TEST(Validate, AcceptsTheSample) { EXPECT_NO_THROW(validate(sample())); }

TEST_P(BrokenGraph, IsRefused) {
  Graph g = sample();
  GetParam().apply(g);
  EXPECT_EQ(error_code([&] { validate(g); }), "model.invalid_graph");
}

constexpr std::int32_t kHuge = std::numeric_limits<std::int32_t>::max();
constexpr ValueId kNowhere = std::numeric_limits<ValueId>::max();

const Break kBreaks[] = {
    {"NoNodes", [](Graph& g) { g.nodes.clear(); }},
    {"InputNotFirst", [](Graph& g) { std::swap(g.nodes[0], g.nodes[1]); }},
    {"InputOutOfRange", [](Graph& g) { g.input = kNowhere; }},
    {"InputOfAnotherNode", [](Graph& g) { g.input = 1; }},
    {"InputWithParts",
     [](Graph& g) {
       g.nodes[0].parts = {{0, 0}};
     }},
    {"InputWithEpilogue",
     [](Graph& g) {
       g.nodes[0].epilogue = {{EpilogueKind::relu, 0, 0}};
     }},
    {"InputScale", [](Graph& g) { g.values[0].scale = 1; }},
    {"SecondInput", [](Graph& g) { g.nodes[4].op = Op::input, g.nodes[4].parts.clear(); }},
    {"OutputOutOfRange", [](Graph& g) { g.output = kNowhere; }},
    {"ValueWithoutMaker",
     [](Graph& g) {
       g.values.push_back({"x", 1, 0});
     }},
    {"NodeOutputOutOfRange", [](Graph& g) { g.nodes[2].output = kNowhere; }},
    {"ValueMadeTwice", [](Graph& g) { g.nodes[4].output = g.nodes[2].output; }},
    {"UnknownOperator", [](Graph& g) { g.nodes[4].op = static_cast<Op>(9); }},
    {"NoParts", [](Graph& g) { g.nodes[1].parts.clear(); }},
    {"TooManyParts", [](Graph& g) { g.nodes[7].parts.resize(kMaxParts + 1); }},
    {"PartOutOfRange", [](Graph& g) { g.nodes[1].parts[0].value = kNowhere; }},
    {"PartUsedBeforeMade", [](Graph& g) { g.nodes[1].parts[0].value = 8; }},
    {"PartOfItself", [](Graph& g) { g.nodes[1].parts[0].value = g.nodes[1].output; }},
    {"PartShiftOverflows", [](Graph& g) { g.nodes[4].parts[0].shift = kHuge; }},
    {"PartShiftUnderflows", [](Graph& g) { g.nodes[4].parts[0].shift = -kHuge - 1; }},
    {"PartSamplingUnknown", [](Graph& g) { g.nodes[6].parts[0].sampling = static_cast<Sampling>(2); }},
    {"PartInterpolatedInPlace", [](Graph& g) { g.nodes[1].parts[0].sampling = Sampling::linear; }},
    {"PartInterpolatedDown", [](Graph& g) { g.nodes[4].parts[0].sampling = Sampling::linear; }},
    {"PartsDifferInSize", [](Graph& g) { g.nodes[5].parts[0].value = 1; }},
    {"PartLargerThanImage", [](Graph& g) { g.nodes[4].parts[0].shift = -1; }},
    {"ScaleNegative", [](Graph& g) { g.values[1].scale = -1; }},
    {"ScaleHuge", [](Graph& g) { g.values[1].scale = kMaxScale + 1; }},
    {"ChannelsZero", [](Graph& g) { g.values[1].channels = 0; }},
    {"ChannelsHuge", [](Graph& g) { g.values[1].channels = kHuge; }},
    {"ConvUpsampledPart",
     [](Graph& g) {
       g.nodes[5].parts[1] = {5, -1};
     }},
    {"SampledPartUnder3x3", [](Graph& g) { g.nodes[2].parts[0].shift = 1, g.nodes[2].stride = 1; }},
    {"KernelZero", [](Graph& g) { g.nodes[1].kernel_h = 0; }},
    {"KernelHuge", [](Graph& g) { g.nodes[1].kernel_w = kHuge; }},
    {"KernelUnlikeWeights", [](Graph& g) { g.nodes[1].kernel_w = 2; }},
    {"StrideThree", [](Graph& g) { g.nodes[1].stride = 3; }},
    {"StrideZero", [](Graph& g) { g.nodes[1].stride = 0; }},
    {"PadNegative", [](Graph& g) { g.nodes[1].pad_top = -1; }},
    {"PadAsLargeAsKernel", [](Graph& g) { g.nodes[1].pad_left = 3; }},
    {"OutputScaleOfStride2", [](Graph& g) { g.nodes[2].stride = 1; }},
    {"OutputScaleOfTransposed", [](Graph& g) { g.nodes[3].stride = 1; }},
    {"TransposedWithTwoParts",
     [](Graph& g) {
       g.nodes[3].parts.push_back({2, 0});
     }},
    {"TransposedWithShift",
     [](Graph& g) {
       g.nodes[3].parts[0] = {1, 1};
     }},
    {"WeightsMissing", [](Graph& g) { g.nodes[1].weights = kNone; }},
    {"WeightsOutOfRange", [](Graph& g) { g.nodes[1].weights = kHuge; }},
    {"WeightsNegativeIndex", [](Graph& g) { g.nodes[1].weights = -2; }},
    {"WeightsOfOtherShape",
     [](Graph& g) {
       g.tensors[0].shape = {4, 27, 1, 1};
     }},
    {"WeightsOfOtherType", [](Graph& g) { g.tensors[0].dtype = DType::i32; }},
    {"BiasOutOfRange", [](Graph& g) { g.nodes[1].bias = kHuge; }},
    {"BiasOfOtherLength", [](Graph& g) { g.nodes[1].bias = g.nodes[2].bias; }},
    {"BiasNegativeIndex", [](Graph& g) { g.nodes[1].bias = -2; }},
    {"TensorDataShort", [](Graph& g) { g.tensors[0].data.pop_back(); }},
    {"TensorDimNegative",
     [](Graph& g) {
       g.tensors[0].shape = {-4, -3, 3, 3};
     }},
    {"TensorDimOverflows",
     [](Graph& g) {
       g.tensors[0].shape = {std::int64_t{1} << 62, 4, 1, 1};
       g.tensors[0].data.clear();
     }},
    {"TensorTypeUnknown", [](Graph& g) { g.tensors[0].dtype = static_cast<DType>(77); }},
    {"TensorRank", [](Graph& g) { g.tensors[0].shape = {4, 3, 3, 3, 1, 1, 1, 1, 1}; }},
    {"CopyOfTwo",
     [](Graph& g) {
       g.nodes[4].parts.push_back({1, 1});
     }},
    {"CopyWithWeights", [](Graph& g) { g.nodes[4].weights = 0; }},
    {"CopyWithStride", [](Graph& g) { g.nodes[4].stride = 2; }},
    {"CopyChannels", [](Graph& g) { g.values[4].channels = 3; }},
    {"CopyScale", [](Graph& g) { g.nodes[6].parts[0].shift = 0; }},
    {"ConcatChannels", [](Graph& g) { g.nodes[7].parts.pop_back(); }},
    {"ConcatWithShift",
     [](Graph& g) {
       g.nodes[7].parts[1] = {5, -1};
     }},
    {"ConcatWithEpilogue",
     [](Graph& g) {
       g.nodes[7].epilogue = {{EpilogueKind::relu, 0, 0}};
     }},
    {"EpilogueUnknown", [](Graph& g) { g.nodes[1].epilogue[0].kind = static_cast<EpilogueKind>(4); }},
    {"QuantumZero", [](Graph& g) { g.nodes[1].epilogue = {EpilogueOp{EpilogueKind::quantise}}; }},
    {"QuantumInfinite",
     [](Graph& g) {
       g.nodes[1].epilogue = {EpilogueOp{EpilogueKind::quantise}};
       g.nodes[1].epilogue[0].quantum = std::numeric_limits<float>::infinity();
     }},
    {"EpilogueOutOfRange", [](Graph& g) { g.nodes[8].epilogue[0].value = kNowhere; }},
    {"EpilogueOfItself", [](Graph& g) { g.nodes[8].epilogue[0].value = g.nodes[8].output; }},
    {"EpilogueChannels", [](Graph& g) { g.nodes[8].epilogue[0].value = 1; }},
    {"EpilogueSize", [](Graph& g) { g.nodes[3].epilogue[0].value = 4; }},
    {"EpilogueUpNegative", [](Graph& g) { g.nodes[8].epilogue[0].up = -1; }},
    {"EpilogueUpHuge", [](Graph& g) { g.nodes[8].epilogue[0].up = kHuge; }},
    {"EpilogueSamplingUnknown", [](Graph& g) { g.nodes[8].epilogue[0].sampling = static_cast<Sampling>(2); }},
    {"EpilogueInterpolatedInPlace", [](Graph& g) { g.nodes[8].epilogue[0].sampling = Sampling::linear; }},
    {"EpilogueUpWrong", [](Graph& g) { g.nodes[8].epilogue[0].up = 1; }},
};

INSTANTIATE_TEST_SUITE_P(Rules, BrokenGraph, ::testing::ValuesIn(kBreaks),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Validate, AcceptsRandomGraphs) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) EXPECT_NO_THROW(validate(random_graph(seed, 20))) << seed;
}

TEST(Stride, IsTheLargestScale) {
  EXPECT_EQ(sample().stride(), 2);
  EXPECT_EQ(Sketch().g.stride(), 1);
}

}  // namespace
}  // namespace mimo_rt::testing
