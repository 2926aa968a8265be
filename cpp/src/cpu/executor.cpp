// The static schedule at work: who fills the row pointers.
#include "cpu/executor.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

namespace mimo_rt::cpu {
namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::int64_t positive_mod(std::int64_t a, std::int64_t m) {
  const std::int64_t r = a % m;
  return r < 0 ? r + m : r;
}

// Row pointers that the hungriest node needs at once.
std::size_t pointer_count(const Program& program, const Layout& layout) {
  std::size_t most = 0;
  for (std::size_t n = 0; n < program.graph().nodes.size(); ++n) {
    const Node& node = program.graph().nodes[n];
    const RowShape& shape = layout.values[node.output].shape;
    const std::int64_t band = layout.band >> program.graph().values[node.output].scale;
    const auto rows = static_cast<std::size_t>(std::min(band, shape.height) + 2 * program.anchors().tile + 2);
    std::size_t arrays = 1 + node.epilogue.size() + node.parts.size();
    for (const EpilogueOp& op : node.epilogue) arrays += op.sampling == Sampling::linear;
    for (const Part& part : node.parts) arrays += part.sampling == Sampling::linear;
    for (const PackedPhase& phase : program.nodes()[n].direct) arrays += phase.taps.size();
    most = std::max(most, rows * arrays);
  }
  return most;
}

std::size_t scratch_for(const Program& program) {
  std::size_t most = 0;
  for (std::size_t n = 0; n < program.nodes().size(); ++n) {
    const PackedNode& node = program.nodes()[n];
    if (node.kernel != Kernel::winograd) continue;
    const int outputs = program.graph().values[program.graph().nodes[n].output].channels;
    most = std::max(most, winograd_scratch(program.kernels(), node.tile, node.block, node.depth, outputs));
  }
  return (most + 15) / 16 * 16;
}

}  // namespace

std::size_t Executor::bytes_for(const Program& program, int threads, std::int64_t height, std::int64_t width,
                                std::int64_t band) {
  const Layout layout = make_layout(program.graph(), program.anchors(), height, width, band,
                                    program.kernels().lanes, program.half());
  return (layout.floats + scratch_for(program) * static_cast<std::size_t>(threads)) * sizeof(float) +
         pointer_count(program, layout) * sizeof(float*);
}

Executor::Executor(const Program& program, ThreadPool& pool, std::int64_t height, std::int64_t width,
                   std::int64_t band)
    : program_(program),
      pool_(pool),
      height_(height),
      width_(width),
      layout_(make_layout(program.graph(), program.anchors(), height, width, band, program.kernels().lanes,
                          program.half())),
      scratch_floats_(scratch_for(program)),
      arena_(layout_.floats + scratch_floats_ * static_cast<std::size_t>(pool.threads())),
      pointers_(pointer_count(program, layout_)) {
  std::size_t longest = 0;
  for (const Storage& s : layout_.values)
    longest = std::max(longest, static_cast<std::size_t>(s.shape.row_stride));
  std::memset(arena_.data() + layout_.zero_offset, 0, longest * sizeof(float));
}

RowRange Executor::fresh(ValueId value, Step step) const {
  const std::int64_t anchor = program_.anchors().anchor[value];
  const int scale = program_.graph().values[value].scale;
  const std::int64_t height = layout_.values[value].shape.height;
  return {std::clamp<std::int64_t>(anchor + (step.first >> scale), 0, height),
          std::clamp<std::int64_t>(anchor + (step.end >> scale), 0, height)};
}

float* Executor::row(ValueId value, std::int64_t y, Step step) {
  const Storage& s = layout_.values[value];
  const std::int64_t first = fresh(value, step).first;
  const std::ptrdiff_t border = static_cast<std::ptrdiff_t>(layout_.left) * program_.kernels().lanes;
  if (s.fresh_rows > 0 && y >= first) {
    return arena_.data() + s.fresh_offset + (y - first) * s.shape.row_stride + border;
  }
  if (s.half) {
    for (const Widened& w : widened_) {
      if (w.value == value)
        return arena_.data() + w.offset + (y - w.rows.first) * s.shape.row_stride + border;
    }
  }
  return carried_row(value, y) + border;
}

