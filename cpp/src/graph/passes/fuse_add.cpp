// A residual add, of either operand that a convolution makes for it alone, becomes a step of that
// convolution's epilogue: the ResBlock's skip, FAM's sum and the final "+ image".
#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {

bool fuse_add(Graph& graph) { return fuse_epilogue(graph, EpilogueKind::add); }

}  // namespace mimo_rt::passes
