// Whole networks: right against plain loops, and the same bits for any number of threads, band and block.
#include "cpu/executor.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "mimo_rt/engine.hpp"
#include "mimo_rt/error.hpp"
#include "nets.hpp"
#include "reference/graph_reference.hpp"
#include "run_program.hpp"

namespace mimo_rt::test {
namespace {

using reference::evaluate;

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(Executor, MatchesPlainLoopsOnEveryTarget) {
  for (const int width : {8, 13}) {
    for (const Sampling how : {Sampling::nearest, Sampling::linear}) {
      const Graph graph = three_levels(width, 1, how);
      for (const std::string& target : available_targets()) {
        const cpu::Program program(plan_for(graph, target));
        for (const auto& [h, w] : {std::pair{4, 4}, {4, 28}, {36, 8}, {40, 52}}) {
          const std::vector<float> image = random_image(3, h, w);
          EXPECT_LE(worst_difference(run_program(program, image, h, w, 2), evaluate(graph, image, h, w)),
                    2e-5)
              << target << " width " << width << " at " << h << "x" << w;
        }
      }
    }
  }
}

class ExecutorBits : public ::testing::TestWithParam<std::tuple<Sampling, const char*>> {};

TEST_P(ExecutorBits, DependNeitherOnThreadsNorBandNorBlock) {
  const auto& [how, precision] = GetParam();
  const Graph graph = three_levels(9, 1, how);
  const auto program_for = [&, precision = precision](int block) {
    Plan plan = plan_for(graph, available_targets().front(), "fixed", block);
    plan.key.precision = precision;
    return cpu::Program(std::move(plan));
  };
  const cpu::Program program = program_for(0), small_blocks = program_for(1),
                     large_blocks = program_for(1000);
  std::mt19937 random(3);
  std::vector<std::pair<int, int>> sizes{{4, 4}, {4, 200}, {200, 4}, {116, 84}};
  for (int i = 0; i < 6; ++i) sizes.emplace_back(4 * (1 + random() % 40), 4 * (1 + random() % 30));
  for (const auto& [h, w] : sizes) {
    const std::vector<float> image = random_image(3, h, w, 11);
    const std::vector<float> expected = run_program(program, image, h, w, 1, 0);
    for (const int threads : {1, 2, 3, 8}) {
      for (const std::int64_t band : {0, 24, 48, 96}) {
        EXPECT_TRUE(same_bits(expected, run_program(program, image, h, w, threads, band)))
            << h << "x" << w << " threads " << threads << " band " << band;
      }
    }
    EXPECT_TRUE(same_bits(expected, run_program(small_blocks, image, h, w, 2, 0)));
    EXPECT_TRUE(same_bits(expected, run_program(large_blocks, image, h, w, 2, 48)));
  }
}

INSTANTIATE_TEST_SUITE_P(All, ExecutorBits,
                         ::testing::Combine(::testing::Values(Sampling::nearest, Sampling::linear),
                                            ::testing::Values("fp32", "fp16")),
                         [](const auto& info) {
                           const bool linear = std::get<0>(info.param) == Sampling::linear;
                           return (linear ? "linear_" : "nearest_") + std::string(std::get<1>(info.param));
                         });

TEST(Executor, BandsMatchTheWholeFrameOnRandomChains) {
  std::mt19937 random(17);
  for (int trial = 0; trial < 30; ++trial) {
    NetBuilder net(3, static_cast<unsigned>(trial));
    std::vector<std::pair<ValueId, int>> made{{net.image(), 0}};  // value, level
    ValueId last = net.image();
    int level = 0;
    for (int n = 0; n < 12; ++n) {
      switch (random() % 5) {
        case 0:
          last = net.conv({{last, 0}}, 8, 3, 1, {relu()});
          break;
        case 1:
          if (level < 2) {
            last = net.conv({{last, 0}}, 8, 3, 2, {relu()});
            ++level;
          }
          break;
        case 2:
          if (level > 0) {
            last = net.conv_transpose(last, 8, {relu()});
            --level;
          }
          break;
        case 3:
          last = net.conv({{last, 0}}, 8, 1 + 2 * static_cast<int>(random() % 3), 1, {});
          break;
        default:
          // A skip from any earlier value, resampled as it needs.
          {
            const auto [from, from_level] = made[random() % made.size()];
            const bool linear = level < from_level && random() % 2 == 0;
            const ValueId skip =
                net.copy(from, level - from_level, {}, linear ? Sampling::linear : Sampling::nearest);
            last = net.conv({{last, 0}, {skip, 0}}, 8, 1, 1, {relu()});
          }
      }
      made.emplace_back(last, level);
    }
    while (level-- > 0) last = net.conv_transpose(last, 8);
    const Graph graph = net.finish(net.conv({{last, 0}}, 3, 3, 1, {plus(net.image())}));
    const cpu::Program program(plan_for(graph, available_targets().front()));
    const int h = 4 * (1 + static_cast<int>(random() % 30)), w = 4 * (1 + static_cast<int>(random() % 12));
    const std::vector<float> image = random_image(3, h, w);
    const std::vector<float> whole = run_program(program, image, h, w, 2, 0);
    EXPECT_TRUE(same_bits(whole, run_program(program, image, h, w, 2, 24))) << trial << ": " << h << "x" << w;
    EXPECT_LE(worst_difference(whole, evaluate(graph, image, h, w)),
              1e-4 * (1 + worst_difference(whole, std::vector<float>(whole.size(), 0.0F))));
  }
}

TEST(Executor, RunsTheIdentity) {
  NetBuilder net(3);
  const Graph graph = net.finish(net.image());
  const cpu::Program program(plan_for(graph, available_targets().front()));
  const std::vector<float> image = random_image(3, 37, 5);
  for (const std::int64_t band : {0, 1, 8})
    EXPECT_TRUE(same_bits(image, run_program(program, image, 37, 5, 2, band)));
}

TEST(Executor, ReusesItsMemoryBetweenRunsWithoutTraces) {
  const Graph graph = three_levels(8);
  const cpu::Program program(plan_for(graph, available_targets().front()));
  cpu::ThreadPool pool(2);
  cpu::Executor executor(program, pool, 64, 48, 24);
  const auto run = [&](const std::vector<float>& image) {
    std::vector<float> result(image.size());
    const ImageView from{
        reinterpret_cast<const std::byte*>(image.data()), PixelType::f32, 64, 48, 3, 48 * 4, 4, 64 * 48 * 4};
    const MutableImageView to{
        reinterpret_cast<std::byte*>(result.data()), PixelType::f32, 64, 48, 3, 48 * 4, 4, 64 * 48 * 4};
    PlaneSource source(from, program.kernels().lanes);
    PlaneSink sink(to, program.kernels().lanes);
    cpu::Phases phases;
    executor.run(source, sink, {}, phases);
    return result;
  };
  const std::vector<float> a = random_image(3, 64, 48, 1), b = random_image(3, 64, 48, 2);
  const std::vector<float> first = run(a);
  run(b);
  EXPECT_TRUE(same_bits(first, run(a)));
}

// Direct kernels round nothing outside the receptive field, so a changed pixel must leave all other outputs'
// bits alone; and for some alignment the outermost output of the field must change.
class Impulse : public ::testing::TestWithParam<Sampling> {};

TEST_P(Impulse, ConfirmsTheReceptiveField) {
  const Graph graph = three_levels(8, 1, GetParam());
  const ReceptiveField field = receptive_field(graph);
  const cpu::Program program(plan_for(graph, available_targets().front(), "direct"));
  const int h = 160, w = 8;
  const std::vector<float> image = random_image(3, h, w);
  const std::vector<float> expected = run_program(program, image, h, w);
  int before = -1, after = -1;
  for (int y = 76; y < 84; ++y) {
    std::vector<float> changed = image;
    for (int c = 0; c < 3; ++c) {
      for (int x = 0; x < w; ++x) changed[static_cast<std::size_t>((c * h + y) * w + x)] += 40.0F;
    }
    const std::vector<float> actual = run_program(program, changed, h, w);
    for (int out = 0; out < h; ++out) {
      bool differs = false;
      for (int c = 0; c < 3; ++c) {
        const std::size_t at = static_cast<std::size_t>((c * h + out) * w);
        differs = differs ||
                  std::memcmp(&actual[at], &expected[at], static_cast<std::size_t>(w) * sizeof(float)) != 0;
      }
      if (!differs) continue;
      before = std::max(before, out - y);  // output `out` reads `out - y` rows up
      after = std::max(after, y - out);
    }
  }
  EXPECT_EQ(before, field.before);
  EXPECT_EQ(after, field.after);
}

INSTANTIATE_TEST_SUITE_P(Upsampling, Impulse, ::testing::Values(Sampling::nearest, Sampling::linear));

TEST(Program, RefusesWhatItCannotRun) {
  const Graph graph = three_levels(8);
  EXPECT_THROW(cpu::Program(plan_for(graph, "Z80")), BackendError);
  Plan plan = plan_for(graph, available_targets().front());
  plan.tactics[3].kernel = "telepathy";
  EXPECT_THROW(cpu::Program{plan}, PlanError);
  plan = plan_for(graph, available_targets().front());
  for (std::size_t n = 0; n < plan.tactics.size(); ++n) {
    if (plan.graph.nodes[n].stride == 2) plan.tactics[n].kernel = "winograd-f4";
  }
  EXPECT_THROW(cpu::Program{plan}, PlanError);
  plan = plan_for(graph, available_targets().front());
  plan.tactics.pop_back();
  EXPECT_THROW(cpu::Program{plan}, PlanError);
}

TEST(Program, NeutralTacticsFollowTheTimerAndChangeNoBit) {
  const Graph graph = three_levels(16);
  const std::string target = available_targets().front();
  const std::vector<float> image = random_image(3, 44, 60);
  cpu::Program fast_first(plan_for(graph, target)), fast_last(plan_for(graph, target));
  double time = 0;
  fast_first.tune([&](std::string_view, const std::function<void()>&) { return time += 1; });
  fast_last.tune([&](std::string_view, const std::function<void()>&) { return time -= 1; });
  bool differ = false;
  for (std::size_t n = 0; n < fast_first.nodes().size(); ++n) {
    differ = differ || fast_first.nodes()[n].block != fast_last.nodes()[n].block;
    EXPECT_EQ(fast_first.nodes()[n].block, fast_first.plan().tactics[n].block);
  }
  EXPECT_TRUE(differ);
  EXPECT_TRUE(same_bits(run_program(fast_first, image, 44, 60, 2), run_program(fast_last, image, 44, 60, 2)));
}

}  // namespace
}  // namespace mimo_rt::test
