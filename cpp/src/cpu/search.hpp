// Numeric tactics by the clock, for who asks for it: then the bits depend on the machine that built the plan,
// and on its mood.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "mimo_rt/plan.hpp"

namespace mimo_rt::cpu {

// The rules (names as `kernel_for` takes them) that a search chooses from, the fixed one first.
std::span<const std::string_view> searched_rules();

// Which rule each node takes: seconds[rule][node] of the best run of each. Another than the first has to be
// faster by more than clocks err.
std::vector<int> fastest(const std::vector<std::vector<double>>& seconds);

// Gives every node of the plan the kernel that was fastest on a picture of a few tiles at every level.
void search_tactics(Plan& plan);

}  // namespace mimo_rt::cpu
