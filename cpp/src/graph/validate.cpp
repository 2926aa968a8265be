// Checks that a graph keeps every rule that graph.hpp states, whoever made it: reader, passes or plan file.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "graph/limits.hpp"
#include "mimo_rt/error.hpp"
#include "mimo_rt/graph.hpp"

namespace mimo_rt {
namespace {

class Validator {
 public:
  explicit Validator(const Graph& graph) : graph_(graph), made_(graph.values.size(), false) {}

  void run() {
    check_tables();
    for (const Node& node : graph_.nodes) {
      node_ = &node;
      check_node(node);
      made_[node.output] = true;
    }
    node_ = nullptr;
    require(graph_.output < made_.size() && made_[graph_.output], "no node makes the output value");
    // One value a node, none made twice: with equal counts every value is made.
    require(graph_.values.size() == graph_.nodes.size(), "some value is made by no node");
  }

 private:
  void require(bool ok, const char* what) const {
    if (ok) return;
    const std::string where = node_ ? "node '" + node_->name + "': " : "";
    throw ModelError("model.invalid_graph", "the network description is inconsistent: " + where + what +
                                                "; build it again from the ONNX file");
  }

  void check_tables() const {
    require(!graph_.nodes.empty(), "it holds no nodes");
    require(graph_.nodes.size() <= kMaxNodes, "it holds too many nodes");
    require(graph_.input < graph_.values.size(), "the input is not one of its values");
    for (const Value& v : graph_.values) {
      require(v.channels >= 1 && v.channels <= kMaxChannels, "a value's channel count is out of range");
      require(v.scale >= 0 && v.scale <= kMaxScale, "a value's scale is out of range");
    }
    for (const Tensor& t : graph_.tensors) check_tensor(t);
    const Node& first = graph_.nodes.front();
    require(first.op == Op::input && first.output == graph_.input, "the first node is not the input");
    require(graph_.values[graph_.input].scale == 0, "the input's scale is not 0");
  }

  void check_tensor(const Tensor& t) const {
    std::size_t count = size_of(t.dtype);
    require(count != 0, "a tensor's dtype is unknown");
    require(t.shape.size() <= 8, "a tensor's rank is out of range");
    for (std::int64_t d : t.shape) {
      require(d >= 1, "a tensor's dimension is not positive");
      const auto dim = static_cast<std::uint64_t>(d);
      require(dim <= std::numeric_limits<std::size_t>::max() / count, "a tensor's size overflows");
      count *= dim;
    }
    require(t.data.size() == count, "a tensor's data has another size than its shape says");
  }

  const Value& used(ValueId id) const {
    require(id < graph_.values.size(), "it uses a value that does not exist");
    require(made_[id], "it uses a value before it is made");
    return graph_.values[id];
  }

  void check_sampling(Sampling sampling, bool enlarged) const {
    require(sampling <= Sampling::linear, "it samples in an unknown way");
    require(sampling == Sampling::nearest || enlarged, "it interpolates what it does not enlarge");
  }

  // The scale at which a part is read, after its resampling.
  std::int32_t part_scale(const Part& p) const {
    require(p.shift >= -kMaxScale && p.shift <= kMaxScale, "a part's shift is out of range");
    const std::int32_t scale = used(p.value).scale + p.shift;
    require(scale >= 0 && scale <= kMaxScale, "a part's scale is out of range");
    check_sampling(p.sampling, p.shift < 0);
    return scale;
  }

  void check_node(const Node& n) const {
    require(n.output < graph_.values.size(), "its output is not one of the values");
    require(!made_[n.output], "its output is made twice");
    require(n.op <= Op::concat, "its operator is unknown");
    if (n.op == Op::input) {
      require(&n == &graph_.nodes.front(), "there is a second input");
      require(n.parts.empty(), "the input has operands");
    } else {
      require(!n.parts.empty() && n.parts.size() <= kMaxParts, "its operand count is out of range");
    }
    const Value& out = graph_.values[n.output];
    std::int64_t channels = 0;
    std::int32_t scale = out.scale;
    for (std::size_t i = 0; i < n.parts.size(); ++i) {
      const std::int32_t s = part_scale(n.parts[i]);
      require(i == 0 || s == scale, "its operands differ in size");
      scale = s;
      channels += graph_.values[n.parts[i].value].channels;
    }
    if (n.op == Op::conv || n.op == Op::conv_transpose) {
      check_convolution(n, channels, scale, out);
    } else {
      check_plain(n, channels, scale, out);
    }
    check_epilogue(n, out);
  }

