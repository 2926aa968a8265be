// Packing of weights and timing of the neutral tactics.
#include "cpu/program.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "core/floating_point.hpp"
#include "cpu/tactics.hpp"
#include "mimo_rt/error.hpp"

namespace mimo_rt::cpu {
namespace {

Kernel kernel_by_name(const std::string& name) {
  if (name == kInput) return Kernel::input;
  if (name == kWinogradF4 || name == kWinogradF6 || name == kWinogradF4Half || name == kWinogradF6Half)
    return Kernel::winograd;
  if (name == kDirect) return Kernel::direct;
  if (name == kCopy) return Kernel::copy;
  if (name == kConcat) return Kernel::concat;
  throw PlanError("plan.unknown_kernel", "the plan names the kernel '" + name.substr(0, 40) +
                                             "', which this version does not have; build the plan again");
}

// Weight (output channel o, input channel i of the concatenation, ky, kx) of a node, whatever its ONNX
// layout.
class Weights {
 public:
  Weights(const Graph& graph, const Node& node)
      : tensor_(graph.tensors[static_cast<std::size_t>(node.weights)]),
        transposed_(node.op == Op::conv_transpose),
        outputs_(graph.values[node.output].channels),
        kernel_h_(node.kernel_h),
        kernel_w_(node.kernel_w) {
    inputs_ = 0;
    for (const Part& part : node.parts) inputs_ += graph.values[part.value].channels;
  }
  float operator()(int o, int i, int ky, int kx) const {
    const std::int64_t lead = transposed_ ? static_cast<std::int64_t>(i) * outputs_ + o
                                          : static_cast<std::int64_t>(o) * inputs_ + i;
    float value = 0;
    std::memcpy(&value, tensor_.data.data() + ((lead * kernel_h_ + ky) * kernel_w_ + kx) * 4, 4);
    return value;
  }

