// The ResBlock kernel as a function of the processor, for tests that compare it with PyTorch.
#include <vector>

#include "cuda/warp_loops.hpp"

namespace block = mimo_rt::cuda::resblock;

// input, output: [count][height][width][32] halves. weights: [2][32][32][3][3] halves, bias: [2][32].
extern "C" void resblock(const mimo_rt::Half* input, mimo_rt::Half* output, const mimo_rt::Half* weights,
                         const float* bias, std::int64_t count, std::int64_t height, std::int64_t width) {
  std::vector<mimo_rt::Half> packed(block::kBlockHalves);
  for (int c = 0; c < 2; ++c) {
    block::pack(weights + c * block::kConvolutionHalves, packed.data() + c * block::kConvolutionHalves);
  }
  block::run({input, output, packed.data(), bias, height, width}, count);
}
