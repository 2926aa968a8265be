// The picture, and programs that run on it.
#include "cpu/trial.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "cpu/executor.hpp"

namespace mimo_rt::cpu {
namespace {

// Discs of many sizes and shades that cover one another, and grain: edges in every direction, flat places
// between.
class Picture final : public RowSource {
 public:
  Picture(int channels, int side, int lanes) : channels_(channels), side_(side), lanes_(lanes) {
    pixels_.assign(static_cast<std::size_t>(channels) * side * side, 0.5F);
    for (int disc = 0; disc < 60; ++disc) {
      const float cx = random() * side, cy = random() * side, radius = 2.0F + random() * random() * side / 3;
      for (int c = 0; c < channels; ++c) {
        const float shade = random();
        for (int y = 0; y < side; ++y) {
          for (int x = 0; x < side; ++x) {
            const float dx = x - cx, dy = y - cy;
            if (dx * dx + dy * dy < radius * radius) at(c, y, x) = shade;
          }
        }
      }
    }
    for (float& value : pixels_) value = std::clamp(value + 0.04F * (random() - 0.5F), 0.0F, 1.0F);
  }

  void load(std::int64_t y, float* row, std::ptrdiff_t block_stride) override {
    for (int c = 0; c < (channels_ + lanes_ - 1) / lanes_ * lanes_; ++c) {
      float* to = row + c / lanes_ * block_stride + c % lanes_;
      for (int x = 0; x < side_; ++x) to[x * lanes_] = c < channels_ ? at(c, static_cast<int>(y), x) : 0.0F;
    }
  }

 private:
  float& at(int c, int y, int x) { return pixels_[(static_cast<std::size_t>(c) * side_ + y) * side_ + x]; }
  float random() {  // 0..1, Knuth's MMIX generator
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<float>(state_ >> 40) / 16777216.0F;
  }

  int channels_, side_, lanes_;
  std::uint64_t state_ = 1;
  std::vector<float> pixels_;
};

class Kept final : public RowSink {
 public:
  // Rows of the output are kept block by block, padding of the channels (zeros) included.
  Kept(std::int64_t rows, std::ptrdiff_t block_floats, int blocks)
      : block_floats_(block_floats),
        blocks_(blocks),
        values_(static_cast<std::size_t>(rows * blocks * block_floats)) {}
  void store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) override {
    for (int block = 0; block < blocks_; ++block) {
      std::copy_n(row + block * block_stride, block_floats_,
                  values_.data() + (y * blocks_ + block) * block_floats_);
    }
  }
  std::vector<float> take() { return std::move(values_); }

 private:
  std::ptrdiff_t block_floats_;
  int blocks_;
  std::vector<float> values_;
};

}  // namespace

Trial run_on_picture(const Program& program, int side) {
  const Graph& graph = program.graph();
  const Value& output = graph.values[graph.output];
  const int lanes = program.kernels().lanes, out_side = side >> output.scale;
  Picture picture(graph.values[graph.input].channels, side, lanes);
  Kept kept(out_side, static_cast<std::ptrdiff_t>(out_side) * lanes, (output.channels + lanes - 1) / lanes);
  ThreadPool pool(1);
  Executor executor(program, pool, side, side, 0);
  Phases phases;
  executor.run(picture, kept, {}, phases);
  return {kept.take(), std::move(phases.nodes)};
}

}  // namespace mimo_rt::cpu
