// Runs a program over float planes without the image-level behaviour, so that tests can force band and
// threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "api/pixels.hpp"
#include "cpu/executor.hpp"

namespace mimo_rt::test {

inline std::vector<float> run_program(const cpu::Program& program, const std::vector<float>& chw, int height,
                                      int width, int threads = 1, std::int64_t band = 0) {
  const Graph& graph = program.graph();
  const Value& output = graph.values[graph.output];
  const int out_h = height >> output.scale, out_w = width >> output.scale;
  std::vector<float> result(static_cast<std::size_t>(output.channels * out_h * out_w), -1e9F);
  const ImageView from{reinterpret_cast<const std::byte*>(chw.data()),
                       PixelType::f32,
                       height,
                       width,
                       graph.values[graph.input].channels,
                       width * 4,
                       4,
                       static_cast<std::ptrdiff_t>(height) * width * 4};
  const MutableImageView to{reinterpret_cast<std::byte*>(result.data()),
                            PixelType::f32,
                            out_h,
                            out_w,
                            output.channels,
                            out_w * 4,
                            4,
                            static_cast<std::ptrdiff_t>(out_h) * out_w * 4};
  PlaneSource source(from, program.kernels().lanes);
  PlaneSink sink(to, program.kernels().lanes);
  cpu::ThreadPool pool(threads);
  cpu::Executor executor(program, pool, height, width, band);
  cpu::Phases phases;
  executor.run(source, sink, {}, phases);
  return result;
}

// The largest difference of two results of one size.
inline double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return worst;
}

}  // namespace mimo_rt::test
