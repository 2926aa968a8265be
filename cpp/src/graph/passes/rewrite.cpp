#include "graph/passes/rewrite.hpp"

#include <utility>

namespace mimo_rt::passes {

std::vector<std::size_t> makers(const Graph& graph) {
  std::vector<std::size_t> out(graph.values.size(), kNoNode);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) out[graph.nodes[i].output] = i;
  return out;
}

std::vector<std::uint32_t> uses(const Graph& graph) {
  std::vector<std::uint32_t> out(graph.values.size(), 0);
  for (const Node& n : graph.nodes) {
    for (const Part& p : n.parts) ++out[p.value];
    for (const EpilogueOp& e : n.epilogue)
      if (has_operand(e.kind)) ++out[e.value];
  }
  ++out[graph.output];
  return out;
}

bool is_plain_copy(const Node& node) { return node.op == Op::copy && node.epilogue.empty(); }

void remove_nodes(Graph& graph, const std::vector<bool>& marked) {
  std::size_t to = 0;
  for (std::size_t from = 0; from < graph.nodes.size(); ++from) {
    if (marked[from]) continue;
    if (to != from) graph.nodes[to] = std::move(graph.nodes[from]);
    ++to;
  }
  graph.nodes.resize(to);
}

}  // namespace mimo_rt::passes
