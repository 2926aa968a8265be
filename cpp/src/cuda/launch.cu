#include "cuda/launch.hpp"

namespace mimo_rt::cuda {
namespace {

// A warp goes along a row, so that its reads and writes lie side by side.
constexpr unsigned kColumns = 32, kRows = 8;

__device__ std::int64_t row() { return blockIdx.y * std::int64_t{kRows} + threadIdx.y; }
__device__ std::int64_t column() { return (blockIdx.x * std::int64_t{kColumns} + threadIdx.x) * kQuad; }

template <typename T, typename Kind>
__global__ void load_kernel(LoadJob job) {
  load_quad<T, Kind>(job, row(), column());
}
template <typename T, typename Kind>
__global__ void store_kernel(StoreJob job) {
  store_quad<T, Kind>(job, row(), column());
}
template <typename From, typename To>
__global__ void convert_kernel(ConvertJob job) {
  convert_quad<From, To>(job, row(), column());
}

dim3 grid(std::int64_t height, std::int64_t width) {
  constexpr std::int64_t kWide = kColumns * kQuad;
  return {static_cast<unsigned>((width + kWide - 1) / kWide),
          static_cast<unsigned>((height + kRows - 1) / kRows)};
}

template <typename Work>
void by_pixel(PixelType type, Work work) {
  switch (type) {
    case PixelType::u8:
      return work.template operator()<std::uint8_t>();
    case PixelType::u16:
      return work.template operator()<std::uint16_t>();
    case PixelType::f32:
      return work.template operator()<float>();
  }
}

}  // namespace

void launch(const LoadJob& job, cudaStream_t stream) {
  by_pixel(job.image.type, [&]<typename T>() {
    by_planes(job.tile.type, [&]<typename Kind>() {
      load_kernel<T, Kind><<<grid(job.tile.height, job.tile.width), dim3(kColumns, kRows), 0, stream>>>(job);
    });
  });
}

void launch(const StoreJob& job, cudaStream_t stream) {
  by_pixel(job.source.type, [&]<typename T>() {
    by_planes(job.tile.type, [&]<typename Kind>() {
      store_kernel<T, Kind>
          <<<grid(job.source.height, job.source.width), dim3(kColumns, kRows), 0, stream>>>(job);
    });
  });
}

void launch(const ConvertJob& job, cudaStream_t stream) {
  using Single = PlanarPlanes<float>;
  const dim3 blocks = grid(job.from.height, job.from.width), threads(kColumns, kRows);
  if (job.from.type == PlaneType::f32) {
    by_planes(job.to.type,
              [&]<typename Kind>() { convert_kernel<Single, Kind><<<blocks, threads, 0, stream>>>(job); });
  } else {
    by_planes(job.from.type,
              [&]<typename Kind>() { convert_kernel<Kind, Single><<<blocks, threads, 0, stream>>>(job); });
  }
}

}  // namespace mimo_rt::cuda
