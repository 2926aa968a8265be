// One program a rule, run in turn; the best time of each node decides.
#include "cpu/search.hpp"

#include <algorithm>
#include <memory>
#include <string>

#include "cpu/tactics.hpp"
#include "cpu/trial.hpp"

namespace mimo_rt::cpu {
namespace {

constexpr int kSide = 192;      // whole tiles of 4 and of 6 rows at full, half and quarter size
constexpr int kRounds = 4;      // the first warms caches and pages
constexpr double kGain = 0.97;  // of the fixed rule's time

}  // namespace

std::span<const std::string_view> searched_rules() {
  static constexpr std::string_view kRules[] = {"fixed", "f4", "direct"};
  return kRules;
}

std::vector<int> fastest(const std::vector<std::vector<double>>& seconds) {
  std::vector<int> chosen(seconds.front().size(), 0);
  for (std::size_t n = 0; n < chosen.size(); ++n) {
    double best = kGain * seconds.front()[n];
    for (std::size_t rule = 1; rule < seconds.size(); ++rule) {
      if (seconds[rule][n] >= best) continue;
      best = seconds[rule][n];
      chosen[n] = static_cast<int>(rule);
    }
  }
  return chosen;
}

void search_tactics(Plan& plan) {
  const int stride = plan.graph.stride();
  if (kSide % stride != 0) return;
  const std::span<const std::string_view> rules = searched_rules();
  const std::size_t count = plan.tactics.size();
  std::vector<Plan> plans(rules.size(), plan);
  std::vector<std::unique_ptr<const Program>> programs;
  for (std::size_t rule = 0; rule < rules.size(); ++rule) {
    for (std::size_t n = 0; n < count; ++n) {
      const std::string_view kernel = kernel_for(plan.graph, plan.graph.nodes[n], rules[rule]);
      plans[rule].tactics[n] = {std::string(kernel), block_candidates(kernel).front()};
    }
    programs.push_back(std::make_unique<const Program>(plans[rule]));
  }
  std::vector<std::vector<double>> best(rules.size(), std::vector<double>(count, 1e30));
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t rule = 0; rule < rules.size(); ++rule) {
      const std::vector<double> seconds = run_on_picture(*programs[rule], kSide).nodes;
      for (std::size_t n = 0; n < count; ++n) best[rule][n] = std::min(best[rule][n], seconds[n]);
    }
  }
  const std::vector<int> chosen = fastest(best);
  for (std::size_t n = 0; n < count; ++n) {
    plan.tactics[n] = plans[static_cast<std::size_t>(chosen[n])].tactics[n];
  }
}

}  // namespace mimo_rt::cpu
