// Every kernel of every instruction set against plain loops in double precision: one table of shapes and
// tolerances.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cpu/kernels/kernel_table.hpp"
#include "nets.hpp"
#include "reference/graph_reference.hpp"
#include "run_program.hpp"

namespace mimo_rt::test {
namespace {

using reference::evaluate;

struct Case {
  const char* name;
  int inputs, outputs, kernel, stride;
  bool transposed;
  const char* tactics;
  double tolerance;  // largest absolute error; inputs in [0, 1], outputs up to about 4
};

// Depths up to 128 channels. Direct: a few roundings of a sum of up to 1152 terms. F(4,3): five to ten times
// that, less where multiply and add are one rounding; F(6,3): twice that again.
constexpr Case kCases[] = {
    {"F(4,3) 8->16", 8, 16, 3, 1, false, "f4", 2e-5},
    {"F(4,3) 13->33", 13, 33, 3, 1, false, "f4", 2e-5},
    {"F(4,3) 32->32", 32, 32, 3, 1, false, "f4", 2e-5},
    {"F(4,3) 61->3", 61, 3, 3, 1, false, "f4", 2e-5},
    {"F(4,3) 128->125", 128, 125, 3, 1, false, "f4", 3e-5},
    {"F(6,3) 8->16", 8, 16, 3, 1, false, "fixed", 5e-5},
    {"F(6,3) 13->33", 13, 33, 3, 1, false, "fixed", 5e-5},
    {"F(6,3) 32->32", 32, 32, 3, 1, false, "fixed", 5e-5},
    {"F(6,3) 61->3", 61, 3, 3, 1, false, "fixed", 5e-5},
    {"F(6,3) 128->125", 128, 125, 3, 1, false, "fixed", 6e-5},
    {"direct 3x3 3->32", 3, 32, 3, 1, false, "direct", 2e-6},
    {"direct 3x3 61->13", 61, 13, 3, 1, false, "direct", 4e-6},
    {"direct 1x1 67->35", 67, 35, 1, 1, false, "direct", 2e-6},
    {"direct 5x5 7->9", 7, 9, 5, 1, false, "direct", 4e-6},
    {"direct 3x3 s2 32->64", 32, 64, 3, 2, false, "direct", 4e-6},
    {"direct 4x4 s2 13->5", 13, 5, 4, 2, false, "direct", 4e-6},
    {"transposed 4x4 s2 64->32", 64, 32, 4, 2, true, "direct", 4e-6},
    {"transposed 4x4 s2 13->3", 13, 3, 4, 2, true, "direct", 4e-6},
};

class Kernels : public ::testing::TestWithParam<const char*> {};

TEST_P(Kernels, MatchPlainLoops) {
  for (const Case& c : kCases) {
    for (const auto& [height, width] : {std::pair{2, 2}, {4, 4}, {6, 10}, {10, 34}, {22, 70}}) {
      SCOPED_TRACE(std::string(c.name) + " at " + std::to_string(height) + "x" + std::to_string(width));
      NetBuilder net(c.inputs);
      const ValueId x = net.image();
      const ValueId y = c.transposed
                            ? net.conv_transpose(net.conv({{x, 0}}, c.inputs, 1, 2), c.outputs, {relu()})
                            : net.conv({{x, 0}}, c.outputs, c.kernel, c.stride, {relu()});
      const Graph graph = net.finish(y);
      const std::vector<float> image = random_image(c.inputs, height, width);
      const std::vector<float> expected = evaluate(graph, image, height, width);
      const cpu::Program program(plan_for(graph, GetParam(), c.tactics));
      const std::vector<float> actual = run_program(program, image, height, width, 2);
      ASSERT_EQ(actual.size(), expected.size());
      EXPECT_LE(worst_difference(actual, expected), c.tolerance);
    }
  }
}

// To 8 bits and back in the epilogue of each kernel. A sum beside the edge of a step may fall on its other
// side, which few do; what no sum stands before is exact.
TEST_P(Kernels, QuantiseAsPlainLoops) {
  constexpr float kQuantum = 0.03F;
  for (const char* where : {"copy", "pointwise", "winograd", "transposed"}) {
    SCOPED_TRACE(where);
    const std::string kernel = where;
    constexpr int kHeight = 32, kWidth = 44, kChannels = 13;
    NetBuilder net(kChannels);
    const ValueId x = net.image();
    ValueId y = 0;
    if (kernel == "copy") y = net.copy(x, 0, {quantise(kQuantum)});
    if (kernel == "pointwise") y = net.conv({{x, 0}}, 9, 1, 1, {relu(), quantise(kQuantum)});
    if (kernel == "winograd") y = net.conv({{x, 0}}, kChannels, 3, 1, {plus(x), quantise(kQuantum), relu()});
    if (kernel == "transposed") y = net.conv_transpose(net.copy(x, 1), 9, {quantise(kQuantum)});
    const Graph graph = net.finish(y);
    const std::vector<float> image = random_image(kChannels, kHeight, kWidth);
    const std::vector<float> expected = evaluate(graph, image, kHeight, kWidth);
    const cpu::Program program(plan_for(graph, GetParam()));
    const std::vector<float> actual = run_program(program, image, kHeight, kWidth, 2);
    ASSERT_EQ(actual.size(), expected.size());
    std::size_t moved = 0;
    for (std::size_t i = 0; i < actual.size(); ++i) moved += std::abs(actual[i] - expected[i]) > 1e-6F;
    EXPECT_LE(worst_difference(actual, expected), kQuantum * 1.001);
    EXPECT_LE(moved, kernel == "copy" ? 0 : actual.size() / 500);
  }
}

// Linear enlarging, alone and in the epilogue of each kernel, with the image's last rows and columns, odd
// tails and the rows of several bands.
struct LinearCase {
  const char* name;
  enum { copy, pointwise, winograd, transposed } where;
  int channels, up;
  EpilogueKind step;
  double tolerance;  // as above
};

// Interpolation alone: a few roundings of numbers up to 1. Beside them, the convolution's own error.
constexpr LinearCase kLinearCases[] = {
    {"copy x2", LinearCase::copy, 13, 1, EpilogueKind::add, 3e-7},
    {"copy x4", LinearCase::copy, 33, 2, EpilogueKind::add, 3e-7},
    {"1x1 + x2", LinearCase::pointwise, 35, 1, EpilogueKind::add, 2e-6},
    {"1x1 + x4", LinearCase::pointwise, 9, 2, EpilogueKind::add, 2e-6},
    {"1x1 * x2", LinearCase::pointwise, 16, 1, EpilogueKind::mul, 2e-6},
    {"F(6,3) + x2", LinearCase::winograd, 13, 1, EpilogueKind::add, 5e-5},
    {"F(6,3) * x4", LinearCase::winograd, 33, 2, EpilogueKind::mul, 5e-5},
    {"transposed + x2", LinearCase::transposed, 13, 1, EpilogueKind::add, 4e-6},
};

TEST_P(Kernels, InterpolateAsPlainLoops) {
  for (const LinearCase& c : kLinearCases) {
    for (const auto& [rows, columns] : {std::pair{1, 1}, {1, 7}, {3, 1}, {5, 12}, {31, 35}}) {
      const int height = rows << c.up, width = columns << c.up;
      SCOPED_TRACE(std::string(c.name) + " at " + std::to_string(height) + "x" + std::to_string(width));
      NetBuilder net(c.channels);
      const ValueId x = net.image(), low = net.copy(x, c.up);
      const EpilogueOp step{c.step, low, c.up, Sampling::linear};
      ValueId y = 0;
      switch (c.where) {
        case LinearCase::copy:
          y = net.copy(low, -c.up, {}, Sampling::linear);
          break;
        case LinearCase::pointwise:
          y = net.conv({{x, 0}}, c.channels, 1, 1, {step, relu()});
          break;
        case LinearCase::winograd:
          y = net.conv({{x, 0}}, c.channels, 3, 1, {relu(), step});
          break;
        case LinearCase::transposed:
          y = net.conv_transpose(net.copy(x, 1), c.channels, {step});
          break;
      }
      const Graph graph = net.finish(y);
      const std::vector<float> image = random_image(c.channels, height, width);
      const std::vector<float> expected = evaluate(graph, image, height, width);
      const cpu::Program program(plan_for(graph, GetParam()));
      const std::vector<float> actual = run_program(program, image, height, width, 2);
      ASSERT_EQ(actual.size(), expected.size());
      EXPECT_LE(worst_difference(actual, expected), c.tolerance);
      EXPECT_EQ(run_program(program, image, height, width, 2, program.anchors().unit), actual) << "in bands";
    }
  }
}

// 0 1 2 becomes 0 .5 1 1.5 2 2, to the bit, along both axes.
TEST_P(Kernels, InterpolationIsExactWhereNumbersAllow) {
  NetBuilder net(1);
  const Graph graph = net.finish(net.copy(net.copy(net.image(), 1), -1, {}, Sampling::linear));
  const cpu::Program program(plan_for(graph, GetParam()));
  std::vector<float> image(36);
  for (int y = 0; y < 6; ++y)
    for (int x = 0; x < 6; ++x) image[static_cast<std::size_t>(6 * y + x)] = 5.0F * (y / 2) + x / 2;
  const std::vector<float> made = run_program(program, image, 6, 6);
  const float ramp[] = {0, 0.5F, 1, 1.5F, 2, 2};
  for (int y = 0; y < 6; ++y)
    for (int x = 0; x < 6; ++x)
      EXPECT_EQ(made[static_cast<std::size_t>(6 * y + x)], 5 * ramp[y] + ramp[x]) << y << ", " << x;
}

std::vector<const char*> targets_here() {
  std::vector<const char*> names;
  const cpu::TargetList compiled = cpu::compiled_targets();
  for (std::size_t i = 0; i < compiled.count; ++i) {
    if (cpu::target_runs_here(compiled.names[i])) names.push_back(compiled.names[i]);
  }
  return names;
}

std::string test_name(const ::testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::erase(name, '-');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Targets, Kernels, ::testing::ValuesIn(targets_here()), test_name);

TEST(KernelTable, KnowsWhatItHolds) {
  EXPECT_EQ(cpu::kernel_table("no such set"), nullptr);
  EXPECT_FALSE(cpu::target_runs_here("no such set"));
  ASSERT_FALSE(targets_here().empty());
  for (const char* name : targets_here()) {
    const cpu::KernelTable* table = cpu::kernel_table(name);
    ASSERT_NE(table, nullptr);
    EXPECT_STREQ(table->target, name);
    EXPECT_EQ(table->panel, 2 * table->lanes);
    for (const cpu::KernelTable::Winograd& winograd : table->winograd) EXPECT_NE(winograd.run, nullptr);
    EXPECT_NE(table->direct, nullptr);
    EXPECT_NE(table->copy, nullptr);
    EXPECT_NE(table->concat, nullptr);
  }
}

// Every finite half, and what lies between two of them.
TEST(HalfPrecision, KeepsWhatItHoldsAndRoundsTheRestToNearest) {
  std::vector<std::uint16_t> all;
  for (int bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7c00) != 0x7c00) all.push_back(static_cast<std::uint16_t>(bits));
  }
  // Where it is emulated, minus zero becomes zero: the same number, and the same again ever after.
  std::replace(all.begin(), all.end(), std::uint16_t{0x8000}, std::uint16_t{0});
  ASSERT_EQ(all.size() % 16, 0U);
  const auto count = static_cast<std::ptrdiff_t>(all.size());
  for (const char* name : targets_here()) {
    SCOPED_TRACE(name);
    const cpu::KernelTable& table = *cpu::kernel_table(name);
    std::vector<float> wide(all.size());
    std::vector<std::uint16_t> again(all.size());
    table.widen(all.data(), wide.data(), count);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const int exponent = all[i] >> 10 & 31, fraction = all[i] & 1023;
      const double value =
          exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
      ASSERT_EQ(wide[i], (all[i] & 0x8000) != 0 ? -value : value) << all[i];
    }
    table.narrow(wide.data(), again.data(), count);
    EXPECT_EQ(again, all);
    for (const float aside : {1.0001F, 0.9999F}) {  // by a tenth of half precision's step
      std::vector<float> near = wide;
      for (float& value : near) value *= aside;
      table.narrow(near.data(), again.data(), count);
      for (std::size_t i = 0; i < all.size(); ++i) {
        if ((all[i] & 0x7fff) < 0x7bff) {
          ASSERT_EQ(again[i], all[i]) << all[i] << " times " << aside;
        }
      }
    }
    // In the middle between two: to the even one.
    std::vector<float> middle(all.size());
    for (std::size_t i = 0; i + 1 < all.size(); ++i) middle[i] = (wide[i] + wide[i + 1]) / 2;
    table.narrow(middle.data(), again.data(), count);
    for (std::size_t i = 0; i + 1 < all.size(); ++i) {
      if (all[i + 1] == all[i] + 1) {
        ASSERT_EQ(again[i], (all[i] & 1) == 0 ? all[i] : all[i + 1]) << all[i];
      }
    }
  }
}

}  // namespace
}  // namespace mimo_rt::test
