#include "cuda/resblock_launch.hpp"
#include "cuda/warp_mma.cuh"

namespace mimo_rt::cuda::resblock {
namespace {

// 16 bytes past the first cache and the registers; zeros where size is 0.
__device__ void copy_in(Half* to, const Half* from, bool present) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(to))),
               "l"(from), "r"(present ? 16 : 0));
}

__global__ void __launch_bounds__(kThreads) kernel(Job job) {
#if __CUDA_ARCH__ >= 800  // older ones are refused before the launch
  extern __shared__ uint4 shared[];
  Half* loaded = reinterpret_cast<Half*>(shared);
  Half* middle = loaded + kLoadedHalves;
  const Tile tile{blockIdx.z, std::int64_t{blockIdx.y} * kRows, std::int64_t{blockIdx.x} * kColumns};
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  load(job, tile, thread, loaded,
       [](Half* to, const Half* from, bool present) { copy_in(to, from, present); });
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();
  first<WarpMma>(job, tile, warp, loaded, middle);
  __syncthreads();
  second<WarpMma>(job, warp, middle, loaded);
  __syncthreads();
  store(job, tile, thread, loaded, [](Half* to, const Half* from) {
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
  });
#endif
}

}  // namespace

cudaError_t launch(const Job& job, int count, cudaStream_t stream) {
  const auto tiles = [](std::int64_t size, int side) {
    return static_cast<unsigned>((size + side - 1) / side);
  };
  const cudaError_t allowed =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  if (allowed != cudaSuccess) return allowed;
  const dim3 grid(tiles(job.width, kColumns), tiles(job.height, kRows), static_cast<unsigned>(count));
  kernel<<<grid, kThreads, kSharedBytes, stream>>>(job);
  return cudaGetLastError();
}

}  // namespace mimo_rt::cuda::resblock
