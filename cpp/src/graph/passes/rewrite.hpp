// What the passes share: who makes a value, how often it is used, and dropping nodes that were merged away.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mimo_rt/graph.hpp"

namespace mimo_rt::passes {

inline constexpr std::size_t kNoNode = static_cast<std::size_t>(-1);

// Index of the node that makes each value; kNoNode where none does.
std::vector<std::size_t> makers(const Graph& graph);

// How often each value is read by parts and epilogues, plus one for the graph's output.
std::vector<std::uint32_t> uses(const Graph& graph);

// True for a node that only resamples: a copy without epilogue.
bool is_plain_copy(const Node& node);

// Removes the nodes that are marked, keeping the order of the others.
void remove_nodes(Graph& graph, const std::vector<bool>& marked);

// The passes, one file each; all but the last return whether they changed anything. Each keeps nodes in an
// order in which values are made before they are used.
bool merge_copies(Graph& graph);
bool fuse_relu(Graph& graph);
bool fuse_add(Graph& graph);
bool fuse_mul(Graph& graph);
bool fuse_quantise(Graph& graph);
bool fold_concat(Graph& graph);
bool fold_downsampling(Graph& graph);
bool fold_upsampled_operand(Graph& graph);
bool split_pointwise(Graph& graph);
void remove_dead_code(Graph& graph);

// Moves a copy that carries an epilogue beginning with `kind` into the node that makes its operand (or, for
// add and mul, its other operand), where nothing else reads that. What fuse_relu, fuse_add, fuse_mul and
// fuse_quantise do.
bool fuse_epilogue(Graph& graph, EpilogueKind kind);

}  // namespace mimo_rt::passes