// Where row y of a value is carried in single precision, border included.
float* Executor::carried_row(ValueId value, std::int64_t y) {
  const Storage& s = layout_.values[value];
  return arena_.data() + s.carry_offset + (y % s.carry_rows) * s.shape.row_stride;
}

void Executor::widen_old_rows(const Node& node, Step step, RowRange made) {
  widened_.clear();
  std::size_t offset = layout_.widened_offset;
  for (const Read& read : reads(node, made)) {
    const Storage& s = layout_.values[read.value];
    const RowRange old{std::max<std::int64_t>(read.rows.first, 0),
                       std::min(read.rows.end, fresh(read.value, step).first)};
    if (!s.half || old.first >= old.end) continue;
    widened_.push_back({read.value, old, offset});
    pool_.run(static_cast<int>(old.end - old.first), [&](int i, int) {
      program_.kernels().widen(half_row(read.value, old.first + i),
                               arena_.data() + offset + i * s.shape.row_stride, s.shape.row_stride);
    });
    offset += static_cast<std::size_t>((old.end - old.first) * s.shape.row_stride);
  }
}

// Where row y of a value is carried in half precision.
std::uint16_t* Executor::half_row(ValueId value, std::int64_t y) {
  const Storage& s = layout_.values[value];
  return reinterpret_cast<std::uint16_t*>(arena_.data() + s.carry_offset +
                                          (y % s.carry_rows) * half_row_stride(s.shape));
}

// Pointers to rows first, first + stride, ... of a value; the shared zero row outside the image.
const float* const* Executor::rows(ValueId value, std::int64_t first, std::int64_t count, std::int64_t stride,
                                   Step step) {
  const float** out = pointers_.data() + pointers_used_;
  pointers_used_ += static_cast<std::size_t>(count);
  const float* zero = arena_.data() + layout_.zero_offset +
                      static_cast<std::ptrdiff_t>(layout_.left) * program_.kernels().lanes;
  const std::int64_t height = layout_.values[value].shape.height;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t y = first + i * stride;
    out[i] = y < 0 || y >= height ? zero : row(value, y, step);
  }
  return out;
}

// The rows below those that rows [first, first + count) read of a value x2^up larger; null outside `made`.
// Here, and for columns in the kernels, the image's edge is where a row is below itself: bands have no edges.
Interpolation Executor::interpolation(ValueId value, int up, Sampling sampling, std::int64_t first,
                                      std::int64_t count, RowRange made, Step step) {
  if (sampling == Sampling::nearest) return {};
  const std::int64_t last = layout_.values[value].shape.height - 1, mask = (std::int64_t{1} << up) - 1;
  const float** below = pointers_.data() + pointers_used_;
  pointers_used_ += static_cast<std::size_t>(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t y = first + i;
    below[i] = y < made.first || y >= made.end
                   ? nullptr
                   : row(value, std::min((y >> up) + ((y & mask) != 0 ? 1 : 0), last), step);
  }
  return {below, static_cast<int>(first & mask)};
}

// The destination of rows [first, ...): rows outside `made` are null. Epilogue operands come row for row.
Destination Executor::destination(const Node& node, const PackedNode& packed, std::int64_t first,
                                  RowRange made, Step step) {
  const RowShape& shape = layout_.values[node.output].shape;
  const std::int64_t count =
      made.end - first + program_.anchors().tile - 1;  // up to a whole tile past the end
  Destination out;
  auto** rows_out = const_cast<float**>(pointers_.data() + pointers_used_);
  pointers_used_ += static_cast<std::size_t>(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t y = first + i;
    rows_out[i] = y < made.first || y >= made.end ? nullptr : row(node.output, y, step);
  }
  out.rows = rows_out;
  out.block_stride = shape.block_stride;
  out.width = static_cast<int>(shape.width);
  out.left = layout_.left;
  out.right = layout_.right;
  out.blocks = shape.blocks;
  out.bias = program_.weights(packed.bias);
  out.half = program_.half() && node.output != program_.graph().output;
  steps_.clear();
  for (const EpilogueOp& op : node.epilogue) {
    EpilogueStep s;
    s.kind = op.kind;
    s.quantum = op.quantum;
    if (has_operand(op.kind)) {
      s.block_stride = layout_.values[op.value].shape.block_stride;
      s.up = op.up;
      const float** operand = pointers_.data() + pointers_used_;
      pointers_used_ += static_cast<std::size_t>(count);
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t y = first + i;
        operand[i] = y < made.first || y >= made.end ? nullptr : row(op.value, y >> op.up, step);
      }
      s.rows = operand;
      s.linear = interpolation(op.value, op.up, op.sampling, first, count, made, step);
    }
    out.linear = out.linear || s.linear.below != nullptr;
    steps_.push_back(s);
  }
  out.steps = steps_.data();
  out.step_count = static_cast<int>(steps_.size());
  return out;
}