  void check_convolution(const Node& n, std::int64_t channels, std::int32_t scale, const Value& out) const {
    const bool transposed = n.op == Op::conv_transpose;
    require(n.kernel_h >= 1 && n.kernel_h <= kMaxKernel && n.kernel_w >= 1 && n.kernel_w <= kMaxKernel,
            "its kernel is out of range");
    require(n.stride == 1 || n.stride == 2, "its stride is not 1 or 2");
    require(n.pad_top >= 0 && n.pad_top < n.kernel_h && n.pad_left >= 0 && n.pad_left < n.kernel_w,
            "its padding is not smaller than its kernel");
    if (transposed) {
      require(n.parts.size() == 1 && n.parts[0].shift == 0, "a conv_transpose takes one part as it is");
      require(n.kernel_h >= n.stride && n.kernel_w >= n.stride, "its kernel is smaller than its stride");
    }
    for (const Part& p : n.parts) {
      require(p.shift >= 0, "a convolution's part is upsampled");
      require(p.shift == 0 || (n.kernel_h == 1 && n.kernel_w == 1),
              "a part is sampled under a kernel beyond 1x1");
    }
    const std::int32_t step = n.stride == 2 ? 1 : 0;
    require(out.scale == (transposed ? scale - step : scale + step), "its output's scale does not follow");
    require(n.weights >= 0 && static_cast<std::size_t>(n.weights) < graph_.tensors.size(),
            "its weights are missing");
    const Tensor& w = graph_.tensors[n.weights];
    require(w.dtype == DType::f32, "its weights are not float32");
    const std::vector<std::int64_t> shape =
        transposed ? std::vector<std::int64_t>{channels, out.channels, n.kernel_h, n.kernel_w}
                   : std::vector<std::int64_t>{out.channels, channels, n.kernel_h, n.kernel_w};
    require(w.shape == shape, "its weights' shape does not follow from channels and kernel");
    if (n.bias == kNone) return;
    require(n.bias >= 0 && static_cast<std::size_t>(n.bias) < graph_.tensors.size(),
            "its bias does not exist");
    const Tensor& b = graph_.tensors[n.bias];
    require(b.dtype == DType::f32 && b.shape == std::vector<std::int64_t>{out.channels},
            "its bias is not one float32 an output channel");
  }

  void check_plain(const Node& n, std::int64_t channels, std::int32_t scale, const Value& out) const {
    require(n.kernel_h == 1 && n.kernel_w == 1 && n.stride == 1 && n.pad_top == 0 && n.pad_left == 0 &&
                n.weights == kNone && n.bias == kNone,
            "it has a kernel, stride, padding or weights though it is no convolution");
    if (n.op == Op::input) return;
    if (n.op == Op::copy) require(n.parts.size() == 1, "a copy takes one part");
    if (n.op == Op::concat)
      for (const Part& p : n.parts) require(p.shift == 0, "a concat takes its parts as they are");
    require(out.channels == channels, "its output's channels do not follow");
    require(out.scale == scale, "its output's scale does not follow");
  }

  void check_epilogue(const Node& n, const Value& out) const {
    require(n.epilogue.size() <= kMaxEpilogue, "its epilogue is too long");
    require(n.epilogue.empty() || (n.op != Op::input && n.op != Op::concat),
            "its operator takes no epilogue");
    for (const EpilogueOp& e : n.epilogue) {
      require(e.kind <= EpilogueKind::quantise, "an epilogue step is unknown");
      if (e.kind == EpilogueKind::quantise)
        require(std::isfinite(e.quantum) && e.quantum > 0, "a quantising scale is not a positive number");
      if (!has_operand(e.kind)) continue;
      const Value& other = used(e.value);
      require(other.channels == out.channels, "an epilogue operand has other channels");
      require(e.up >= 0 && e.up <= kMaxScale && other.scale == out.scale + e.up,
              "an epilogue operand has another size");
      check_sampling(e.sampling, e.up > 0);
    }
  }

  const Graph& graph_;
  const Node* node_ = nullptr;
  std::vector<bool> made_;
};

}  // namespace

std::int32_t Graph::stride() const {
  std::int32_t largest = 0;
  for (const Value& v : values) largest = std::max(largest, v.scale);
  return std::int32_t{1} << std::min(largest, kMaxScale);
}

void validate(const Graph& graph) { Validator(graph).run(); }

}  // namespace mimo_rt
