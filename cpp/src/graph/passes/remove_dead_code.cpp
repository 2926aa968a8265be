// Drops every node, value and tensor that the output does not need, and numbers the rest in order of making.
#include <utility>

#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {

void remove_dead_code(Graph& graph) {
  std::vector<bool> needed(graph.values.size(), false);
  needed[graph.output] = needed[graph.input] = true;
  std::vector<bool> gone(graph.nodes.size(), false);
  for (std::size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& n = graph.nodes[i];
    gone[i] = !needed[n.output];
    if (gone[i]) continue;
    for (const Part& p : n.parts) needed[p.value] = true;
    for (const EpilogueOp& e : n.epilogue)
      if (has_operand(e.kind)) needed[e.value] = true;
  }
  remove_nodes(graph, gone);

  std::vector<Value> values;
  std::vector<ValueId> new_id(graph.values.size(), 0);
  std::vector<Tensor> tensors;
  std::vector<std::int32_t> new_tensor(graph.tensors.size(), kNone);
  const auto keep = [&](std::int32_t& index) {
    if (index == kNone) return;
    std::int32_t& to = new_tensor[static_cast<std::size_t>(index)];
    if (to == kNone) {
      to = static_cast<std::int32_t>(tensors.size());
      tensors.push_back(std::move(graph.tensors[static_cast<std::size_t>(index)]));
    }
    index = to;
  };
  for (Node& n : graph.nodes) {
    for (Part& p : n.parts) p.value = new_id[p.value];
    for (EpilogueOp& e : n.epilogue) e.value = has_operand(e.kind) ? new_id[e.value] : 0;
    new_id[n.output] = static_cast<ValueId>(values.size());
    values.push_back(std::move(graph.values[n.output]));
    n.output = new_id[n.output];
    keep(n.weights);
    keep(n.bias);
  }
  graph.input = new_id[graph.input];
  graph.output = new_id[graph.output];
  graph.values = std::move(values);
  graph.tensors = std::move(tensors);
}

}  // namespace mimo_rt::passes
