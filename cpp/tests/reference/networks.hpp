// Networks for tests, as ONNX bytes and as graphs: MIMO-UNets of any size with random weights of trained
// magnitude, and random small graphs that mix every operator.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "mimo_rt/graph.hpp"

namespace mimo_rt::reference {

// How the exporter wrote a resize.
enum class ResizeStyle {
  scales,       // constant factors (both of PyTorch's exporters, scale_factor given)
  shape_chain,  // sizes computed from Shape by Slice, Cast, Mul, Floor, Concat (TorchScript, sizes)
  gather,       // sizes computed from Shape by Gather, Div, Unsqueeze, Concat
};

// A MIMO-UNet with `num_res` ResBlocks at the levels 1, 1/2, 1/4: one input [1, 3, H, W], one output of the
// same size, upsampled by `up`. The same seed gives the same weights.
std::string mimo_unet_onnx(int width, std::array<int, 3> num_res, std::uint32_t seed,
                           ResizeStyle resize = ResizeStyle::scales, Sampling up = Sampling::nearest);

// A valid graph of about `nodes` nodes as the reader makes them (bare convolutions, copies with one epilogue
// step or one resampling, concats), whose output has the input's scale and channels.
Graph random_graph(std::uint32_t seed, int nodes);

}  // namespace mimo_rt::reference
