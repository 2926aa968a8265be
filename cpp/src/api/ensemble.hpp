// Self-ensemble: the mean of the network's results on the turns and mirror images of one image. Turns are
// views, so that no image is copied; results add up in one float32 frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "api/pixels.hpp"
#include "cpu/executor.hpp"
#include "mimo_rt/image.hpp"

namespace mimo_rt {

// One of the 8 turns and mirror images: kind % 4 quarter turns, mirrored first where kind is 4 or more.
template <typename Byte>
BasicImageView<Byte> turned(BasicImageView<Byte> view, int kind) {
  if (kind >= 4) {
    view.data += (view.width - 1) * view.column_stride;
    view.column_stride = -view.column_stride;
  }
  for (int quarter = 0; quarter < kind % 4; ++quarter) {
    view.data += (view.width - 1) * view.column_stride;
    const std::ptrdiff_t down = -view.column_stride;
    view.column_stride = view.row_stride;
    view.row_stride = down;
    std::swap(view.height, view.width);
  }
  return view;
}

// The sum of all passes but the last, which must be that of the untouched image.
class EnsembleFrame {
 public:
  EnsembleFrame(std::int64_t height, std::int64_t width)
      : height_(height), width_(width), sum_(static_cast<std::size_t>(height * width * 3)) {}

  static std::size_t bytes_for(std::int64_t height, std::int64_t width) {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * 3 * sizeof(float);
  }

  // The frame as seen by a pass.
  MutableImageView view(int kind) {
    constexpr std::ptrdiff_t kFloat = sizeof(float);
    return turned(MutableImageView{reinterpret_cast<std::byte*>(sum_.data()), PixelType::f32, height_, width_,
                                   3, width_ * 3 * kFloat, 3 * kFloat, kFloat},
                  kind);
  }

 private:
  std::int64_t height_, width_;
  std::vector<float> sum_;
};

// Adds a pass to the frame; rows and columns of padding are left out.
class AddingSink final : public cpu::RowSink {
 public:
  AddingSink(const MutableImageView& frame, int lanes) : frame_(frame), lanes_(lanes) {}
  void store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) override;

 private:
  MutableImageView frame_;
  int lanes_;
};

// Takes in the last pass, and hands the mean of all on.
class MeanSink final : public cpu::RowSink {
 public:
  MeanSink(const MutableImageView& frame, int lanes, int passes, PixelSink next)
      : frame_(frame), adding_(frame, lanes), scale_(1.0F / static_cast<float>(passes)), next_(next) {}
  void store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) override;

  static constexpr int kLanes = 3;  // of the rows that `next` is given: interleaved colours

 private:
  MutableImageView frame_;
  AddingSink adding_;
  float scale_;
  PixelSink next_;
};

}  // namespace mimo_rt
