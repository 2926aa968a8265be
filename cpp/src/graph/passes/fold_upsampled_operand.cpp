// An epilogue operand that is an upsampled copy is read from the copy's source, sampled as the copy did.
#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {

bool fold_upsampled_operand(Graph& graph) {
  const std::vector<std::size_t> maker = makers(graph);
  bool changed = false;
  for (Node& n : graph.nodes) {
    for (EpilogueOp& e : n.epilogue) {
      if (!has_operand(e.kind)) continue;
      const Node& source = graph.nodes[maker[e.value]];
      if (!is_plain_copy(source) || source.parts[0].shift >= 0) continue;
      const Part& part = source.parts[0];
      if (e.up > 0 && e.sampling != part.sampling) continue;
      e = {e.kind, part.value, e.up - part.shift, part.sampling};
      changed = true;
    }
  }
  return changed;
}

}  // namespace mimo_rt::passes
