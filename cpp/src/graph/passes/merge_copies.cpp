// A copy of a copy reads the first source by the sum of both shifts, and a copy that changes nothing
// disappears.
#include <numeric>

#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {

bool merge_copies(Graph& graph) {
  bool changed = false;
  const std::vector<std::size_t> maker = makers(graph);
  std::vector<ValueId> stands_for(graph.values.size());
  std::iota(stands_for.begin(), stands_for.end(), ValueId{0});
  for (Node& n : graph.nodes) {
    for (Part& p : n.parts) p.value = stands_for[p.value];
    for (EpilogueOp& e : n.epilogue)
      if (has_operand(e.kind)) e.value = stands_for[e.value];
    if (n.op != Op::copy) continue;
    Part& part = n.parts[0];
    const Node& source = graph.nodes[maker[part.value]];
    if (is_plain_copy(source)) {
      const Part inner = source.parts[0];
      // Shrinking and then growing again loses pixels: not one shift. Nor is growing in two ways.
      const bool grows_in_two_ways = inner.shift < 0 && part.shift < 0 && inner.sampling != part.sampling;
      if (!(inner.shift > 0 && part.shift < 0) && !grows_in_two_ways) {
        const std::int32_t shift = inner.shift + part.shift;
        const Sampling grown = part.shift < 0 ? part.sampling : inner.sampling;
        part = {inner.value, shift, shift < 0 ? grown : Sampling::nearest};
        changed = true;
      }
    }
    if (is_plain_copy(n) && part.shift == 0) {
      stands_for[n.output] = part.value;
      changed = true;
    }
  }
  graph.output = stands_for[graph.output];
  // The copies that nothing reads any more go here, so that a second call finds nothing to change.
  const std::vector<std::uint32_t> use = uses(graph);
  std::vector<bool> gone(graph.nodes.size(), false);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    gone[i] = is_plain_copy(graph.nodes[i]) && use[graph.nodes[i].output] == 0;
  remove_nodes(graph, gone);
  return changed;
}

}  // namespace mimo_rt::passes
