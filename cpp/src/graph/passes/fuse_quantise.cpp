// Quantising behind a node becomes a step of its epilogue, where nothing reads the value as it was before.
#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {

bool fuse_quantise(Graph& graph) { return fuse_epilogue(graph, EpilogueKind::quantise); }

}  // namespace mimo_rt::passes
