// Tiles: how an image is cut for a network that is run on one fixed size at a time, and which part of each
// result is kept. Pure arithmetic; no backend, no pixels.
//
// A tile's inner edges carry a halo: pixels that the network sees and whose results are thrown away, because
// it took the zeros beyond the tile for the image there. With the exact halo, the receptive field, what is
// kept is what the whole image would have given. An edge of the image needs none: there the zeros belong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "mimo_rt/graph.hpp"

namespace mimo_rt::tiling {

struct Size {
  std::int64_t height = 0, width = 0;
  bool operator==(const Size&) const = default;
};

// Along one axis: the tile's first pixel, and the pixels [first, end) of the image that are kept of it.
struct Span {
  std::int64_t origin = 0;
  std::int64_t first = 0, end = 0;
};

struct Tile {
  Span rows, columns;
};

// Tiles of one size that cover an image: every pixel is kept of exactly one of them.
struct TilePlan {
  Size tile;
  std::vector<Span> rows, columns;

  std::size_t count() const noexcept { return rows.size() * columns.size(); }
  // Row by row.
  Tile operator[](std::size_t i) const { return {rows[i / columns.size()], columns[i % columns.size()]}; }
};

// The least halo that makes tiles exact: the receptive field, rounded up to the graph's stride.
std::int64_t exact_halo(const Graph& graph);

// The tiles of a padded image (its sides multiples of the stride). `tile` and `halo` are rounded up to the
// stride; a tile that is larger than the image is as large as the image. The last tile of an axis is shifted
// inward, so that it ends where the image does. Throws ImageError("image.tile") where a tile has nothing left
// between its halos, or is no two strides large.
TilePlan plan_tiles(Size padded, Size tile, std::int64_t halo, std::int64_t stride);

// The tile for which the least is computed twice, among those that fit; the whole image where that fits.
// fits: whether a tile can be run; where one fits, so does every smaller one. Nothing where none fits.
std::optional<Size> choose_tile(Size padded, std::int64_t halo, std::int64_t stride,
                                const std::function<bool(Size)>& fits);

}  // namespace mimo_rt::tiling