void Executor::run_input(RowSource& source, Step step, RowRange made) {
  const ValueId value = program_.graph().input;
  const RowShape& shape = layout_.values[value].shape;
  const std::ptrdiff_t lanes = program_.kernels().lanes;
  pool_.run(static_cast<int>(made.end - made.first), [&](int item, int) {
    const std::int64_t y = made.first + item;
    float* to = row(value, y, step);
    source.load(y, to, shape.block_stride);
    for (int block = 0; block < shape.blocks; ++block) {
      float* base = to + block * shape.block_stride;
      std::memset(base - layout_.left * lanes, 0,
                  static_cast<std::size_t>(layout_.left * lanes) * sizeof(float));
      std::memset(base + shape.width * lanes, 0,
                  static_cast<std::size_t>(layout_.right * lanes) * sizeof(float));
    }
  });
}

void Executor::run_winograd(const Node& node, const PackedNode& packed, Step step, RowRange made) {
  const std::int64_t anchor = program_.anchors().anchor[node.output];
  const std::int64_t first = made.first - positive_mod(made.first - anchor, packed.tile);
  const std::int64_t tiles_y = (made.end - first + packed.tile - 1) / packed.tile;
  WinogradJob job;
  job.out = destination(node, packed, first, made, step);
  parts_.clear();
  for (const Part& part : node.parts) {
    parts_.push_back({rows(part.value, first - 1, tiles_y * packed.tile + 2, 1, step),
                      layout_.values[part.value].shape.block_stride,
                      program_.graph().values[part.value].channels});
  }
  job.parts = parts_.data();
  job.part_count = static_cast<int>(parts_.size());
  job.depth = packed.depth;
  program_.set_weights(packed, job);
  job.tiles_x = (job.out.width + packed.tile - 1) / packed.tile;
  // As many runs as give every thread the same share, in whole groups of what the micro-kernel takes.
  const auto tiles = static_cast<int>(tiles_y * job.tiles_x);
  const int micro = program_.kernels().micro_rows;
  const int groups = (tiles + micro - 1) / micro;
  const int most =
      std::max(packed.block / micro, 1) * pool_.threads();  // groups that the threads take at once
  const int runs = (groups + most - 1) / most * pool_.threads();
  const auto begin = [&](int run) {
    return std::min(static_cast<int>(std::int64_t{groups} * run / runs) * micro, tiles);
  };
  float* scratch = arena_.data() + layout_.floats;
  const Program::WinogradKernel kernel = program_.winograd(packed.tile);
  pool_.run(runs, [&](int run, int thread) {
    if (begin(run) == begin(run + 1)) return;
    WinogradJob mine = job;
    mine.next_first = begin(std::min(run + pool_.threads(), runs));
    mine.next_last = begin(std::min(run + pool_.threads() + 1, runs));
    mine.scratch = scratch + static_cast<std::size_t>(thread) * scratch_floats_;
    kernel(mine, begin(run), begin(run + 1));
  });
}

