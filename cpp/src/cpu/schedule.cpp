// Anchors, carry rows and the arena's layout.
#include "cpu/schedule.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "mimo_rt/error.hpp"

namespace mimo_rt::cpu {
namespace {

std::int64_t floor_div2(std::int64_t a) { return a >> 1; }
std::int64_t round_up(std::int64_t a, std::int64_t unit) { return (a + unit - 1) / unit * unit; }

int largest_scale(const Graph& graph) {
  int scale = 0;
  for (const Value& value : graph.values) scale = std::max(scale, value.scale);
  return scale;
}

// Calls f(value, source range) for everything that a node reads when it makes rows `made`.
template <typename F>
void for_each_read(const Node& node, RowRange made, F f) {
  for (const Part& part : node.parts) f(part.value, source_rows(node, part, made));
  for (const EpilogueOp& step : node.epilogue) {
    if (has_operand(step.kind)) f(step.value, operand_rows(step, made));
  }
}

// Sizes of an arena, refused as soon as they leave what a machine can hold.
class Floats {
 public:
  std::size_t take(std::int64_t rows, std::int64_t row_stride) {
    const std::size_t at = total_;
    add(rows, row_stride);
    return at;
  }
  void add(std::int64_t rows, std::int64_t row_stride) {
    constexpr std::int64_t kLimit = std::int64_t{1}
                                    << 46;  // floats; far above any memory, far below overflow
    if (rows != 0 && row_stride > kLimit / rows) overflow();
    total_ += static_cast<std::size_t>(rows * row_stride);
    if (total_ > static_cast<std::size_t>(kLimit)) overflow();
  }
  [[noreturn]] static void overflow() {
    throw MemoryLimitError("memory.overflow", "the image is too large: its rows exceed any memory");
  }
  std::size_t total() const { return total_; }

