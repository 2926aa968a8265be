// Pixels to the float32 planes of a tile and back, one thread a pixel: what src/api/pixels.cpp does row by
// row. Each function is what one thread does, so that the tests run the very indexing on the processor.
#pragma once

#include "core/pixel_math.hpp"

namespace mimo_rt::cuda {

// A tile as the network's input. `image` is what the tile covers of the picture; beyond it the tile is
// padded.
struct LoadJob {
  ImageView image;  // 1, 3 or 4 channels
  bool bgr = false;
  std::int64_t height = 0, width = 0;  // of the tile
  float* planes = nullptr;             // [3][height][width]
};

// What is kept of the network's output, as pixels. Both views are of that part.
struct StoreJob {
  ImageView source;
  MutableImageView destination;
  bool bgr = false;
  float strength = 1;
  std::int64_t height = 0, width = 0;            // of the tile
  std::int64_t first_row = 0, first_column = 0;  // of the part in the tile
  const float* planes = nullptr;
  int* non_finite = nullptr;  // set to 1 where the network gave NaN or infinity
};

template <typename T>
MIMO_RT_BOTH T read_pixel(const std::byte* at) {
  return *reinterpret_cast<const T*>(at);  // arrays are aligned to their own type
}

template <typename T>
MIMO_RT_BOTH void load_pixel(const LoadJob& job, std::int64_t y, std::int64_t x) {
  if (y >= job.height || x >= job.width) return;
  const std::int64_t from_y = source_of(y, job.image.height, job.height);
  const std::int64_t from_x = source_of(x, job.image.width, job.width);
  const bool grey = job.image.channels == 1;
  for (int c = 0; c < 3; ++c) {
    const int channel = grey ? 0 : job.bgr ? 2 - c : c;
    job.planes[(c * job.height + y) * job.width + x] =
        to_unit(read_pixel<T>(pixel_at(job.image, from_y, from_x, channel)));
  }
}

template <typename T>
MIMO_RT_BOTH void store_value(const StoreJob& job, std::int64_t y, std::int64_t x, int channel,
                              float output) {
  const T given = read_pixel<T>(pixel_at(job.source, y, x, channel));
  if (job.strength != 1.0F) {
    const float input = to_unit(given);
    output = input + job.strength * (output - input);
  }
  *reinterpret_cast<T*>(pixel_at(job.destination, y, x, channel)) = from_unit<T>(output);
}

template <typename T>
MIMO_RT_BOTH void store_pixel(const StoreJob& job, std::int64_t y, std::int64_t x) {
  if (y >= job.source.height || x >= job.source.width) return;
  float rgb[3];
  for (int c = 0; c < 3; ++c) {
    rgb[c] = job.planes[(c * job.height + job.first_row + y) * job.width + job.first_column + x];
    if (!(rgb[c] - rgb[c] == 0.0F)) *job.non_finite = 1;  // any thread may be the one; all write the same
  }
  if (job.source.channels == 1) {
    store_value<T>(job, y, x, 0, luma(rgb[0], rgb[1], rgb[2]));
    return;
  }
  for (int c = 0; c < 3; ++c) store_value<T>(job, y, x, job.bgr ? 2 - c : c, rgb[c]);
  for (int c = 3; c < job.source.channels; ++c) {
    *reinterpret_cast<T*>(pixel_at(job.destination, y, x, c)) = read_pixel<T>(pixel_at(job.source, y, x, c));
  }
}

}  // namespace mimo_rt::cuda
