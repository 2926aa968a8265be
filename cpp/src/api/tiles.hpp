// What is kept of a tile's result, as rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/executor.hpp"

namespace mimo_rt {

// Hands on the rows of a tile's result from its first kept row and column on; `next` leaves out what lies
// beyond its own height and width.
class KeptSink final : public cpu::RowSink {
 public:
  KeptSink(cpu::RowSink& next, std::int64_t first_row, std::int64_t first_column, int lanes)
      : next_(next), first_row_(first_row), offset_(static_cast<std::ptrdiff_t>(first_column) * lanes) {}
  void store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) override {
    if (y >= first_row_) next_.store(y - first_row_, row + offset_, block_stride);
  }

 private:
  cpu::RowSink& next_;
  std::int64_t first_row_;
  std::ptrdiff_t offset_;
};

}  // namespace mimo_rt
