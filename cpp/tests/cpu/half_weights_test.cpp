// Weights in half precision: what they change, what they save, and when they are not taken.
#include "cpu/half_weights.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "cpu/program.hpp"
#include "mimo_rt/engine.hpp"
#include "nets.hpp"
#include "run_program.hpp"

namespace mimo_rt::test {
namespace {

// The plan with weights in half precision, whatever that does to the result.
Plan halved(Plan plan) {
  for (Tactic& tactic : plan.tactics) tactic.kernel = cpu::with_half_weights(tactic.kernel);
  return plan;
}

double root_mean_square(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += d * d;
  }
  return std::sqrt(sum / static_cast<double>(a.size()));
}

// A residual network whose branch has its last layer scaled by `gain` and the one before by 1 / `gain`.
Graph scaled(float gain) {
  NetBuilder net(3);
  const ValueId x = net.image();
  const ValueId a = net.conv({{x, 0}}, 16, 3, 1, {relu()});
  const ValueId b = net.conv({{a, 0}}, 16, 3, 1, {relu()}, false, 1.0F / gain);
  return net.finish(net.conv({{b, 0}}, 3, 3, 1, {plus(x)}, true, 0.1F * gain));
}

class HalfWeights : public testing::TestWithParam<const char*> {};

TEST_P(HalfWeights, ChangeLittleAndSomethingOnEveryTarget) {
  for (const std::string& target : available_targets()) {
    const Plan plan = plan_for(three_levels(13), target, GetParam());
    const cpu::Program whole(plan), half(halved(plan));
    const std::vector<float> image = random_image(3, 52, 40);
    const std::vector<float> expected = run_program(whole, image, 52, 40);
    const std::vector<float> got = run_program(half, image, 52, 40);
    const double size = root_mean_square(expected, std::vector<float>(expected.size()));
    const double error = root_mean_square(got, expected);
    EXPECT_GT(error, 1e-6 * size) << target;
    EXPECT_LT(error, 1e-2 * size) << target;
  }
}

TEST_P(HalfWeights, SameBitsForAnyThreadsBandAndBlock) {
  const std::string target = available_targets().front();
  const Graph graph = three_levels(13);
  const std::vector<float> image = random_image(3, 100, 60);
  const cpu::Program program(halved(plan_for(graph, target, GetParam(), 24)));
  const std::vector<float> expected = run_program(program, image, 100, 60);
  EXPECT_EQ(run_program(program, image, 100, 60, 3, 48), expected);
  const cpu::Program other(halved(plan_for(graph, target, GetParam(), 6)));
  EXPECT_EQ(run_program(other, image, 100, 60, 2), expected);
}

INSTANTIATE_TEST_SUITE_P(Tactics, HalfWeights, testing::Values("fixed", "f4"),
                         [](const auto& given) { return std::string(given.param); });

TEST(TakeHalfWeights, HalvesWhatWinogradLayersTake) {
  const std::string target = available_targets().front();
  Plan plan = plan_for(scaled(1.0F), target);
  const std::size_t before = cpu::Program(plan).packed_bytes();
  ASSERT_TRUE(cpu::take_half_weights(plan));
  // The first layer, of three channels, is a direct one; biases stay as they are.
  EXPECT_LT(cpu::Program(plan).packed_bytes(), 0.6 * static_cast<double>(before));
}

TEST(TakeHalfWeights, LeavesWeightsThatHalfPrecisionCannotHold) {
  const std::string target = available_targets().front();
  for (const float gain : {1e7F, 1e-7F}) {
    Plan plan = plan_for(scaled(gain), target);
    const Plan before = plan;
    EXPECT_FALSE(cpu::take_half_weights(plan)) << gain;
    for (std::size_t n = 0; n < plan.tactics.size(); ++n) {
      EXPECT_EQ(plan.tactics[n].kernel, before.tactics[n].kernel);
    }
  }
}

TEST(TakeHalfWeights, HasNothingToTakeWithoutWinograd) {
  Plan plan = plan_for(three_levels(13), available_targets().front(), "direct");
  EXPECT_FALSE(cpu::take_half_weights(plan));
}

TEST(TakeHalfWeights, MeasuresTheSameEveryTime) {
  const Plan plan = plan_for(three_levels(13), available_targets().front());
  const double error = cpu::difference_on_picture(plan, halved(plan));
  EXPECT_GT(error, 0.0);
  EXPECT_EQ(cpu::difference_on_picture(plan, halved(plan)), error);
  EXPECT_EQ(cpu::difference_on_picture(plan, plan), 0.0);
}

}  // namespace
}  // namespace mimo_rt::test
