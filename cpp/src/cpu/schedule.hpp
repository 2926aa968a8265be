// Which rows every value has at which step, and where they lie: pure arithmetic over the graph, with no
// kernel, pixel or thread in it.
//
// Skewed anchors. A step advances the output by one band. Each value has a row anchor, a constant of the
// graph: the number of its rows that its consumers need before output row 0. At the step that brings the
// output from row e to row e + band, a value brings its own rows from anchor + e/2^scale to anchor + (e +
// band)/2^scale, so every step each layer computes exactly one band of whole tiles and the schedule is
// static. Tiles start at the anchor; anchors depend neither on band nor on threads nor on a memory bound, and
// so no bit of the result does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mimo_rt/graph.hpp"

namespace mimo_rt::cpu {

// Constants of the graph.
struct Anchors {
  std::vector<std::int64_t> anchor;  // of each value, in its own rows
  std::vector<std::int64_t> carry;   // rows that later steps still read, of each value
  std::int64_t lead = 0;             // rows of the image that must be read before output row 0 is due
  std::int64_t unit = 0;             // bands are multiples of this: whole tiles at every level
  int tile = 1;                      // rows of the highest tile
  int hang = 0;                      // columns past the last that row-wise kernels read and throw away
};
// tiles: of each node, the rows of its tiles; 0 where it works row by row, then micro_rows pixels at once.
Anchors compute_anchors(const Graph& graph, std::span<const int> tiles, int micro_rows = 1);

// How a row of each value is laid out. All values of one level share left and right borders.
struct RowShape {
  std::int64_t width = 0;         // columns
  std::int64_t height = 0;        // rows of the whole value
  int blocks = 0;                 // channel blocks of V lanes
  std::int64_t block_stride = 0;  // floats from one block to the next
  std::int64_t row_stride = 0;    // floats from one row to the next: an odd multiple of 64 bytes
};

struct Storage {
  RowShape shape;
  bool half = false;             // old rows are kept in half precision, and widened for whoever reads them
  std::int64_t carry_rows = 0;   // rows of the ring of old rows
  std::size_t carry_offset = 0;  // floats into the arena
  std::int64_t fresh_rows = 0;   // rows of this step in scratch; 0: written straight into the ring
  std::size_t fresh_offset =
      0;  // floats into the arena, shared with values that live at other times of a step
};

struct Layout {
  std::int64_t band = 0;   // rows that a step advances the output
  std::int64_t first = 0;  // e of the first step: negative
  std::int64_t steps = 0;
  int left = 0, right = 0;  // border columns
  std::vector<Storage> values;
  std::vector<std::size_t> last_use;  // index of the last node that reads each value
  std::size_t widened_offset = 0;     // floats into the arena: old rows that the running node reads, widened
  std::size_t zero_offset = 0;        // one row of zeros, as long as the longest row
  std::size_t floats = 0;             // of the whole arena
};

// Lays out a run over an image of height x width (multiples of the graph's stride), V = `lanes`. band 0: the
// whole image in one step. half: rows are carried in half precision, but for the image's and the output's.
// Throws MemoryLimitError where sizes overflow.
Layout make_layout(const Graph& graph, const Anchors& anchors, std::int64_t height, std::int64_t width,
                   std::int64_t band, int lanes, bool half = false);

// Rows [first, end) of the source that destination rows [first, end) of a part or an epilogue operand read,
// before clipping to the image.
struct RowRange {
  std::int64_t first = 0, end = 0;
};
RowRange source_rows(const Node& node, const Part& part, RowRange destination);
RowRange operand_rows(const EpilogueOp& step, RowRange destination);

// The rows of every value that a node reads when it makes rows `made`, one range a value.
struct Read {
  ValueId value = 0;
  RowRange rows;
};
std::vector<Read> reads(const Node& node, RowRange made);

// Floats that a carried row in half precision takes.
std::int64_t half_row_stride(const RowShape& shape);

}  // namespace mimo_rt::cpu