 private:
  std::size_t total_ = 0;
};

struct Interval {
  std::size_t value = 0;
  std::size_t size = 0;
  std::size_t first = 0, last = 0;  // nodes during which it lives
  std::size_t offset = 0;
};

// First fit by decreasing size: each interval takes the lowest place that no interval of the same time holds.
std::size_t place(std::vector<Interval>& intervals) {
  std::sort(intervals.begin(), intervals.end(), [](const Interval& a, const Interval& b) {
    return a.size != b.size ? a.size > b.size : a.value < b.value;
  });
  std::size_t end = 0;
  std::vector<const Interval*> rivals;
  for (std::size_t i = 0; i < intervals.size(); ++i) {
    Interval& interval = intervals[i];
    rivals.clear();
    for (std::size_t k = 0; k < i; ++k) {
      if (intervals[k].first <= interval.last && interval.first <= intervals[k].last)
        rivals.push_back(&intervals[k]);
    }
    std::sort(rivals.begin(), rivals.end(),
              [](const Interval* a, const Interval* b) { return a->offset < b->offset; });
    std::size_t at = 0;
    for (const Interval* rival : rivals) {
      if (at + interval.size <= rival->offset) break;
      at = std::max(at, rival->offset + rival->size);
    }
    interval.offset = at;
    end = std::max(end, at + interval.size);
  }
  return end;
}

}  // namespace

namespace {

// The last row of a source that row y reads where it is read x2^up larger.
std::int64_t last_read(std::int64_t y, std::int32_t up, Sampling sampling) {
  return (y + (sampling == Sampling::linear ? (std::int64_t{1} << up) - 1 : 0)) >> up;
}

}  // namespace

RowRange source_rows(const Node& node, const Part& part, RowRange d) {
  const auto scaled = [&](std::int64_t row) {
    return part.shift >= 0 ? row * (std::int64_t{1} << part.shift) : row >> -part.shift;
  };
  if (node.op == Op::conv) {
    return {scaled(d.first * node.stride - node.pad_top),
            scaled((d.end - 1) * node.stride + node.kernel_h - 1 - node.pad_top) + 1};
  }
  if (node.op == Op::conv_transpose) {
    if (node.stride == 1) return {d.first + node.pad_top - node.kernel_h + 1, d.end + node.pad_top};
    return {floor_div2(d.first + node.pad_top - node.kernel_h + 2), floor_div2(d.end - 1 + node.pad_top) + 1};
  }
  if (part.shift >= 0) return {scaled(d.first), scaled(d.end - 1) + 1};
  return {scaled(d.first), last_read(d.end - 1, -part.shift, part.sampling) + 1};
}

RowRange operand_rows(const EpilogueOp& step, RowRange d) {
  return {d.first >> step.up, last_read(d.end - 1, step.up, step.sampling) + 1};
}

std::vector<Read> reads(const Node& node, RowRange made) {
  std::vector<Read> list;
  for_each_read(node, made, [&](ValueId value, RowRange rows) {
    for (Read& read : list) {
      if (read.value != value) continue;
      read.rows = {std::min(read.rows.first, rows.first), std::max(read.rows.end, rows.end)};
      return;
    }
    list.push_back({value, rows});
  });
  return list;
}

std::int64_t half_row_stride(const RowShape& shape) { return round_up((shape.row_stride + 1) / 2, 16); }

Anchors compute_anchors(const Graph& graph, std::span<const int> tiles, int micro_rows) {
  Anchors a;
  a.anchor.assign(graph.values.size(), std::numeric_limits<std::int64_t>::min());
  a.carry.assign(graph.values.size(), 0);
  a.anchor[graph.output] = 0;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const std::int64_t made = a.anchor[node->output];
    for_each_read(*node, {made, made}, [&](ValueId value, RowRange read) {
      a.anchor[value] = std::max(a.anchor[value], read.end);
    });
  }
  for (const Node& node : graph.nodes) {
    const std::int64_t made = a.anchor[node.output];
    for_each_read(node, {made, made}, [&](ValueId value, RowRange read) {
      a.carry[value] = std::max(a.carry[value], a.anchor[value] - read.first);
    });
  }
  for (std::int64_t& anchor : a.anchor) {
    if (anchor == std::numeric_limits<std::int64_t>::min()) anchor = 0;  // read by nobody
  }
  a.unit = std::int64_t{1} << largest_scale(graph);
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    if (tiles[n] == 0) {
      if (graph.nodes[n].op == Op::conv) {
        for (const Part& part : graph.nodes[n].parts) {
          const int column_step = graph.nodes[n].stride << std::max(0, part.shift);
          a.hang = std::max(a.hang, (micro_rows - 1) * column_step);
        }
      }
      if (graph.nodes[n].op == Op::conv_transpose) a.hang = std::max(a.hang, micro_rows - 1);
      continue;
    }
    a.unit = std::lcm(a.unit, std::int64_t{tiles[n]} << graph.values[graph.nodes[n].output].scale);
    a.tile = std::max(a.tile, tiles[n]);
  }
  for (std::size_t v = 0; v < graph.values.size(); ++v) {
    a.lead = std::max(a.lead, a.anchor[v] * (std::int64_t{1} << graph.values[v].scale));
  }
  return a;
}

