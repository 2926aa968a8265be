// Numeric tactics by the clock.
#include "cpu/search.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cpu/tactics.hpp"
#include "mimo_rt/engine.hpp"
#include "nets.hpp"
#include "run_program.hpp"

namespace mimo_rt::test {
namespace {

TEST(Search, TakesTheFastestButForAHair) {
  EXPECT_EQ(cpu::fastest({{1.0, 1.0, 1.0, 1.0}, {2.0, 0.5, 0.99, 0.6}, {3.0, 0.7, 2.0, 0.4}}),
            (std::vector<int>{0, 1, 0, 2}));
}

TEST(Search, GivesAPlanThatRunsAndComputesTheSame) {
  const std::string target = available_targets().front();
  const Graph graph = three_levels(13);
  Plan plan = plan_for(graph, target);
  cpu::search_tactics(plan);
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const std::span<const std::string_view> rules = cpu::searched_rules();
    EXPECT_TRUE(std::any_of(rules.begin(), rules.end(), [&](std::string_view rule) {
      return plan.tactics[n].kernel == cpu::kernel_for(graph, graph.nodes[n], rule);
    })) << n;
  }
  const std::vector<float> image = random_image(3, 52, 40);
  const std::vector<float> expected =
      run_program(cpu::Program(plan_for(graph, target, "direct")), image, 52, 40);
  const std::vector<float> got = run_program(cpu::Program(plan), image, 52, 40);
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-4F) << i;
}

TEST(Search, LeavesAGraphAloneWhoseStrideDoesNotFit) {
  NetBuilder net(3);
  ValueId x = net.image();
  for (int level = 0; level < 7; ++level) x = net.conv({{x, 0}}, 8, 3, 2, {relu()});
  Plan plan = plan_for(net.finish(x), available_targets().front());
  cpu::search_tactics(plan);
  EXPECT_EQ(plan.tactics.back().kernel, "direct");
}

}  // namespace
}  // namespace mimo_rt::test