void Executor::run_direct(const Node& node, const PackedNode& packed, Step step, RowRange made) {
  const Destination out = destination(node, packed, made.first, made, step);
  const int phases = packed.phases;
  const std::int64_t count = made.end - made.first;
  taps_.resize(packed.direct.size());
  jobs_.assign(packed.direct.size(), {});
  for (std::size_t p = 0; p < packed.direct.size(); ++p) {
    const PackedPhase& phase = packed.direct[p];
    const std::int64_t row_phase = static_cast<std::int64_t>(p) / phases;
    std::vector<Tap>& taps = taps_[p];
    taps.clear();
    for (std::size_t t = 0; t < phase.taps.size(); ++t) {
      const PackedTap& packed_tap = phase.taps[t];
      const ValueId value = node.parts[static_cast<std::size_t>(packed_tap.part)].value;
      const RowShape& shape = layout_.values[value].shape;
      Tap tap;
      tap.block_stride = shape.block_stride;
      tap.channels = program_.graph().values[value].channels;
      tap.column_step = packed_tap.column_step;
      tap.dx = packed_tap.dx;
      // Taps of one kernel row read the same rows.
      for (std::size_t k = 0; k < t && tap.rows == nullptr; ++k) {
        if (phase.taps[k].part == packed_tap.part && phase.taps[k].dy == packed_tap.dy)
          tap.rows = taps[k].rows;
      }
      if (tap.rows == nullptr) {
        if (phases == 1) {
          tap.rows =
              rows(value, made.first * packed_tap.row_step + packed_tap.dy, count, packed_tap.row_step, step);
        } else {
          const float** to = pointers_.data() + pointers_used_;
          pointers_used_ += static_cast<std::size_t>(count);
          for (std::int64_t i = 0; i < count; ++i) {
            const std::int64_t y = made.first + i;
            if (y % phases != row_phase) continue;
            const std::size_t used = pointers_used_;
            to[i] = *rows(value, y / phases + packed_tap.dy, 1, 1, step);
            pointers_used_ = used;
          }
          tap.rows = to;
        }
      }
      taps.push_back(tap);
    }
    DirectJob& job = jobs_[p];
    job.out = out;
    job.taps = taps.data();
    job.tap_count = static_cast<int>(taps.size());
    job.depth = phase.depth;
    job.weights = program_.weights(phase.weights);
    job.phase = static_cast<int>(p) % phases;
    job.column_stride = phases;
  }
  const int columns = out.width / phases;
  const int micro = program_.kernels().micro_rows;
  const int block =
      std::min((packed.block + micro - 1) / micro * micro, (columns + micro - 1) / micro * micro);
  const int chunks = (columns + block - 1) / block;
  pool_.run(static_cast<int>(count) * phases * chunks, [&](int item, int) {
    const int chunk = item % chunks, phase = item / chunks % phases, i = item / chunks / phases;
    const auto row_phase = static_cast<int>((made.first + i) % phases);
    program_.kernels().direct(jobs_[static_cast<std::size_t>(row_phase * phases + phase)], i, chunk * block,
                              std::min((chunk + 1) * block, columns));
  });
}

void Executor::run_rowwise(const Node& node, const PackedNode& packed, Step step, RowRange made) {
  const Destination out = destination(node, packed, made.first, made, step);
  const auto count = static_cast<int>(made.end - made.first);
  parts_.clear();
  for (const Part& part : node.parts) {
    const float** to = pointers_.data() + pointers_used_;
    pointers_used_ += static_cast<std::size_t>(count);
    for (int i = 0; i < count; ++i) {
      const std::int64_t y = made.first + i;
      to[i] = row(part.value, part.shift >= 0 ? y << part.shift : y >> -part.shift, step);
    }
    parts_.push_back(
        {to, layout_.values[part.value].shape.block_stride, program_.graph().values[part.value].channels});
  }
  if (packed.kernel == Kernel::copy) {
    const Part& part = node.parts.front();
    const CopyJob job{out, parts_.front(), part.shift,
                      interpolation(part.value, -part.shift, part.sampling, made.first, count, made, step)};
    pool_.run(count, [&](int item, int) { program_.kernels().copy(job, item); });
  } else {
    const ConcatJob job{out, parts_.data(), static_cast<int>(parts_.size())};
    pool_.run(count, [&](int item, int) { program_.kernels().concat(job, item); });
  }
}

