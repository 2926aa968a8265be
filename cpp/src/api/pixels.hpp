// Pixels to tensor rows and back: where scaling, padding by reflection, grey, alpha, channel order, strength
// and rounding happen, row by row, so that no full-frame float image exists.
#pragma once

#include <atomic>
#include <cstdint>

#include "cpu/executor.hpp"
#include "mimo_rt/deblurrer.hpp"
#include "mimo_rt/image.hpp"

namespace mimo_rt {

// An image as the network's input: u8 and u16 scaled to [0, 1], grey replicated, alpha left out, padded on
// the right and at the bottom by reflection without repeating the edge where the pad is at most size - 1,
// else by the edge.
class PixelSource final : public cpu::RowSource {
 public:
  PixelSource(const ImageView& image, bool bgr, std::int64_t padded_height, std::int64_t padded_width,
              int lanes);
  void load(std::int64_t y, float* row, std::ptrdiff_t block_stride) override;
  // True once a row held a pixel that is NaN or infinite.
  int lanes() const noexcept { return lanes_; }
  bool non_finite() const noexcept { return non_finite_.load(std::memory_order_relaxed); }

 private:
  ImageView image_;
  bool bgr_;
  std::int64_t padded_height_, padded_width_;
  int lanes_;
  std::atomic<bool> non_finite_{false};
};

// The network's output as an image: source + strength * (output - source), clipped to [0, 1], quantised as
// floor(y * (2^n - 1) + 0.5); grey by Rec. 601 luma; alpha carried over.
class PixelSink final : public cpu::RowSink {
 public:
  PixelSink(const ImageView& source, const MutableImageView& destination, bool bgr, float strength,
            int lanes);
  void store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) override;

 private:
  ImageView source_;
  MutableImageView destination_;
  bool bgr_;
  float strength_;
  int lanes_;
};

// Raw float32 planes of any number of channels, for Deblurrer::infer.
class PlaneSource final : public cpu::RowSource {
 public:
  PlaneSource(const ImageView& planes, int lanes) : planes_(planes), lanes_(lanes) {}
  void load(std::int64_t y, float* row, std::ptrdiff_t block_stride) override;

 private:
  ImageView planes_;
  int lanes_;
};
class PlaneSink final : public cpu::RowSink {
 public:
  PlaneSink(const MutableImageView& planes, int lanes) : planes_(planes), lanes_(lanes) {}
  void store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) override;

 private:
  MutableImageView planes_;
  int lanes_;
};

// Copies every byte of every pixel.
void copy_pixels(const ImageView& source, const MutableImageView& destination);

}  // namespace mimo_rt
