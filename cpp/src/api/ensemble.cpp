// Adding up passes, row by row.
#include "api/ensemble.hpp"

namespace mimo_rt {

void AddingSink::store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) {
  if (y >= frame_.height) return;
  for (std::int64_t c = 0; c < 3; ++c) {
    const float* from = row + c / lanes_ * block_stride + c % lanes_;
    std::byte* to = frame_.data + y * frame_.row_stride + c * frame_.channel_stride;
    for (std::int64_t x = 0; x < frame_.width; ++x) {
      *reinterpret_cast<float*>(to + x * frame_.column_stride) += from[x * lanes_];
    }
  }
}

void MeanSink::store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) {
  if (y >= frame_.height) return;
  adding_.store(y, row, block_stride);
  auto* mean = reinterpret_cast<float*>(frame_.data + y * frame_.row_stride);
  for (std::int64_t i = 0; i < frame_.width * 3; ++i) mean[i] *= scale_;
  next_.store(y, mean, 0);
}

}  // namespace mimo_rt
