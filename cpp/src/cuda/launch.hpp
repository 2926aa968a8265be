// Starts the pixel kernels on a stream; what goes wrong in them shows at the next call that waits.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/pixel_kernels.hpp"

namespace mimo_rt::cuda {

void launch(const LoadJob& job, cudaStream_t stream);
void launch(const StoreJob& job, cudaStream_t stream);
// One of the two kinds of planes is f32.
void launch(const ConvertJob& job, cudaStream_t stream);

}  // namespace mimo_rt::cuda