Layout make_layout(const Graph& graph, const Anchors& anchors, std::int64_t height, std::int64_t width,
                   std::int64_t band, int lanes, bool half) {
  constexpr std::int64_t kLargestSide = std::int64_t{1} << 30;
  if (height > kLargestSide || width > kLargestSide) Floats::overflow();
  Layout layout;
  layout.first = -round_up(std::max<std::int64_t>(anchors.lead, 0), anchors.unit);
  const std::int64_t whole = round_up(height, anchors.unit) - layout.first;
  layout.band = band <= 0 || band > whole ? whole : round_up(band, anchors.unit);
  layout.steps = (height - layout.first + layout.band - 1) / layout.band;

  // Borders: what kernels reach over, and on the right also what the last tile hangs over.
  for (const Node& node : graph.nodes) {
    if (node.op != Op::conv && node.op != Op::conv_transpose) continue;
    layout.left = std::max({layout.left, node.pad_left, node.kernel_w - 1 - node.pad_left});
  }
  layout.right = layout.left + anchors.tile - 1;
  const int hang = layout.left + anchors.hang;

  const std::size_t count = graph.values.size();
  layout.values.resize(count);
  layout.last_use.assign(count, 0);
  std::vector<std::size_t> made_by(count, 0);
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    made_by[graph.nodes[n].output] = n;
    for_each_read(graph.nodes[n], {0, 1}, [&](ValueId value, RowRange) { layout.last_use[value] = n; });
  }
  layout.last_use[graph.output] = graph.nodes.size();

  Floats total;
  std::int64_t longest = 0;
  std::vector<Interval> intervals;
  for (std::size_t v = 0; v < count; ++v) {
    const Value& value = graph.values[v];
    Storage& s = layout.values[v];
    s.shape.width = width >> value.scale;
    s.shape.height = height >> value.scale;
    s.shape.blocks = (value.channels + lanes - 1) / lanes;
    s.shape.block_stride = (layout.left + s.shape.width + layout.right) * lanes;
    // What hangs over the last block stays in its row: the next one may be under way.
    s.shape.row_stride =
        round_up(s.shape.block_stride * s.shape.blocks + std::max(0, hang - layout.right) * lanes, 16);
    if (s.shape.row_stride / 16 % 2 == 0) s.shape.row_stride += 16;
    longest = std::max(longest, s.shape.row_stride);
    const std::int64_t step = layout.band >> value.scale;
    const std::int64_t carry =
        layout.steps > 1 ? std::clamp<std::int64_t>(anchors.carry[v], 0, s.shape.height) : 0;
    s.half = half && carry > 0 && v != graph.input && v != graph.output;
    if (carry > step && !s.half) {
      s.carry_rows = std::min(carry + step, s.shape.height);
    } else {
      s.carry_rows = carry;
      s.fresh_rows = std::min(step, s.shape.height);
      if (s.shape.row_stride >
          std::numeric_limits<std::int64_t>::max() / 8 / std::max<std::int64_t>(s.fresh_rows, 1)) {
        Floats::overflow();
      }
      intervals.push_back({v, static_cast<std::size_t>(s.fresh_rows * s.shape.row_stride), made_by[v],
                           std::max(layout.last_use[v], made_by[v]), 0});
    }
    s.carry_offset = total.take(s.carry_rows, s.half ? half_row_stride(s.shape) : s.shape.row_stride);
  }
  std::int64_t widened = 0;
  for (const Node& node : graph.nodes) {
    const std::int64_t anchor = anchors.anchor[node.output];
    std::int64_t floats = 0;
    for (const Read& read :
         reads(node, {anchor, anchor + (layout.band >> graph.values[node.output].scale)})) {
      const Storage& s = layout.values[read.value];
      const std::int64_t old = std::min(read.rows.end, anchors.anchor[read.value]) - read.rows.first;
      if (s.half) floats += std::clamp<std::int64_t>(old, 0, s.shape.height) * s.shape.row_stride;
    }
    widened = std::max(widened, floats);
  }
  layout.widened_offset = total.take(1, widened);
  layout.zero_offset = total.take(1, longest);
  const std::size_t fresh = total.total();
  total.add(1, static_cast<std::int64_t>(std::min<std::size_t>(place(intervals), std::size_t{1} << 47)));
  for (const Interval& interval : intervals) {
    layout.values[interval.value].fresh_offset = fresh + interval.offset;
  }
  // The micro-kernel may load (and never use) a few pixels past the last row.
  total.add(1, longest + 4096);
  layout.floats = total.total();
  return layout;
}

}  // namespace mimo_rt::cpu
