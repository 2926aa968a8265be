// The list of graph passes, one file each beside this header, and the order in which they run.
#pragma once

#include "mimo_rt/graph.hpp"

namespace mimo_rt {

// Runs every pass on an unfused graph (as the reader makes it: bare convs, copies with one epilogue step,
// concats) and leaves the fused, topologically ordered graph that backends run. Meaning is kept; rounding may
// differ.
void optimize(Graph& graph);

}  // namespace mimo_rt
