// An epilogue operand that is an upsampled copy is read from the copy's source, by row >> up.
#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {

bool fold_upsampled_operand(Graph& graph) {
  const std::vector<std::size_t> maker = makers(graph);
  bool changed = false;
  for (Node& n : graph.nodes) {
    for (EpilogueOp& e : n.epilogue) {
      if (e.kind == EpilogueKind::relu) continue;
      const Node& source = graph.nodes[maker[e.value]];
      if (!is_plain_copy(source) || source.parts[0].shift >= 0) continue;
      e.up -= source.parts[0].shift;
      e.value = source.parts[0].value;
      changed = true;
    }
  }
  return changed;
}

}  // namespace mimo_rt::passes
