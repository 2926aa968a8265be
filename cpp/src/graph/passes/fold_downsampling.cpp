// Nearest x1/2 before 1x1 convolutions only: the convolutions read every second row and column themselves.
#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {

bool fold_downsampling(Graph& graph) {
  const std::vector<std::size_t> maker = makers(graph);
  // How many of a value's uses are parts of 1x1 convolutions. A copy that others need too stays: it is there
  // anyway, and reading it is cheaper than reading its source with gaps.
  std::vector<std::uint32_t> pointwise(graph.values.size(), 0);
  const auto is_pointwise = [](const Node& n) {
    return n.op == Op::conv && n.kernel_h == 1 && n.kernel_w == 1;
  };
  for (const Node& n : graph.nodes)
    if (is_pointwise(n))
      for (const Part& p : n.parts) ++pointwise[p.value];
  const std::vector<std::uint32_t> use = uses(graph);
  bool changed = false;
  for (Node& n : graph.nodes) {
    if (!is_pointwise(n)) continue;
    for (Part& p : n.parts) {
      const Node& source = graph.nodes[maker[p.value]];
      if (!is_plain_copy(source) || source.parts[0].shift <= 0 || pointwise[p.value] != use[p.value])
        continue;
      p = {source.parts[0].value, p.shift + source.parts[0].shift};
      changed = true;
    }
  }
  return changed;
}

}  // namespace mimo_rt::passes
