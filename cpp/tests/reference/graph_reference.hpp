// The oracle of the graph and executor tests: evaluates a Graph with plain loops, in double throughout,
// exactly as graph.hpp states the meaning of each field. Slow on purpose; nothing here is shared with what it
// checks.
#pragma once

#include <vector>

#include "mimo_rt/graph.hpp"

namespace mimo_rt::reference {

// `chw` holds the input as [channels][h][w]; h and w are multiples of graph.stride(). Returns the output
// value in the same layout, rounded to float once, at the end. Throws std::invalid_argument where sizes do
// not fit.
std::vector<float> evaluate(const Graph& graph, const std::vector<float>& chw, int h, int w);

// All values of the graph, in double, by ValueId: for finding the first node that differs.
std::vector<std::vector<double>> evaluate_all(const Graph& graph, const std::vector<float>& chw, int h,
                                              int w);

}  // namespace mimo_rt::reference