// Saves the newest rows of a value whose last reader of this step is done.
void Executor::keep_carry(ValueId value, Step step) {
  const Storage& s = layout_.values[value];
  if (s.carry_rows == 0 || s.fresh_rows == 0) return;
  const RowRange made = fresh(value, step);
  const std::int64_t first = std::max(made.first, made.end - s.carry_rows);
  pool_.run(static_cast<int>(made.end - first), [&](int i, int) {
    const std::int64_t y = first + i;
    const float* from = arena_.data() + s.fresh_offset + (y - made.first) * s.shape.row_stride;
    if (s.half) {
      program_.kernels().narrow(from, half_row(value, y), s.shape.row_stride);
    } else {
      std::memcpy(carried_row(value, y), from, static_cast<std::size_t>(s.shape.row_stride) * sizeof(float));
    }
  });
}

bool Executor::run(RowSource& source, RowSink& sink, const std::function<bool(double)>& progress,
                   Phases& phases) {
  const Graph& graph = program_.graph();
  std::vector<double> work(graph.nodes.size());  // of one row of each node
  double total = 0, done = 0;
  for (std::size_t n = 0; n < work.size(); ++n) {
    const Value& value = graph.values[graph.nodes[n].output];
    double depth = 1;
    for (const PackedPhase& phase : program_.nodes()[n].direct) depth += static_cast<double>(phase.depth);
    if (const PackedNode& packed = program_.nodes()[n]; packed.kernel == Kernel::winograd) {
      const double side = 1.0 + 2.0 / packed.tile;      // points a pixel, an axis
      depth += std::round(side * side * packed.depth);  // whole numbers, so that the sum ends at exactly 1
    }
    work[n] = depth * value.channels / static_cast<double>(std::int64_t{1} << value.scale);
    total += work[n] * static_cast<double>(layout_.values[graph.nodes[n].output].shape.height);
  }
  phases.nodes.assign(graph.nodes.size(), 0.0);
  for (std::int64_t s = 0; s < layout_.steps; ++s) {
    const Step step{layout_.first + s * layout_.band, layout_.first + (s + 1) * layout_.band};
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      const RowRange made = fresh(node.output, step);
      if (made.first < made.end) {
        const Clock::time_point start = Clock::now();
        if (node.op == Op::input) {
          run_input(source, step, made);
        } else {
          run_node(n, step, made);
        }
        phases.nodes[n] += since(start);
        done += work[n] * static_cast<double>(made.end - made.first);
        if (progress && !progress(std::min(done / total, 1.0))) return false;
      }
      for (ValueId v = 0; v < graph.values.size(); ++v) {
        if (layout_.last_use[v] != n) continue;
        const Clock::time_point start = Clock::now();
        keep_carry(v, step);
        phases.nodes[n] += since(start);
      }
    }
    const RowRange made = fresh(graph.output, step);
    if (made.first < made.end) {
      const Clock::time_point start = Clock::now();
      const std::ptrdiff_t stride = layout_.values[graph.output].shape.block_stride;
      pool_.run(static_cast<int>(made.end - made.first), [&](int item, int) {
        sink.store(made.first + item, row(graph.output, made.first + item, step), stride);
      });
      phases.output += since(start);
    }
    keep_carry(graph.output, step);
  }
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    (graph.nodes[n].op == Op::input ? phases.input : phases.compute) += phases.nodes[n];
  }
  return true;
}

void Executor::run_node(std::size_t index, Step step, RowRange made) {
  const Node& node = program_.graph().nodes[index];
  const PackedNode& packed = program_.nodes()[index];
  pointers_used_ = 0;
  if (program_.half()) widen_old_rows(node, step, made);
  switch (packed.kernel) {
    case Kernel::winograd:
      return run_winograd(node, packed, step, made);
    case Kernel::direct:
      return run_direct(node, packed, step, made);
    case Kernel::copy:
    case Kernel::concat:
      return run_rowwise(node, packed, step, made);
    case Kernel::input:
      return;
  }
}

}  // namespace mimo_rt::cpu
