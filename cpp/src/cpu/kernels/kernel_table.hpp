// What a CPU kernel is given and the table of kernels that one instruction set fills. Kernels know rows, not
// images: they get arrays of row pointers and never derive an address from a row number, so that borders,
// carry rows, bands and cropping live only in whoever fills the pointers.
//
// A row of a value is [C/V][left + W + right][V] floats, V the lanes of the instruction set; a row pointer
// points at channel block 0, column 0. Channels are padded to V with zeros, columns outside [0, W) hold
// zeros.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "mimo_rt/graph.hpp"

namespace mimo_rt::cpu {

// What linear enlarging by 2^up needs beside the rows: destination row i lies between rows[i] and below[i], a
// fraction ((phase + i) mod 2^up) / 2^up away from the first, and column x as far from column x >> up. Where
// a row lies on a source row or below the last one, both are the same.
struct Interpolation {
  const float* const* below = nullptr;  // null: nearest
  int phase = 0;
};

// One operand of the epilogue: rows[i] belongs to the same i as the destination's rows[i]; column x is read
// at x >> up.
struct EpilogueStep {
  EpilogueKind kind = EpilogueKind::relu;
  const float* const* rows = nullptr;
  std::ptrdiff_t block_stride = 0;  // floats from one channel block to the next
  int up = 0;
  float quantum = 0;  // quantise: the scale; no rows then
  Interpolation linear;
};

// Where results go. Rows that hang over the image are null and are not stored.
struct Destination {
  float* const* rows = nullptr;
  std::ptrdiff_t block_stride = 0;
  int width = 0;                // columns of the value
  int left = 0;                 // border columns to set to zero before column 0 ...
  int right = 0;                // ... and from column `width` on
  int blocks = 0;               // channel blocks
  const float* bias = nullptr;  // padded to whole panels
  const EpilogueStep* steps = nullptr;
  int step_count = 0;
  bool linear = false;  // some step interpolates
  bool half = false;    // results are rounded to half precision, the largest ones clamped to what it holds
};

struct SourcePart {
  const float* const* rows = nullptr;
  std::ptrdiff_t block_stride = 0;
  int channels = 0;
};

// Winograd F(t x t, 3x3): tile (ty, tx) makes destination rows t ty .. t ty + t - 1 from source rows[t ty ..
// t ty + t + 1] of each part (so rows[0] is the row above the first destination row).
struct WinogradJob {
  Destination out;
  const SourcePart* parts = nullptr;
  int part_count = 0;
  int depth = 0;  // floats of one transformed pixel: channels of all parts, padded but for the last
  const float* weights = nullptr;               // [(t + 2)^2][panel][depth][panel width]
  const std::uint16_t* half_weights = nullptr;  // the same in half precision, in place of `weights`
  int tiles_x = 0;
  int next_first = 0,
      next_last = 0;         // tiles of the run that this thread is likely to take next; changes no bit
  float* scratch = nullptr;  // of the running thread: see winograd_scratch
};

// One tap of a direct convolution: a position of the kernel over one part. rows[i] is what destination row i
// reads; column j of a phase reads column j * column_step + dx.
struct Tap {
  const float* const* rows = nullptr;
  std::ptrdiff_t block_stride = 0;
  int channels = 0;
  int column_step = 1;
  int dx = 0;
};

// Direct convolution of one row: columns phase + j * column_stride for j in [0, count). Stride-1 and strided
// convolutions have column_stride 1, phase 0; a transposed one has a job a phase.
struct DirectJob {
  Destination out;
  const Tap* taps = nullptr;
  int tap_count = 0;
  std::int64_t depth = 0;          // sum of the taps' channels
  const float* weights = nullptr;  // [panel][tap][channel][panel width]
  int phase = 0;
  int column_stride = 1;
};

// Copies one part row by row, resampled along columns by `shift` (see Part::shift), then runs the epilogue.
struct CopyJob {
  Destination out;
  SourcePart part;
  int shift = 0;
  Interpolation linear;
};

struct ConcatJob {
  Destination out;
  const SourcePart* parts = nullptr;
  int part_count = 0;
};

struct KernelTable {
  const char* target = "";
  int lanes = 0;  // V
  int panel =
      0;  // output channels that a micro-kernel makes at once: weights are packed in panels of this width
  int micro_rows = 0;  // pixels or tiles that it makes at once

  // By tile height: tiles [first, last) of the grid, in row-major order.
  struct Winograd {
    int tile = 0;
    void (*run)(const WinogradJob& job, int first, int last) = nullptr;
  };
  Winograd winograd[2];
  // Columns j in [first, last) of destination row `row`.
  void (*direct)(const DirectJob& job, int row, int first, int last) = nullptr;
  void (*copy)(const CopyJob& job, int row) = nullptr;
  void (*concat)(const ConcatJob& job, int row) = nullptr;
  // count: a multiple of the lanes. A value that `Destination::half` has rounded comes back as it was.
  void (*narrow)(const float* from, std::uint16_t* to, std::ptrdiff_t count) = nullptr;
  void (*widen)(const std::uint16_t* from, float* to, std::ptrdiff_t count) = nullptr;
};

// The buffers of a run of tiles, in floats: see kernels/winograd.cpp for what they hold. Strides are no
// multiple of a cache way, so that lines and tiles do not alias.
struct WinogradBuffers {
  std::ptrdiff_t line = 0;    // tile + 2 of them
  std::ptrdiff_t point = 0;   // tile + 3 of them
  std::ptrdiff_t stride = 0;  // from one tile of a point to the next
  std::ptrdiff_t panel = 0;   // one of them: weights widened from half precision
};
inline WinogradBuffers winograd_buffers(int tiles, int columns, int depth, int outputs, int lanes) {
  WinogradBuffers size;
  const std::ptrdiff_t channels = (std::max(depth, outputs) + lanes - 1) / lanes * lanes;
  size.line = (channels * columns + 31) / 32 * 32 + 16;
  size.stride = (channels + 15) / 16 * 16 + 8;
  size.point = tiles * size.stride;
  size.panel = std::ptrdiff_t{2} * lanes * depth;
  return size;
}

// Floats of scratch that one thread needs for runs of `tiles` tiles, wherever rows of tiles end within them.
inline std::size_t winograd_scratch(const KernelTable& table, int tile, int tiles, int depth, int outputs) {
  const int rows = (tiles + table.micro_rows - 1) / table.micro_rows * table.micro_rows;
  const int padded = (outputs + table.panel - 1) / table.panel * table.panel;
  const WinogradBuffers size = winograd_buffers(rows, rows * (tile + 2), depth, padded, table.lanes);
  return static_cast<std::size_t>((tile + 2) * size.line + (tile + 3) * size.point + size.panel) + 64;
}

// The instruction sets that are compiled in, best first, and those of them that this processor runs.
struct TargetList {
  const char* const* names;
  std::size_t count;
};
TargetList compiled_targets();
bool target_runs_here(const char* name);

// The table of one instruction set, by name; null if it is not compiled in.
const KernelTable* kernel_table(const char* name);

}  // namespace mimo_rt::cpu
