// A 1x1 convolution over parts of several resolutions becomes a sum of 1x1 convolutions, each at its own
// part's resolution, because convolving 1x1 and repeating pixels may be done in either order. So may
// convolving 1x1 and interpolating, whose weights sum to 1, so that it leaves a bias as it is.
#include <map>
#include <string>
#include <utility>

#include "graph/limits.hpp"
#include "graph/passes/rewrite.hpp"

namespace mimo_rt::passes {
namespace {

// Input channels [begin, end) of a convolution's weights.
struct Channels {
  std::int64_t begin = 0, end = 0;
  auto operator<=>(const Channels&) const = default;
};

class Splitter {
 public:
  explicit Splitter(Graph& graph) : graph_(graph), maker_(makers(graph)) {
    for (const Tensor& tensor : graph.tensors) room_ += tensor.data.size();
  }

  bool run() {
    bool changed = false;
    std::vector<Node> old = std::move(graph_.nodes);
    graph_.nodes.clear();
    nodes_ = &old;
    for (std::size_t i = 0; i < old.size(); ++i) {
      const Node& n = old[i];
      const Sampling sampling = sampling_of(n);
      const auto levels = levels_of(n, sampling);
      // Without room for the nodes that splitting adds, or for slices of weights that many nodes share, the
      // network stays as it is.
      const bool room = graph_.nodes.size() + (old.size() - i) + levels.size() < kMaxNodes;
      if (levels.empty() || levels.rbegin()->first == 0 || !room || bytes_of(n, levels) > room_) {
        graph_.nodes.push_back(n);
      } else {
        split(n, levels, sampling);
        changed = true;
      }
    }
    return changed;
  }

 private:
  struct Level {
    std::vector<Part> parts;
    std::vector<Channels> channels;
  };

  bool is_doubled(const Part& p) const {
    const Node& source = (*nodes_)[maker_[p.value]];
    return p.shift == 0 && is_plain_copy(source) && source.parts[0].shift < 0;
  }
  const Part& source_of(const Part& p) const { return (*nodes_)[maker_[p.value]].parts[0]; }

  // How the parts are doubled that this call moves behind the convolution. Two ways make two sums, the second
  // at the next call.
  Sampling sampling_of(const Node& n) const {
    for (const Part& p : n.parts)
      if (is_doubled(p)) return source_of(p).sampling;
    return Sampling::nearest;
  }

  // The parts of a 1x1 convolution by how many such doublings lie between their source and the convolution.
  std::map<std::int32_t, Level> levels_of(const Node& n, Sampling sampling) const {
    std::map<std::int32_t, Level> levels;
    if (n.op != Op::conv || n.kernel_h != 1 || n.kernel_w != 1 || n.stride != 1) return levels;
    std::int64_t channel = 0;
    for (const Part& p : n.parts) {
      const bool doubled = is_doubled(p) && source_of(p).sampling == sampling;
      Level& level = levels[doubled ? -source_of(p).shift : 0];
      level.parts.push_back(doubled ? Part{source_of(p).value, 0} : p);
      const std::int64_t end = channel + graph_.values[p.value].channels;
      level.channels.push_back({channel, end});
      channel = end;
    }
    return levels;
  }

  // Of the slices that splitting adds.
  std::size_t bytes_of(const Node& n, const std::map<std::int32_t, Level>& levels) const {
    const Tensor& from = graph_.tensors[static_cast<std::size_t>(n.weights)];
    std::size_t bytes = 0;
    for (const auto& [up, level] : levels)
      if (!slices_.contains({n.weights, level.channels}))
        for (const Channels& c : level.channels)
          bytes += static_cast<std::size_t>(from.shape[0] * (c.end - c.begin)) * size_of(from.dtype);
    return bytes;
  }

  void split(const Node& n, const std::map<std::int32_t, Level>& levels, Sampling sampling) {
    const Value out = graph_.values[n.output];
    const std::int32_t finest = levels.begin()->first;
    ValueId coarser = 0;
    std::int32_t coarser_up = 0;
    for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
      const auto& [up, group] = *level;
      const bool last = up == finest;
      Node part = n;
      part.parts = group.parts;
      part.weights = slice(n.weights, group.channels);
      part.bias = last ? n.bias : kNone;
      part.epilogue.clear();
      if (level != levels.rbegin())
        part.epilogue.push_back({EpilogueKind::add, coarser, coarser_up - up, sampling});
      if (last && up == 0) {
        part.epilogue.insert(part.epilogue.end(), n.epilogue.begin(), n.epilogue.end());
        graph_.nodes.push_back(std::move(part));
        return;
      }
      const std::string tail = "@1/" + std::to_string(1 << (out.scale + up));
      part.name += tail;
      part.output = static_cast<ValueId>(graph_.values.size());
      graph_.values.push_back({out.name + tail, out.channels, out.scale + up});
      coarser = part.output;
      coarser_up = up;
      graph_.nodes.push_back(std::move(part));
    }
    // No part has the full resolution: the sum is made at the finest there is and enlarged. ReLUs may come
    // before pixels are repeated, not before they are interpolated.
    Node copy;
    copy.op = Op::copy;
    copy.name = n.name;
    copy.parts = {{coarser, -finest, sampling}};
    copy.output = n.output;
    auto rest = n.epilogue.begin();
    if (sampling == Sampling::nearest)
      for (; rest != n.epilogue.end() && rest->kind == EpilogueKind::relu; ++rest)
        graph_.nodes.back().epilogue.push_back(*rest);
    copy.epilogue.assign(rest, n.epilogue.end());
    graph_.nodes.push_back(std::move(copy));
  }

  // The weights of some input channels, one after another; convolutions that share weights share their
  // slices.
  std::int32_t slice(std::int32_t weights, const std::vector<Channels>& channels) {
    const auto [at, is_new] =
        slices_.try_emplace(std::pair{weights, channels}, static_cast<std::int32_t>(graph_.tensors.size()));
    if (!is_new) return at->second;
    const Tensor& from = graph_.tensors[static_cast<std::size_t>(weights)];
    Tensor to;
    to.dtype = from.dtype;
    to.shape = from.shape;
    to.shape[1] = 0;
    for (const Channels& c : channels) to.shape[1] += c.end - c.begin;
    const std::size_t width = size_of(from.dtype);
    to.data.reserve(static_cast<std::size_t>(to.shape[0] * to.shape[1]) * width);
    for (std::int64_t o = 0; o < from.shape[0]; ++o)
      for (const Channels& c : channels) {
        const std::byte* row = from.data.data() + static_cast<std::size_t>(o * from.shape[1]) * width;
        to.data.insert(to.data.end(), row + static_cast<std::size_t>(c.begin) * width,
                       row + static_cast<std::size_t>(c.end) * width);
      }
    room_ -= to.data.size();
    graph_.tensors.push_back(std::move(to));
    return at->second;
  }

  Graph& graph_;
  const std::vector<std::size_t> maker_;
  const std::vector<Node>* nodes_ = nullptr;
  // Bytes of slices: as many as the network has of weights, which is more than a sound one needs.
  std::size_t room_ = 0;
  std::map<std::pair<std::int32_t, std::vector<Channels>>, std::int32_t> slices_;
};

}  // namespace

bool split_pointwise(Graph& graph) { return Splitter(graph).run(); }

}  // namespace mimo_rt::passes
