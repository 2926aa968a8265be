// Starts the ResBlock kernel on a stream.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/resblock.hpp"

namespace mimo_rt::cuda::resblock {

// count images. The GPU must be of compute capability 8.0 or later.
cudaError_t launch(const Job& job, int count, cudaStream_t stream);

}  // namespace mimo_rt::cuda::resblock
