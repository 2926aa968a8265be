// One axis at a time: rows and columns are cut by the same rule.
#include "tiling/tile_plan.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "mimo_rt/error.hpp"

namespace mimo_rt::tiling {
namespace {

std::int64_t round_up(std::int64_t n, std::int64_t stride) { return (n + stride - 1) / stride * stride; }

std::vector<Span> cut(std::int64_t side, std::int64_t tile, std::int64_t halo) {
  std::vector<Span> spans;
  std::int64_t origin = 0, kept = 0;
  while (origin + tile < side) {
    const std::int64_t end = origin + tile - halo;
    spans.push_back({origin, kept, end});
    kept = end;
    origin = end - halo;
  }
  spans.push_back({std::max(side - tile, std::int64_t{0}), kept, side});
  return spans;
}

// The side of `count` tiles that cover an axis, as small as may be.
std::int64_t side_of(std::int64_t count, std::int64_t side, std::int64_t halo, std::int64_t stride) {
  if (count == 1) return side;
  const std::int64_t inner = side - 2 * halo;  // the outermost tiles have one halo
  return round_up((inner + count - 1) / count, stride) + 2 * halo;
}

}  // namespace

std::int64_t exact_halo(const Graph& graph) {
  const ReceptiveField field = receptive_field(graph);
  return round_up(std::max(field.before, field.after), graph.stride());
}

TilePlan plan_tiles(Size padded, Size tile, std::int64_t halo, std::int64_t stride) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (tile.height < 1 || tile.width < 1 || halo < 0 || halo > kMost) {
    throw ImageError("image.tile", "tiles have sides of at least 1 pixel and a halo of 0 to " +
                                       std::to_string(kMost) + " pixels");
  }
  halo = round_up(halo, stride);
  const std::int64_t least = std::max(2 * halo + stride, 2 * stride);
  const auto side = [&](std::int64_t wanted, std::int64_t whole) {
    if (wanted >= whole) return whole;
    const std::int64_t rounded = std::min(round_up(wanted, stride), whole);
    if (rounded < whole && rounded < least) {
      throw ImageError("image.tile", "a tile of " + std::to_string(wanted) + " pixels with a halo of " +
                                         std::to_string(halo) + " on both sides has nothing left; make it " +
                                         std::to_string(least) + " pixels at least, or the halo smaller");
    }
    return rounded;
  };
  TilePlan plan;
  plan.tile = {side(tile.height, padded.height), side(tile.width, padded.width)};
  plan.rows = cut(padded.height, plan.tile.height, halo);
  plan.columns = cut(padded.width, plan.tile.width, halo);
  return plan;
}

std::optional<Size> choose_tile(Size padded, std::int64_t halo, std::int64_t stride,
                                const std::function<bool(Size)>& fits) {
  if (fits(padded)) return padded;
  halo = round_up(halo, stride);
  const auto most = [&](std::int64_t side) {  // tiles along an axis
    return std::max((side - 2 * halo) / std::max(stride, 2 * stride - 2 * halo), std::int64_t{1});
  };
  std::optional<Size> best;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t down = 1; down <= most(padded.height); ++down) {
    const std::int64_t height = side_of(down, padded.height, halo, stride);
    if (best && down * height * padded.width >= least) break;  // more rows of tiles only cost more
    std::int64_t low = 1, high = most(padded.width);           // the fewest columns that fit
    const auto size = [&](std::int64_t across) {
      return Size{height, side_of(across, padded.width, halo, stride)};
    };
    if (!fits(size(high))) continue;
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (fits(size(middle))) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    const Size tile = size(low);
    const std::int64_t area = down * low * tile.height * tile.width;
    if (area < least) {
      least = area;
      best = tile;
    }
  }
  return best;
}

}  // namespace mimo_rt::tiling
