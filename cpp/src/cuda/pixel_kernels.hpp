// Pixels to the planes of a tile and back, one pass each, four neighbouring pixels a thread: what
// src/api/pixels.cpp does row by row. Each function is what one thread does, so that the tests run the very
// indexing on the processor.
#pragma once

#include "core/pixel_math.hpp"
#include "cuda/planes.hpp"

namespace mimo_rt::cuda {

// A tile as the network's input. `image` is what the tile covers of the picture; beyond it the tile is
// padded.
struct LoadJob {
  ImageView image;  // 1, 3 or 4 channels
  bool bgr = false;
  Planes tile;
};

// What is kept of the network's output, as pixels. Both views are of that part.
struct StoreJob {
  ImageView source;
  MutableImageView destination;
  bool bgr = false;
  float strength = 1;
  std::int64_t first_row = 0, first_column = 0;  // of the part in the tile
  Planes tile;
  int* non_finite = nullptr;  // set to 1 where the network gave NaN or infinity that is not of strength 0
};

// Between planes of two kinds, as they are: what goes between the host's float32 and the network.
struct ConvertJob {
  Planes from, to;  // of one size
};

template <typename T>
MIMO_RT_BOTH T read_pixel(const std::byte* at) {
  return *reinterpret_cast<const T*>(at);  // arrays are aligned to their own type
}

MIMO_RT_BOTH inline int quad_at(std::int64_t x, std::int64_t width) {
  return width - x < kQuad ? static_cast<int>(width - x) : kQuad;
}

// Whether four pixels of three channels, from that one on, are twelve elements side by side that can be moved
// four at a time.
template <typename T, typename View>
MIMO_RT_BOTH bool packed(const View& view, const T* at) {
  return view.channels == 3 && view.channel_stride == static_cast<std::ptrdiff_t>(sizeof(T)) &&
         view.column_stride == static_cast<std::ptrdiff_t>(3 * sizeof(T)) && detail::aligned(at);
}

// Three colours of four pixels as they lie in an image; the first and the third change places for BGR.
template <typename T>
struct Colours {
  T at[kQuad][3];

  MIMO_RT_BOTH void turn(bool bgr) {
    MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) {
      const T first = at[i][0];
      at[i][0] = bgr ? at[i][2] : first;
      at[i][2] = bgr ? first : at[i][2];
    }
  }
};

// The colours of the pixels from (y, x) on, of which there are `count`, in the order red, green, blue.
template <typename T>
MIMO_RT_BOTH Colours<T> read_colours(const ImageView& view, bool bgr, std::int64_t y, std::int64_t x,
                                     int count) {
  Colours<T> pixels{};
  const T* at = reinterpret_cast<const T*>(pixel_at(view, y, x, 0));
  if (count == kQuad && packed(view, at)) {
    const auto* fours = reinterpret_cast<const Four<T>*>(at);
    MIMO_RT_UNROLL for (int i = 0; i < 3; ++i) {
      const Four<T> four = fours[i];
      MIMO_RT_UNROLL for (int k = 0; k < kQuad; ++k) {
        pixels.at[(i * kQuad + k) / 3][(i * kQuad + k) % 3] = four.at[k];
      }
    }
  } else {
    MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) {
      MIMO_RT_UNROLL for (int c = 0; c < 3; ++c) {
        if (i < count) pixels.at[i][c] = read_pixel<T>(pixel_at(view, y, x + i, c));
      }
    }
  }
  pixels.turn(bgr);
  return pixels;
}

template <typename T>
MIMO_RT_BOTH void write_colours(const MutableImageView& view, bool bgr, std::int64_t y, std::int64_t x,
                                int count, Colours<T> pixels) {
  pixels.turn(bgr);
  T* at = reinterpret_cast<T*>(pixel_at(view, y, x, 0));
  if (count == kQuad && packed(view, static_cast<const T*>(at))) {
    MIMO_RT_UNROLL for (int i = 0; i < 3; ++i) {
      Four<T> four;
      MIMO_RT_UNROLL for (int k = 0; k < kQuad; ++k) {
        four.at[k] = pixels.at[(i * kQuad + k) / 3][(i * kQuad + k) % 3];
      }
      reinterpret_cast<Four<T>*>(at)[i] = four;
    }
  } else {
    MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) {
      MIMO_RT_UNROLL for (int c = 0; c < 3; ++c) {
        if (i < count) *reinterpret_cast<T*>(pixel_at(view, y, x + i, c)) = pixels.at[i][c];
      }
    }
  }
}

