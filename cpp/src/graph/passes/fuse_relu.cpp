// A ReLU behind a convolution becomes a step of the convolution's epilogue.
#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {

bool fuse_relu(Graph& graph) { return fuse_epilogue(graph, EpilogueKind::relu); }

}  // namespace mimo_rt::passes
