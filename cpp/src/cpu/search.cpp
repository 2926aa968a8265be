// One program a rule, run in turn; the best time of each node decides.
#include "cpu/search.hpp"

#include <algorithm>
#include <memory>
#include <utility>

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
  if (kSide % plan.graph.stride() != 0) return;
  const std::size_t count = plan.tactics.size();
  std::vector<std::unique_ptr<const Program>> programs;
  for (const std::string_view rule : searched_rules()) {
    Plan tried = plan;
    tried.tactics = tactics_for(plan.graph, rule);
    programs.push_back(std::make_unique<const Program>(std::move(tried)));
  }
  std::vector<std::vector<double>> best(programs.size(), std::vector<double>(count, 1e30));
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t rule = 0; rule < programs.size(); ++rule) {
      const std::vector<double> seconds = run_on_picture(*programs[rule], kSide).nodes;
      for (std::size_t n = 0; n < count; ++n) best[rule][n] = std::min(best[rule][n], seconds[n]);
    }
  }
  const std::vector<int> chosen = fastest(best);
  for (std::size_t n = 0; n < count; ++n) {
    plan.tactics[n] = programs[static_cast<std::size_t>(chosen[n])]->plan().tactics[n];
  }
}

}  // namespace mimo_rt::cpu