template <typename T, typename Kind>
MIMO_RT_BOTH void load_quad(const LoadJob& job, std::int64_t y, std::int64_t x) {
  if (y >= job.tile.height || x >= job.tile.width) return;
  const int count = quad_at(x, job.tile.width);
  const std::int64_t from_y = source_of(y, job.image.height, job.tile.height);
  Quad quad{};
  if (job.image.channels >= 3 && x + count <= job.image.width) {
    const Colours<T> pixels = read_colours<T>(job.image, job.bgr, from_y, x, count);
    MIMO_RT_UNROLL for (int c = 0; c < 3; ++c) {
      MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) quad.at[c][i] = to_unit(pixels.at[i][c]);
    }
  } else {
    const bool grey = job.image.channels == 1;
    MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) {
      if (i >= count) continue;
      const std::int64_t from_x = source_of(x + i, job.image.width, job.tile.width);
      MIMO_RT_UNROLL for (int c = 0; c < 3; ++c) {
        const int channel = grey ? 0 : job.bgr ? 2 - c : c;
        quad.at[c][i] = to_unit(read_pixel<T>(pixel_at(job.image, from_y, from_x, channel)));
      }
    }
  }
  Kind::put(job.tile, y, x, count, quad);
}

template <typename T>
MIMO_RT_BOTH T stored(const StoreJob& job, T given, float output) {
  if (job.strength == 0.0F) return given;
  if (job.strength != 1.0F) {
    const float input = to_unit(given);
    output = input + job.strength * (output - input);
  }
  return from_unit<T>(output);
}

template <typename T, typename Kind>
MIMO_RT_BOTH void store_quad(const StoreJob& job, std::int64_t y, std::int64_t x) {
  if (y >= job.source.height || x >= job.source.width) return;
  const int count = quad_at(x, job.source.width);
  Quad quad{};
  Kind::get(job.tile, job.first_row + y, job.first_column + x, count, quad);
  bool finite = true;
  MIMO_RT_UNROLL for (int c = 0; c < 3; ++c) {
    MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) finite &= quad.at[c][i] - quad.at[c][i] == 0.0F;
  }
  if (!finite && job.strength != 0.0F) *job.non_finite = 1;  // any thread may be the one; all write the same
  if (job.source.channels == 1) {
    MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) {
      if (i >= count) continue;
      const T given = read_pixel<T>(pixel_at(job.source, y, x + i, 0));
      *reinterpret_cast<T*>(pixel_at(job.destination, y, x + i, 0)) =
          stored(job, given, luma(quad.at[0][i], quad.at[1][i], quad.at[2][i]));
    }
    return;
  }
  Colours<T> pixels = read_colours<T>(job.source, job.bgr, y, x, count);
  MIMO_RT_UNROLL for (int i = 0; i < kQuad; ++i) {
    MIMO_RT_UNROLL for (int c = 0; c < 3; ++c) {
      pixels.at[i][c] = stored(job, pixels.at[i][c], quad.at[c][i]);
    }
  }
  write_colours(job.destination, job.bgr, y, x, count, pixels);
  for (std::int64_t c = 3; c < job.source.channels; ++c) {  // alpha
    for (int i = 0; i < count; ++i) {
      *reinterpret_cast<T*>(pixel_at(job.destination, y, x + i, c)) =
          read_pixel<T>(pixel_at(job.source, y, x + i, c));
    }
  }
}

template <typename From, typename To>
MIMO_RT_BOTH void convert_quad(const ConvertJob& job, std::int64_t y, std::int64_t x) {
  if (y >= job.from.height || x >= job.from.width) return;
  const int count = quad_at(x, job.from.width);
  Quad quad{};
  From::get(job.from, y, x, count, quad);
  To::put(job.to, y, x, count, quad);
}

}  // namespace mimo_rt::cuda