 private:
  const Tensor& tensor_;
  bool transposed_;
  int inputs_ = 0, outputs_ = 0, kernel_h_ = 1, kernel_w_ = 1;
};

constexpr int kMostPoints = 64;

// G g G^T of F(tile, 3) in double precision, rounded once by the caller.
void transform_weights(const Weights& weights, int o, int i, int tile, double (&u)[kMostPoints]) {
  static constexpr double kG4[6][3] = {{0.25, 0, 0},
                                       {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                       {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                       {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                       {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                       {0, 0, 1}};
  static constexpr double kG6[8][3] = {{1, 0, 0},
                                       {-2.0 / 9, -2.0 / 9, -2.0 / 9},
                                       {-2.0 / 9, 2.0 / 9, -2.0 / 9},
                                       {1.0 / 90, 1.0 / 45, 2.0 / 45},
                                       {1.0 / 90, -1.0 / 45, 2.0 / 45},
                                       {32.0 / 45, 16.0 / 45, 8.0 / 45},
                                       {32.0 / 45, -16.0 / 45, 8.0 / 45},
                                       {0, 0, 1}};
  const double(*g)[3] = tile == 4 ? kG4 : kG6;
  const int side = tile + 2;
  double half[8][3] = {};
  for (int a = 0; a < side; ++a) {
    for (int x = 0; x < 3; ++x) {
      for (int y = 0; y < 3; ++y) half[a][x] += g[a][y] * static_cast<double>(weights(o, i, y, x));
    }
  }
  for (int a = 0; a < side; ++a) {
    for (int b = 0; b < side; ++b) {
      double sum = 0;
      for (int x = 0; x < 3; ++x) sum += g[b][x] * half[a][x];
      u[a * side + b] = sum;
    }
  }
}

std::size_t round_up(std::size_t a, std::size_t unit) { return (a + unit - 1) / unit * unit; }

// Packed weights are some times what the file holds: 64 numbers for 9 where a tile has 8x8 points, and whole
// panels of channels. A file that would have them be far more is hostile.
void check_growth(const Graph& g, std::size_t packed_floats) {
  constexpr std::size_t kMostTimes = 32, kAlwaysFine = std::size_t{16} << 20;
  std::size_t numbers = 0;
  for (const Tensor& tensor : g.tensors) numbers += tensor.data.size() / size_of(tensor.dtype);
  if (packed_floats / kMostTimes <= numbers || packed_floats <= kAlwaysFine) return;
  throw ModelError("model.packed_size",
                   "the model's weights would take " + std::to_string(packed_floats >> 18) +
                       " MiB made ready to run, and it holds no more than " + std::to_string(numbers >> 18) +
                       " MiB of them; it is no sound network");
}

double clock_timer(std::string_view, const std::function<void()>& run) {
  run();  // warms caches and pages
  double best = 1e30;
  for (int round = 0; round < 3; ++round) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

Program::Program(Plan plan) : plan_(std::move(plan)) {
  const DefaultFloatingPoint scope;
  const std::string& target = plan_.key.target;
  table_ = kernel_table(target.c_str());
  if (table_ == nullptr || !target_runs_here(target.c_str())) {
    std::string available;
    for (const std::string& name : available_targets()) available += (available.empty() ? "" : ", ") + name;
    throw BackendError("backend.target", "the instruction set '" + target.substr(0, 40) +
                                             "' does not run here; available: " + available);
  }
  const Graph& g = graph();
  if (plan_.tactics.size() != g.nodes.size()) {
    throw PlanError("plan.corrupt", "the plan does not hold one tactic a node; build the plan again");
  }
  nodes_.resize(g.nodes.size());
  std::size_t at = 0;
  std::vector<int> tiles;
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    at = lay_out_node(n, at);
    tiles.push_back(nodes_[n].tile);
  }
  check_growth(g, at);
  anchors_ = compute_anchors(g, tiles, table_->micro_rows);
  weights_ = Arena(at);
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    if (!nodes_[n].shared) pack_node(n);
  }
}

// Whether two nodes have their weights packed into the same numbers: a network that runs the same layers on
// two sizes of an image names them twice.
bool Program::packs_alike(std::size_t first, std::size_t second) const {
  const Graph& g = graph();
  const Node &a = g.nodes[first], &b = g.nodes[second];
  const auto layer = [](const Node& n) {
    return std::tie(n.op, n.weights, n.bias, n.kernel_h, n.kernel_w, n.stride, n.pad_top, n.pad_left);
  };
  const auto part = [&g](const Part& p) { return std::pair(g.values[p.value].channels, p.shift); };
  return a.weights != kNone && layer(a) == layer(b) &&
         plan_.tactics[first].kernel == plan_.tactics[second].kernel &&
         g.values[a.output].channels == g.values[b.output].channels &&
         std::ranges::equal(a.parts, b.parts, {}, part, part);
}

// Decides where a node's packed weights lie; returns where the next node's begin.
std::size_t Program::lay_out_node(std::size_t index, std::size_t at) {
  const Graph& g = graph();
  const Node& node = g.nodes[index];
  const Tactic& tactic = plan_.tactics[index];
  PackedNode& packed = nodes_[index];
  packed.kernel = kernel_by_name(tactic.kernel);
  const Kernel expected = kernel_by_name(std::string(kernel_for(g, node)));
  const bool fits =
      packed.kernel == expected || (expected == Kernel::winograd && packed.kernel == Kernel::direct);
  if (!fits || tactic.block < 1 || tactic.block > 65536) {
    throw PlanError("plan.unfit_tactic", "the plan runs node '" + node.name.substr(0, 80) + "' by '" +
                                             tactic.kernel +
                                             "', which does not fit it; build the plan again");
  }
  for (std::size_t earlier = 0; earlier < index; ++earlier) {
    if (packs_alike(earlier, index)) {
      packed = nodes_[earlier];
      packed.shared = true;
      packed.block = tactic.block;
      return at;
    }
  }
  packed.block = tactic.block;
  if (packed.kernel == Kernel::winograd) {
    packed.tile = tactic.kernel == kWinogradF4 || tactic.kernel == kWinogradF4Half ? 4 : 6;
    packed.half_weights = tactic.kernel == kWinogradF4Half || tactic.kernel == kWinogradF6Half;
  }
  const auto panel = static_cast<std::size_t>(table_->panel);
  const std::size_t outputs = round_up(static_cast<std::size_t>(g.values[node.output].channels), panel);
  packed.bias = at;
  at += outputs;
  if (packed.kernel == Kernel::winograd) {
    for (std::size_t p = 0; p < node.parts.size(); ++p) {
      const int channels = g.values[node.parts[p].value].channels;
      const bool last = p + 1 == node.parts.size();
      packed.depth += last ? channels
                           : static_cast<int>(round_up(static_cast<std::size_t>(channels),
                                                       static_cast<std::size_t>(table_->lanes)));
    }
    packed.weights = at;
    const std::size_t count = outputs * static_cast<std::size_t>((packed.tile + 2) * (packed.tile + 2)) *
                              static_cast<std::size_t>(packed.depth);
    at += packed.half_weights ? count / 2 : count;
  } else if (packed.kernel == Kernel::direct) {
    const bool transposed = node.op == Op::conv_transpose;
    packed.phases = transposed ? node.stride : 1;
    for (int py = 0; py < packed.phases; ++py) {
      for (int px = 0; px < packed.phases; ++px) {
        PackedPhase phase;
        for (int ky = 0; ky < node.kernel_h; ++ky) {
          for (int kx = 0; kx < node.kernel_w; ++kx) {
            for (std::size_t p = 0; p < node.parts.size(); ++p) {
              PackedTap tap;
              tap.part = static_cast<int>(p);
              if (transposed) {
                const int y = py + node.pad_top - ky, x = px + node.pad_left - kx;
                if (y % node.stride != 0 || x % node.stride != 0) continue;
                tap.dy = y / node.stride;
                tap.dx = x / node.stride;
              } else {
                const int zoom = 1 << node.parts[p].shift;
                tap.row_step = tap.column_step = node.stride * zoom;
                tap.dy = (ky - node.pad_top) * zoom;
                tap.dx = (kx - node.pad_left) * zoom;
              }
              phase.taps.push_back(tap);
              phase.depth += g.values[node.parts[p].value].channels;
            }
          }
        }
        phase.weights = at;
        at += outputs * static_cast<std::size_t>(phase.depth);
        packed.direct.push_back(std::move(phase));
      }
    }
  }
  return round_up(at, 16);
}

void Program::pack_node(std::size_t index) {
  const Graph& g = graph();
  const Node& node = g.nodes[index];
  const PackedNode& packed = nodes_[index];
  const int channels = g.values[node.output].channels;
  const int panel = table_->panel;
  const int panels = (channels + panel - 1) / panel;
  float* bias = weights_.data() + packed.bias;
  std::fill_n(bias, panels * panel, 0.0F);
  if (node.bias != kNone) {
    std::memcpy(bias, g.tensors[static_cast<std::size_t>(node.bias)].data.data(),
                static_cast<std::size_t>(channels) * sizeof(float));
  }
  if (packed.kernel == Kernel::winograd) {
    const Weights weights(g, node);
    const std::int64_t plane = static_cast<std::int64_t>(packed.depth) * panel;
    const int points = (packed.tile + 2) * (packed.tile + 2);
    const std::int64_t count = plane * points * panels;
    std::vector<float> wide(packed.half_weights ? static_cast<std::size_t>(count) : 0);
    float* to = packed.half_weights ? wide.data() : weights_.data() + packed.weights;
    std::fill_n(to, count, 0.0F);
    double u[kMostPoints];
    for (int o = 0; o < channels; ++o) {
      float* column = to + (o / panel) * plane + o % panel;
      int input = 0, row = 0;
      for (const Part& part : node.parts) {
        const int channels_of_part = g.values[part.value].channels;
        for (int i = 0; i < channels_of_part; ++i) {
          transform_weights(weights, o, input + i, packed.tile, u);
          for (int xi = 0; xi < points; ++xi) {
            column[xi * panels * plane + static_cast<std::int64_t>(row + i) * panel] =
                static_cast<float>(u[xi]);
          }
        }
        input += channels_of_part;
        row += (channels_of_part + table_->lanes - 1) / table_->lanes * table_->lanes;
      }
    }
    if (packed.half_weights) {
      table_->narrow(to, reinterpret_cast<std::uint16_t*>(weights_.data() + packed.weights), count);
    }
  } else if (packed.kernel == Kernel::direct) {
    const Weights weights(g, node);
    std::vector<int> first_channel;
    int sum = 0;
    for (const Part& part : node.parts) {
      first_channel.push_back(sum);
      sum += g.values[part.value].channels;
    }
    for (int py = 0; py < packed.phases; ++py) {
      for (int px = 0; px < packed.phases; ++px) {
        const PackedPhase& phase = packed.direct[static_cast<std::size_t>(py * packed.phases + px)];
        float* to = weights_.data() + phase.weights;
        for (int first = 0; first < panels * panel; first += panel) {
          for (const PackedTap& tap : phase.taps) {
            const bool transposed = node.op == Op::conv_transpose;
            const int zoom = transposed ? 1 : 1 << node.parts[static_cast<std::size_t>(tap.part)].shift;
            const int ky =
                transposed ? py + node.pad_top - tap.dy * node.stride : tap.dy / zoom + node.pad_top;
            const int kx =
                transposed ? px + node.pad_left - tap.dx * node.stride : tap.dx / zoom + node.pad_left;
            const auto part = static_cast<std::size_t>(tap.part);
            const int count = g.values[node.parts[part].value].channels;
            for (int i = 0; i < count; ++i) {
              for (int o = first; o < first + panel; ++o) {
                *to++ = o < channels ? weights(o, first_channel[part] + i, ky, kx) : 0.0F;
              }
            }
          }
        }
      }
    }
  }
}

void Program::set_weights(const PackedNode& packed, WinogradJob& job) const {
  if (packed.half_weights) {
    job.half_weights = reinterpret_cast<const std::uint16_t*>(weights(packed.weights));
  } else {
    job.weights = weights(packed.weights);
  }
}

Program::WinogradKernel Program::winograd(int tile) const {
  for (const KernelTable::Winograd& entry : table_->winograd) {
    if (entry.tile == tile) return entry.run;
  }
  return nullptr;
}

void Program::tune(const Timer& given) {
  const Timer own(clock_timer);
  const Timer& timer = given ? given : own;  // not a copy: it may hold objects of an interpreter
  std::map<std::string, int> chosen;         // by kernel and shape
  for (std::size_t n = 0; n < nodes_.size(); ++n) {
    PackedNode& packed = nodes_[n];
    const Node& node = graph().nodes[n];
    const std::span<const int> candidates = block_candidates(plan_.tactics[n].kernel);
    if (packed.kernel != Kernel::winograd || candidates.size() < 2) continue;
    const int outputs = graph().values[node.output].channels;
    const std::string shape =
        plan_.tactics[n].kernel + " " + std::to_string(packed.depth) + "->" + std::to_string(outputs);
    auto found = chosen.find(shape);
    if (found == chosen.end()) {
      // A strip of 64 x 12 tiles: several blocks of each size. Rows are as many as in a run, for where they
      // lie in the caches is half of the matter; of very many channels, no more than fit into some megabytes.
      constexpr int kTilesX = 64, kTilesY = 12;
      const int tile = packed.tile, width = kTilesX * tile, height = kTilesY * tile;
      const WinogradKernel kernel = winograd(tile);
      const int lanes = table_->lanes;
      const std::int64_t block_stride = static_cast<std::int64_t>(width + 16) * lanes;
      const std::int64_t source_stride = (packed.depth + lanes - 1) / lanes * block_stride + 16;
      const std::int64_t destination_stride = (outputs + lanes - 1) / lanes * block_stride + 16;
      constexpr std::int64_t kMostFloats = std::int64_t{16} << 20;
      const std::int64_t distinct =
          std::clamp<std::int64_t>(kMostFloats / (source_stride + destination_stride), tile + 2, height + 2);
      const auto row_floats =
          static_cast<std::size_t>(distinct * (source_stride + destination_stride) + 16 * lanes);
      const int largest = *std::max_element(candidates.begin(), candidates.end());
      Arena memory(row_floats + winograd_scratch(*table_, tile, largest, packed.depth, outputs) + 4096);
      std::fill_n(memory.data(), memory.floats(), 0.0F);
      std::vector<const float*> source;
      std::vector<float*> destination;
      float* rows = memory.data() + 4 * lanes;
      for (int y = 0; y < height + 2; ++y) source.push_back(rows + y % distinct * source_stride);
      rows += distinct * source_stride;
      for (int y = 0; y < height; ++y) destination.push_back(rows + y % distinct * destination_stride);
      SourcePart part{source.data(), block_stride, packed.depth};
      WinogradJob job;
      job.out = {destination.data(),   block_stride, width, 1, 4, (outputs + lanes - 1) / lanes,
                 weights(packed.bias), nullptr,      0};
      job.parts = &part;
      job.part_count = 1;
      job.depth = packed.depth;
      set_weights(packed, job);
      job.tiles_x = kTilesX;
      job.scratch = memory.data() + row_floats;
      int best = candidates.front();
      double best_time = 0;
      for (const int block : candidates) {
        const double seconds = timer(shape + " block " + std::to_string(block), [&] {
          for (int first = 0; first < kTilesX * kTilesY; first += block) {
            kernel(job, first, std::min(first + block, kTilesX * kTilesY));
          }
        });
        if (block == candidates.front() || seconds < best_time) {
          best = block;
          best_time = seconds;
        }
      }
      found = chosen.emplace(shape, best).first;
    }
    packed.block = found->second;
    plan_.tactics[n].block = found->second;
  }
}

}  // namespace mimo_rt::cpu
