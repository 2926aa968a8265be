// Which kernel runs which node, decided here and nowhere else.
//
// Tactics are of two kinds. Numeric ones (which transform, which points, which order of accumulation) follow
// a fixed rule over the layer's shape and precision, are never timed, and so give the same bits from one
// build to the next. Neutral ones (how many tiles one work item takes) change no bit and are timed.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "mimo_rt/graph.hpp"
#include "mimo_rt/plan.hpp"

namespace mimo_rt::cpu {

inline constexpr std::string_view kWinogradF4 = "winograd-f4";
inline constexpr std::string_view kWinogradF6 = "winograd-f6";
inline constexpr std::string_view kWinogradF4Half = "winograd-f4-half";
inline constexpr std::string_view kWinogradF6Half = "winograd-f6-half";
inline constexpr std::string_view kDirect = "direct";
inline constexpr std::string_view kCopy = "copy";
inline constexpr std::string_view kConcat = "concat";
inline constexpr std::string_view kInput = "input";

// The numeric rule. `tactics`: "fixed" is the rule itself; "f4" takes F(4,3) where the rule takes F(6,3),
// slower and with a third of its rounding error; "direct" takes direct convolution everywhere.
std::string_view kernel_for(const Graph& graph, const Node& node, std::string_view tactics = "fixed");

// The kernel that does the same with transformed weights in half precision; `kernel` itself where there is
// none.
std::string_view with_half_weights(std::string_view kernel);

// Work per item to choose from by timing, the default first; a single entry where there is nothing to choose.
std::span<const int> block_candidates(std::string_view kernel);

// By the numeric rule, one a node, with the default work per item.
std::vector<Tactic> tactics_for(const Graph& graph, std::string_view tactics = "fixed");

}  // namespace mimo_rt::cpu
