// The exact one-sided receptive field: which input rows and columns one output pixel can depend on, found by
// walking the graph backwards from each alignment of the output pixel. Every map on the way is monotone, so
// following the two ends of an interval loses nothing.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "mimo_rt/graph.hpp"

namespace mimo_rt {
namespace {

struct Interval {
  std::int64_t low = 0, high = 0;
};
using Needs = std::vector<std::optional<Interval>>;

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return -floor_div(-a, b); }

Interval resampled(Interval i, std::int32_t shift, Sampling sampling) {
  if (shift >= 0) return {i.low * (std::int64_t{1} << shift), i.high * (std::int64_t{1} << shift)};
  const std::int64_t next = sampling == Sampling::linear ? (std::int64_t{1} << -shift) - 1 : 0;
  return {i.low >> -shift, (i.high + next) >> -shift};
}

void need(Needs& needs, ValueId value, Interval i) {
  auto& n = needs[value];
  n = n ? Interval{std::min(n->low, i.low), std::max(n->high, i.high)} : i;
}

// The input rows (or columns) that output row `at` depends on in an image without edges.
std::optional<Interval> input_needed(const Graph& graph, std::int64_t at, bool rows) {
  Needs needs(graph.values.size());
  needs[graph.output] = Interval{at, at};
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    if (!needs[node->output]) continue;
    const Interval out = *needs[node->output];
    for (const EpilogueOp& e : node->epilogue)
      if (has_operand(e.kind)) need(needs, e.value, resampled(out, -e.up, e.sampling));
    const std::int64_t kernel = rows ? node->kernel_h : node->kernel_w;
    const std::int64_t pad = rows ? node->pad_top : node->pad_left;
    Interval in = out;
    if (node->op == Op::conv) {
      in = {out.low * node->stride - pad, out.high * node->stride + kernel - 1 - pad};
    } else if (node->op == Op::conv_transpose) {
      in = {ceil_div(out.low + pad - (kernel - 1), node->stride), floor_div(out.high + pad, node->stride)};
    }
    for (const Part& p : node->parts) need(needs, p.value, resampled(in, p.shift, p.sampling));
  }
  return needs[graph.input];
}

}  // namespace

ReceptiveField receptive_field(const Graph& graph) {
  std::int64_t before = 0, after = 0;
  for (const bool rows : {true, false}) {
    for (std::int64_t at = 0; at < graph.stride(); ++at) {
      const auto in = input_needed(graph, at, rows);
      if (!in) continue;
      // The output has the input's scale, or a coarser one: compare in input pixels.
      const std::int64_t y = at << graph.values[graph.output].scale;
      before = std::max(before, y - in->low);
      after = std::max(after, in->high - y);
    }
  }
  const std::int64_t most = std::numeric_limits<std::int32_t>::max();
  return {static_cast<std::int32_t>(std::min(before, most)),
          static_cast<std::int32_t>(std::min(after, most))};
}

}  // namespace mimo_rt
