// Runs a Program over one image size: fills the arena's rows step by step, node by node, and hands the work
// of each node to the thread pool in items that change no bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "cpu/program.hpp"
#include "cpu/schedule.hpp"
#include "cpu/thread_pool.hpp"

namespace mimo_rt::cpu {

// Where the image's rows come from. Called from several threads at once, for different rows; must not throw.
class RowSource {
 public:
  virtual ~RowSource() = default;
  // Writes row y: columns [0, width) of every lane of every channel block.
  virtual void load(std::int64_t y, float* row, std::ptrdiff_t block_stride) = 0;
};

// Where the network's output rows go. As RowSource.
class RowSink {
 public:
  virtual ~RowSink() = default;
  virtual void store(std::int64_t y, const float* row, std::ptrdiff_t block_stride) = 0;
};

struct Phases {
  double input = 0, compute = 0, output = 0;  // seconds
  std::vector<double> nodes;                  // of each node, saving its carry rows included
};

class Executor {
 public:
  // height and width: multiples of the graph's stride. band: rows a step, 0 for the whole image in one.
  Executor(const Program& program, ThreadPool& pool, std::int64_t height, std::int64_t width,
           std::int64_t band);

  // Bytes that an Executor takes, the program's packed weights not counted.
  static std::size_t bytes_for(const Program& program, int threads, std::int64_t height, std::int64_t width,
                               std::int64_t band);

  std::int64_t height() const noexcept { return height_; }
  std::int64_t width() const noexcept { return width_; }
  std::int64_t band() const noexcept { return layout_.band; }

  // progress: called between nodes with the fraction done; false ends the run early. Returns false if it was
  // ended.
  bool run(RowSource& source, RowSink& sink, const std::function<bool(double)>& progress, Phases& phases);

 private:
  struct Step {
    std::int64_t first = 0, end = 0;  // rows of the output that the step brings, before clipping
  };
  RowRange fresh(ValueId value, Step step) const;
  float* row(ValueId value, std::int64_t y, Step step);
  const float* const* rows(ValueId value, std::int64_t first, std::int64_t count, std::int64_t stride,
                           Step step);

  Interpolation interpolation(ValueId value, int up, Sampling sampling, std::int64_t first,
                              std::int64_t count, RowRange made, Step step);

  void run_node(std::size_t index, Step step, RowRange made);
  void run_input(RowSource& source, Step step, RowRange made);
  void run_winograd(const Node& node, const PackedNode& packed, Step step, RowRange made);
  void run_direct(const Node& node, const PackedNode& packed, Step step, RowRange made);
  void run_rowwise(const Node& node, const PackedNode& packed, Step step, RowRange made);
  void keep_carry(ValueId value, Step step);
  float* carried_row(ValueId value, std::int64_t y);
  std::uint16_t* half_row(ValueId value, std::int64_t y);
  void widen_old_rows(const Node& node, Step step, RowRange made);

  Destination destination(const Node& node, const PackedNode& packed, std::int64_t first, RowRange made,
                          Step step);

  const Program& program_;
  ThreadPool& pool_;
  std::int64_t height_, width_;
  Layout layout_;
  std::size_t scratch_floats_ = 0;  // a thread
  Arena arena_;
  std::vector<const float*> pointers_;  // row pointers of the running node
  std::size_t pointers_used_ = 0;
  // Old rows that the running node reads, widened from half precision to the place at `offset`.
  struct Widened {
    ValueId value = 0;
    RowRange rows;
    std::size_t offset = 0;
  };
  std::vector<Widened> widened_;
  std::vector<EpilogueStep> steps_;
  std::vector<SourcePart> parts_;
  std::vector<std::vector<Tap>> taps_;
  std::vector<DirectJob> jobs_;
};

}  // namespace mimo_rt::cpu
