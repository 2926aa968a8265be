// FAM's gate, a product with what a convolution makes for it alone, becomes a step of that convolution's
// epilogue.
#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {

bool fuse_mul(Graph& graph) { return fuse_epilogue(graph, EpilogueKind::mul); }

}  // namespace mimo_rt::passes
