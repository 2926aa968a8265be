// The order of the passes: resampling chains first, then what convolutions read, then what they write, until
// nothing changes; dead code before (so that unused branches do not count as consumers) and after.
#include "graph/passes/passes.hpp"

#include "graph/passes/rewrite.hpp"

namespace mimo_rt {

void optimize(Graph& graph) {
  using namespace passes;
  for (bool changed = true; changed;) {
    remove_dead_code(graph);
    changed = merge_copies(graph);
    changed |= fold_concat(graph);
    remove_dead_code(graph);  // a folded concatenation no longer consumes its parts
    changed |= fold_downsampling(graph);
    changed |= split_pointwise(graph);
    changed |= fold_upsampled_operand(graph);
    remove_dead_code(graph);
    changed |= fuse_relu(graph);
    changed |= fuse_add(graph);
    changed |= fuse_mul(graph);
    changed |= fuse_quantise(graph);
  }
  remove_dead_code(graph);
  validate(graph);
}

}  // namespace mimo_rt
