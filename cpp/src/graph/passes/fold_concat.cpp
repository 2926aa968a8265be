// A convolution over a concatenation takes the concatenation's parts as its own, and no copy of them is made.
#include "graph/limits.hpp"
#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {
namespace {

constexpr std::size_t kMostParts = 64;  // keeps hostile nests of concatenations small

}  // namespace

static_assert(kMostParts <= kMaxParts);

bool fold_concat(Graph& graph) {
  bool changed = false;
  const std::vector<std::size_t> maker = makers(graph);
  for (Node& n : graph.nodes) {
    if (n.op != Op::conv) continue;
    for (std::size_t i = 0; i < n.parts.size();) {
      const Part part = n.parts[i];
      const Node& source = graph.nodes[maker[part.value]];
      if (source.op != Op::concat || n.parts.size() - 1 + source.parts.size() > kMostParts) {
        ++i;
        continue;
      }
      // Its parts lie as they are under this part's shift; they may be concatenations themselves: look again
      // at i.
      std::vector<Part> inner = source.parts;
      for (Part& p : inner) p.shift = part.shift;
      const auto at = n.parts.erase(n.parts.begin() + static_cast<std::ptrdiff_t>(i));
      n.parts.insert(at, inner.begin(), inner.end());
      changed = true;
    }
  }
  return changed;
}

}  // namespace mimo_rt::passes
