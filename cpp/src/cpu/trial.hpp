// A program tried out on a picture made here: what it computes, and how long each node takes. For decisions
// that only a run can tell.
#pragma once

#include <vector>

#include "cpu/program.hpp"

namespace mimo_rt::cpu {

struct Trial {
  std::vector<float>
      output;  // row by row, channel block by channel block, padding of the channels (zeros) included
  std::vector<double> nodes;  // seconds of each node
};

// Edges in every direction, flat places and grain, values 0..1, side x side pixels: a multiple of the graph's
// stride. One thread; the picture is the same every time.
Trial run_on_picture(const Program& program, int side);

}  // namespace mimo_rt::cpu
