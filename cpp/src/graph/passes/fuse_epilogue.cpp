// The step that the fusing passes share: a copy that only carries an epilogue dissolves into the node before
// it.
#include <iterator>
#include <utility>

#include "graph/limits.hpp"
#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {
namespace {

bool takes_epilogue(const Node& n) {
  return n.op == Op::conv || n.op == Op::conv_transpose || n.op == Op::copy;
}

}  // namespace

bool fuse_epilogue(Graph& graph, EpilogueKind kind) {
  std::vector<std::size_t> maker = makers(graph);
  const std::vector<std::uint32_t> use = uses(graph);
  std::vector<bool> gone(graph.nodes.size(), false);
  bool changed = false;
  // The host of a value's only use, if it can take more steps. Once merged, a host stands where its copy
  // stood.
  const auto host_of = [&](ValueId value, std::size_t steps) {
    if (use[value] != 1) return kNoNode;
    const Node& n = graph.nodes[maker[value]];
    return takes_epilogue(n) && n.epilogue.size() + steps <= kMaxEpilogue ? maker[value] : kNoNode;
  };
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    Node& carrier = graph.nodes[i];
    if (carrier.op != Op::copy || carrier.epilogue.empty() || carrier.epilogue[0].kind != kind) continue;
    const Part part = carrier.parts[0];
    EpilogueOp& first = carrier.epilogue[0];
    std::size_t host = part.shift == 0 ? host_of(part.value, carrier.epilogue.size()) : kNoNode;
    // a + b = b + a: a convolution that makes the other operand may take this one, upsampled or not. A bare
    // copy may not: nothing would be won, and the two could trade places for ever.
    if (host == kNoNode && has_operand(kind) && first.up == 0 && part.shift <= 0) {
      host = host_of(first.value, carrier.epilogue.size());
      if (host != kNoNode && graph.nodes[host].op == Op::copy) host = kNoNode;
      if (host != kNoNode) first = {kind, part.value, -part.shift, part.sampling};
    }
    if (host == kNoNode) continue;
    Node merged = std::move(graph.nodes[host]);
    merged.epilogue.insert(merged.epilogue.end(), carrier.epilogue.begin(), carrier.epilogue.end());
    merged.output = carrier.output;
    carrier = std::move(merged);  // here every operand has been made
    gone[host] = true;
    maker[carrier.output] = i;
    changed = true;
  }
  if (changed) remove_nodes(graph, gone);
  return changed;
}

}  // namespace mimo_rt::passes
