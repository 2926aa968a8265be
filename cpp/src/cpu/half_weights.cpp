// Two programs, one picture.
#include "cpu/half_weights.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cpu/executor.hpp"
#include "cpu/program.hpp"
#include "cpu/tactics.hpp"
#include "cpu/thread_pool.hpp"

namespace mimo_rt::cpu {
namespace {

constexpr int kSide = 96;

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

std::vector<float> output_of(const Plan& plan) {
  const Program program(plan);
  const Graph& graph = program.graph();
  const Value& output = graph.values[graph.output];
  const int lanes = program.kernels().lanes, side = kSide >> output.scale;
  Picture picture(graph.values[graph.input].channels, kSide, lanes);
  Kept kept(side, static_cast<std::ptrdiff_t>(side) * lanes, (output.channels + lanes - 1) / lanes);
  ThreadPool pool(1);
  Executor executor(program, pool, kSide, kSide, 0);
  Phases phases;
  executor.run(picture, kept, {}, phases);
  return kept.take();
}

}  // namespace

double difference_on_picture(const Plan& a, const Plan& b) {
  if (kSide % a.graph.stride() != 0) return std::numeric_limits<double>::quiet_NaN();
  const std::vector<float> x = output_of(a), y = output_of(b);
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    sum += d * d;
  }
  const Value& output = a.graph.values[a.graph.output];
  const int side = kSide >> output.scale;
  return std::sqrt(sum / (static_cast<double>(output.channels) * side * side));
}

bool take_half_weights(Plan& plan) {
  Plan half = plan;
  bool any = false;
  for (Tactic& tactic : half.tactics) {
    const std::string kernel(with_half_weights(tactic.kernel));
    any = any || kernel != tactic.kernel;
    tactic.kernel = kernel;
  }
  // Not the other way round: an error that is not a number is no small one.
  if (!any || !(difference_on_picture(plan, half) <= kMostHalfWeightsError)) return false;
  plan.tactics = std::move(half.tactics);
  return true;
}

}  // namespace mimo_rt::cpu
