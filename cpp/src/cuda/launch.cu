#include "cuda/launch.hpp"

namespace mimo_rt::cuda {
namespace {

// A warp goes along a row, so that its reads of planes lie side by side.
constexpr unsigned kColumns = 32, kRows = 8;

template <typename T>
__global__ void load_kernel(LoadJob job) {
  load_pixel<T>(job, blockIdx.y * std::int64_t{kRows} + threadIdx.y,
                blockIdx.x * std::int64_t{kColumns} + threadIdx.x);
}

template <typename T>
__global__ void store_kernel(StoreJob job) {
  store_pixel<T>(job, blockIdx.y * std::int64_t{kRows} + threadIdx.y,
                 blockIdx.x * std::int64_t{kColumns} + threadIdx.x);
}

dim3 grid(std::int64_t height, std::int64_t width) {
  return {static_cast<unsigned>((width + kColumns - 1) / kColumns),
          static_cast<unsigned>((height + kRows - 1) / kRows)};
}

template <template <typename> class Kernel, typename Job>
void by_type(PixelType type, const Job& job, std::int64_t height, std::int64_t width, cudaStream_t stream) {
  const dim3 block(kColumns, kRows);
  switch (type) {
    case PixelType::u8:
      Kernel<std::uint8_t>::start(grid(height, width), block, stream, job);
      break;
    case PixelType::u16:
      Kernel<std::uint16_t>::start(grid(height, width), block, stream, job);
      break;
    case PixelType::f32:
      Kernel<float>::start(grid(height, width), block, stream, job);
      break;
  }
}

template <typename T>
struct Load {
  static void start(dim3 grid, dim3 block, cudaStream_t stream, const LoadJob& job) {
    load_kernel<T><<<grid, block, 0, stream>>>(job);
  }
};
template <typename T>
struct Store {
  static void start(dim3 grid, dim3 block, cudaStream_t stream, const StoreJob& job) {
    store_kernel<T><<<grid, block, 0, stream>>>(job);
  }
};

}  // namespace

void launch(const LoadJob& job, cudaStream_t stream) {
  by_type<Load>(job.image.type, job, job.height, job.width, stream);
}

void launch(const StoreJob& job, cudaStream_t stream) {
  by_type<Store>(job.source.type, job, job.source.height, job.source.width, stream);
}

}  // namespace mimo_rt::cuda
