// Two programs, one picture.
#include "cpu/half_weights.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cpu/tactics.hpp"
#include "cpu/trial.hpp"

namespace mimo_rt::cpu {
namespace {
constexpr int kSide = 96;
}  // namespace

double difference_on_picture(const Plan& a, const Plan& b) {
  if (kSide % a.graph.stride() != 0) return std::numeric_limits<double>::quiet_NaN();
  const std::vector<float> x = run_on_picture(Program(a), kSide).output;
  const std::vector<float> y = run_on_picture(Program(b), kSide).output;
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    sum += d * d;
  }
  const Value& output = a.graph.values[a.graph.output];
  const int side = kSide >> output.scale;
  return std::sqrt(sum / (static_cast<double>(output.channels) * side * side));
}

bool take_half_weights(Plan& plan) {
  Plan half = plan;
  bool any = false;
  for (Tactic& tactic : half.tactics) {
    const std::string kernel(with_half_weights(tactic.kernel));
    any = any || kernel != tactic.kernel;
    tactic.kernel = kernel;
  }
  // Not the other way round: an error that is not a number is no small one.
  if (!any || !(difference_on_picture(plan, half) <= kMostHalfWeightsError)) return false;
  plan.tactics = std::move(half.tactics);
  return true;
}

}  // namespace mimo_rt::cpu
