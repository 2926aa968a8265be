// Counts the multiply-adds of a graph's convolutions, computed directly, and the values that a node moves,
// for one pixel of the input.
#include <cmath>

#include "mimo_rt/graph.hpp"

namespace mimo_rt {

double macs_per_pixel(const Graph& graph, const Node& n) {
  if (n.op != Op::conv && n.op != Op::conv_transpose) return 0;
  double channels = 0;
  for (const Part& p : n.parts) channels += graph.values[p.value].channels;
  const Value& out = graph.values[n.output];
  // A convolution does its kernel once an output pixel, a transposed one once an input pixel.
  const std::int32_t scale = n.op == Op::conv ? out.scale : graph.values[n.parts.at(0).value].scale;
  return std::ldexp(channels * out.channels * n.kernel_h * n.kernel_w, -2 * scale);
}

double macs_per_pixel(const Graph& graph) {
  double total = 0;
  for (const Node& n : graph.nodes) total += macs_per_pixel(graph, n);
  return total;
}

double values_per_pixel(const Graph& graph, const Node& node) {
  const auto size = [&](ValueId id) {
    const Value& value = graph.values[id];
    return std::ldexp(static_cast<double>(value.channels), -2 * value.scale);
  };
  double total = size(node.output);
  for (const Part& part : node.parts) total += size(part.value);
  for (const EpilogueOp& step : node.epilogue) {
    if (has_operand(step.kind)) total += size(step.value);
  }
  return total;
}

}  // namespace mimo_rt
