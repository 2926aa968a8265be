// A part of an image as a view; nothing is copied.
#pragma once

#include <cstdint>

#include "mimo_rt/image.hpp"

namespace mimo_rt {

// Rows [top, bottom) and columns [left, right) of a view, as far as the view goes.
template <typename Byte>
BasicImageView<Byte> cropped(BasicImageView<Byte> view, std::int64_t top, std::int64_t bottom,
                             std::int64_t left, std::int64_t right) {
  view.data += top * view.row_stride + left * view.column_stride;
  view.height = (bottom < view.height ? bottom : view.height) - top;
  view.width = (right < view.width ? right : view.width) - left;
  return view;
}

}  // namespace mimo_rt
