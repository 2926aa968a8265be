// Walks an ONNX graph once, in its own order: features become values and nodes, constants stay views until
// all is checked, shape arithmetic is evaluated on symbols. Weights are copied last, so that a bad file costs
// no memory.
#include "graph/onnx_reader.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>

#include "core/floating_point.hpp"
#include "graph/limits.hpp"
#include "graph/node_attributes.hpp"
#include "graph/onnx_proto.hpp"
#include "graph/passes/passes.hpp"
#include "graph/shape_values.hpp"
#include "graph/tensor_data.hpp"
#include "mimo_rt/error.hpp"

namespace mimo_rt {
namespace {

using onnx::Attribute;
using onnx::Dim;
using onnx::ElementType;
using onnx::fail;
using onnx::NodeView;
using onnx::quoted;
using onnx::ShapeValue;
using onnx::TensorView;

constexpr std::int64_t kOldestOpset = 9, kNewestOpset = 28;
constexpr std::size_t kMaxEdges = 65536;  // inputs and outputs of all nodes together
constexpr std::size_t kMaxName = 200;     // characters of a name that are kept
constexpr std::int32_t kMaxDiagonalChannels =
    16;  // a constant factor or summand may cost a 1x1 convolution up to here
constexpr const char* kSupported =
    "supported: Conv and ConvTranspose (group 1, dilation 1, stride 1 or 2), Relu, Add, Mul, Concat "
    "(channels), Resize "
    "(nearest, x1/2 or x2; linear asymmetric, x2), Identity, Cast and Dropout (inference), "
    "QuantizeLinear and DequantizeLinear (symmetric int8), and arithmetic on shapes in front of Resize";

// A feature in 8 bits: between QuantizeLinear and DequantizeLinear, where nothing else may read it.
struct Quantised {
  ValueId value = 0;  // already dequantised
  float scale = 0;
};

using Entity = std::variant<ValueId, const TensorView*, ShapeValue, Quantised>;

// A tensor of the graph before its data is copied.
struct Pending {
  const TensorView* view = nullptr;  // null: made here, already in Graph::tensors
};

// A constant added to, or multiplied with, the output channels of a convolution.
struct Affine {
  std::size_t node = 0;
  bool multiply = false;
  const TensorView* constant = nullptr;
};

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::filesystem::path& folder)
      : model_(onnx::parse_model(bytes)),
        tensors_(folder),
        budget_(bytes.size()),
        int8_budget_(bytes.size()) {}

  Graph read() {
    if (model_.opset == 0)
      throw ModelError("model.unsupported_opset",
                       "the model does not say which version of ONNX's operators it uses");
    if (model_.opset < kOldestOpset || model_.opset > kNewestOpset)
      throw ModelError("model.unsupported_opset", "the model uses version " + std::to_string(model_.opset) +
                                                      " of ONNX's operators; supported: 9 to 28; export with "
                                                      "opset_version=17");
    graph_.metadata = model_.metadata;
    survey();
    for (const TensorView& t : model_.initializers) define(t.name, &t, "constant");
    read_input();
    for (const std::string_view message : model_.nodes) {
      const NodeView node = onnx::parse_node(message);
      read_node(node);
      for (const std::string_view name : node.outputs) --edges_[name].makers_ahead;
    }
    read_output();
    finish();
    return std::move(graph_);
  }

 private:
  struct Edge {
    std::uint32_t uses = 0;
    std::uint32_t makers_ahead =
        0;  // nodes still to come that make it: tells a missing value from a late one
  };

  void survey() {
    std::size_t edges = 0;
    for (const std::string_view message : model_.nodes) {
      const NodeView node = onnx::parse_node(message);
      edges += node.inputs.size() + node.outputs.size();
      if (edges > kMaxEdges)
        throw ModelError("model.too_large", "the model's nodes have more than " + std::to_string(kMaxEdges) +
                                                " inputs and outputs, which no supported network needs");
      for (const std::string_view name : node.inputs) ++edges_[name].uses;
      for (const std::string_view name : node.outputs) ++edges_[name].makers_ahead;
    }
    for (const auto& output : model_.outputs) ++edges_[output.name].uses;
  }

  // --- names ---

  void define(std::string_view name, Entity entity, const char* what) {
    if (name.empty())
      throw ModelError("model.malformed", std::string("a ") + what + " of the model has no name");
    if (!names_.emplace(name, std::move(entity)).second)
      throw ModelError("model.duplicate_name",
                       "the name " + quoted(name) + " (" + what +
                           ") is given twice; names must be unique, export the model again");
  }

  static bool has_input(const NodeView& node, std::size_t i) {
    return i < node.inputs.size() && !node.inputs[i].empty();
  }

  const Entity& entity(const NodeView& node, std::size_t i) {
    if (!has_input(node, i)) fail(node, "model.malformed", "input " + std::to_string(i) + " is missing");
    const auto at = names_.find(node.inputs[i]);
    if (at != names_.end()) return at->second;
    if (edges_[node.inputs[i]].makers_ahead > 0)
      fail(node, "model.unordered_nodes",
           "it uses " + quoted(node.inputs[i]) +
               ", which only a later node makes; nodes must be in order and without cycles, export the model "
               "again");
    fail(node, "model.missing_tensor",
         "it uses " + quoted(node.inputs[i]) + ", which the model does not hold");
  }

  ValueId feature(const NodeView& node, std::size_t i) {
    if (const ValueId* v = std::get_if<ValueId>(&entity(node, i))) return *v;
    fail(node, "model.unsupported_operator",
         "input " + std::to_string(i) + " must be made from the image, not a constant; " + kSupported);
  }

  const TensorView& constant(const NodeView& node, std::size_t i) {
    if (const auto* t = std::get_if<const TensorView*>(&entity(node, i))) return **t;
    fail(node, "model.unsupported_operator",
         "input " + std::to_string(i) +
             " must be a constant stored in the model; export with the weights inside");
  }

  const std::string_view& output_name(const NodeView& node) {
    if (node.outputs.empty() || node.outputs[0].empty()) fail(node, "model.malformed", "it has no output");
    return node.outputs[0];
  }

  // --- building ---

  ValueId add_node(const NodeView& source, Node node, std::int64_t channels, std::int64_t scale) {
    if (channels < 1 || channels > kMaxChannels)
      fail(source, "model.too_large",
           "it makes " + std::to_string(channels) + " channels; at most 65536 are supported");
    if (scale < 0)
      fail(source, "model.unsupported_operator",
           "it makes a value larger than the image, which is not supported");
    if (scale > kMaxScale)
      fail(source, "model.unsupported_operator",
           "it makes a value at level 1/" + std::to_string(std::int64_t{1} << scale) +
               "; the deepest supported is 1/" + std::to_string(1 << kMaxScale));
    if (graph_.nodes.size() >= kMaxNodes)
      throw ModelError("model.too_large", "the model holds too many nodes for a supported network");
    const std::string_view output = output_name(source);
    const std::string_view name = source.name.empty() ? output : source.name;
    node.name = name.substr(0, kMaxName);
    node.output = static_cast<ValueId>(graph_.values.size());
    graph_.values.push_back({std::string(output.substr(0, kMaxName)), static_cast<std::int32_t>(channels),
                             static_cast<std::int32_t>(scale)});
    graph_.nodes.push_back(std::move(node));
    return graph_.nodes.back().output;
  }

  std::int32_t tensor_index(const TensorView& t) {
    const auto [at, is_new] =
        tensor_indices_.try_emplace(&t, static_cast<std::int32_t>(graph_.tensors.size()));
    if (is_new) {
      graph_.tensors.emplace_back();
      pending_.push_back({&t});
    }
    return at->second;
  }

  std::int32_t add_tensor(std::vector<std::int64_t> shape, const std::vector<float>& elements) {
    Tensor t;
    t.shape = std::move(shape);
    t.data.resize(elements.size() * sizeof(float));
    std::memcpy(t.data.data(), elements.data(), t.data.size());
    graph_.tensors.push_back(std::move(t));
    pending_.push_back({});
    return static_cast<std::int32_t>(graph_.tensors.size() - 1);
  }

  void read_input() {
    const onnx::ValueInfo* image = nullptr;
    for (const auto& info : model_.inputs) {
      const auto known = names_.find(info.name);
      if (known != names_.end() && std::holds_alternative<const TensorView*>(known->second))
        continue;  // a weight
      if (image != nullptr)
        throw ModelError("model.inputs", "the model has several inputs (" + quoted(image->name) + ", " +
                                             quoted(info.name) + "); supported is one, the image");
      image = &info;
    }
    if (image == nullptr)
      throw ModelError("model.inputs", "the model has no input; supported is one, the image");
    const auto complain = [&](const std::string& what) {
      throw ModelError("model.inputs", "the model's input " + quoted(image->name) + " " + what);
    };
    if (image->type != ElementType::f32) complain("is not float32; export the model in float32");
    if (!image->has_shape || image->dims.size() != 4)
      complain("is not of rank 4 (batch, channels, height, width)");
    if (image->dims[0] != -1 && image->dims[0] != 1)
      complain("has a fixed batch of " + std::to_string(image->dims[0]) + "; export with batch 1");
    if (image->dims[1] < 1 || image->dims[1] > kMaxChannels)
      complain("has no fixed number of channels between 1 and 65536; export with it fixed");
    if (image->dims[2] == 0 || image->dims[3] == 0) complain("has a height or width of 0");
    fixed_height_ = image->dims[2];
    fixed_width_ = image->dims[3];
    Node node;
    node.op = Op::input;
    node.name = image->name.substr(0, kMaxName);
    graph_.values.push_back({node.name, static_cast<std::int32_t>(image->dims[1]), 0});
    graph_.nodes.push_back(std::move(node));
    define(image->name, ValueId{0}, "input");
  }

  void read_output() {
    if (model_.outputs.size() != 1)
      throw ModelError("model.outputs",
                       "the model has " + std::to_string(model_.outputs.size()) +
                           " outputs; supported is one: export the full-resolution result alone");
    const std::string_view name = model_.outputs[0].name;
    const auto at = names_.find(name);
    if (at == names_.end())
      throw ModelError("model.missing_tensor", "no node makes the model's output " + quoted(name));
    const ValueId* value = std::get_if<ValueId>(&at->second);
    if (value == nullptr)
      throw ModelError("model.outputs",
                       "the model's output " + quoted(name) + " does not depend on the image");
    const Value& v = graph_.values[*value];
    if (v.scale != 0 || v.channels != graph_.values[0].channels)
      throw ModelError("model.outputs",
                       "the model's output " + quoted(name) + " has " + std::to_string(v.channels) +
                           " channels at level 1/" + std::to_string(1 << v.scale) +
                           "; supported is an image of the input's size and channels: export the "
                           "full-resolution result");
    graph_.output = *value;
  }

  // --- nodes ---

  void read_node(const NodeView& node) {
    if (!node.domain.empty() && node.domain != "ai.onnx")
      fail(node, "model.unsupported_operator",
           "operators of domain " + quoted(node.domain) + " are not supported; " + kSupported);
    const std::string_view op = node.op_type;
    if (op == "Constant") return define(output_name(node), constant_of(node), "value");
    if (op == "Shape") return define(output_name(node), shape_of(node), "value");
    if (op == "QuantizeLinear") return define(output_name(node), quantise(node), "value");
    if (op == "DequantizeLinear") return define(output_name(node), dequantise(node), "value");
    bool any_feature = false;
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      any_feature |= has_input(node, i) && std::holds_alternative<ValueId>(entity(node, i));
    if (!any_feature) {
      if (onnx::is_shape_operator(op)) return define(output_name(node), evaluate_shape(node), "value");
      fail(node, "model.unsupported_operator",
           std::string("the operator is not supported on constants; ") + kSupported);
    }
    define(output_name(node), feature_of(node), "value");
  }

  ValueId feature_of(const NodeView& node) {
    const std::string_view op = node.op_type;
    if (op == "Conv") return conv(node);
    if (op == "ConvTranspose") return conv_transpose(node);
    if (op == "Relu") return copy(node, feature(node, 0), 0, {{EpilogueKind::relu, 0, 0}});
    if (op == "Add" || op == "Mul") return elementwise(node);
    if (op == "Concat") return concat(node);
    if (op == "Resize" || op == "Upsample") return resize(node);
    if (op == "Identity") return alias(node);
    if (op == "Dropout") return dropout(node);
    if (op == "Cast") {
      // Half precision is computed in float32, which rounds less.
      const std::int64_t to = onnx::get_int(node, "to", 0);
      if (to != static_cast<std::int64_t>(ElementType::f32) &&
          to != static_cast<std::int64_t>(ElementType::f16))
        fail(node, "model.unsupported_operator", "features may be cast to float32 and float16 only");
      return alias(node);
    }
    fail(node, "model.unsupported_operator", std::string("the operator is not supported; ") + kSupported);
  }

  // A second name for a value: its uses can then no longer be counted by name.
  ValueId alias(const NodeView& node) {
    const ValueId v = feature(node, 0);
    aliased_.insert(v);
    return v;
  }

  Entity constant_of(const NodeView& node) {
    onnx::require_known(node, {"value", "value_float", "value_floats", "value_int", "value_ints"});
    if (node.attributes.size() != 1) fail(node, "model.malformed", "it must hold exactly one value");
    const Attribute& a = node.attributes[0];
    if (a.name == "value") {
      if (a.type != 4) fail(node, "model.malformed", "its value is not a tensor");
      constants_.push_back(onnx::parse_tensor(a.tensor));
      if (constants_.back().name.empty()) constants_.back().name = output_name(node);
      return &constants_.back();
    }
    ShapeValue v;
    v.scalar = a.name == "value_float" || a.name == "value_int";
    v.integer = a.name == "value_int" || a.name == "value_ints";
    const auto put = [&](double x) { v.entries.push_back({Dim::Base::constant, x}); };
    if (a.name == "value_float") put(a.f);
    if (a.name == "value_int") put(static_cast<double>(a.i));
    if (a.name == "value_floats") std::for_each(a.floats.begin(), a.floats.end(), put);
    if (a.name == "value_ints") std::for_each(a.ints.begin(), a.ints.end(), put);
    if (v.entries.size() > onnx::kMaxShapeEntries)
      fail(node, "model.unsupported_operator",
           "it holds a list longer than any shape; store weights as tensors");
    for (const Dim& d : v.entries)
      if (!std::isfinite(d.factor)) fail(node, "model.nonfinite_weights", "it holds NaN or infinity");
    return v;
  }

  Entity shape_of(const NodeView& node) {
    onnx::require_known(node, {"start", "end"});
    const Value& v = graph_.values[feature(node, 0)];
    const double part = std::ldexp(1.0, -v.scale);
    ShapeValue all;
    all.entries = {{Dim::Base::batch, 1},
                   {Dim::Base::constant, double(v.channels)},
                   {Dim::Base::height, part},
                   {Dim::Base::width, part}};
    const auto bound = [](std::int64_t i) { return std::clamp<std::int64_t>(i < 0 ? i + 4 : i, 0, 4); };
    const std::int64_t start = bound(onnx::get_int(node, "start", 0)),
                       end = bound(onnx::get_int(node, "end", 4));
    ShapeValue out;
    for (std::int64_t i = start; i < end; ++i)
      out.entries.push_back(all.entries[static_cast<std::size_t>(i)]);
    return out;
  }

  // A small constant or a symbolic list as a list.
  ShapeValue list(const NodeView& node, std::size_t i) {
    const Entity& e = entity(node, i);
    if (const ShapeValue* v = std::get_if<ShapeValue>(&e)) return *v;
    const auto* t = std::get_if<const TensorView*>(&e);
    if (t == nullptr)
      fail(node, "model.unsupported_operator",
           "input " + std::to_string(i) + " must be a list of sizes, not a feature");
    if ((*t)->dims.size() > 1)
      fail(node, "model.unsupported_operator",
           "input " + std::to_string(i) + " must be a list of rank 0 or 1");
    ShapeValue v;
    v.scalar = (*t)->dims.empty();
    v.integer = (*t)->type == ElementType::i64 || (*t)->type == ElementType::i32;
    for (const double x : tensors_.numbers(**t, onnx::kMaxShapeEntries))
      v.entries.push_back({Dim::Base::constant, x});
    return v;
  }

  Entity evaluate_shape(const NodeView& node) {
    // Weights may pass through Identity, or a Cast that only widens them.
    if (node.inputs.size() == 1 && has_input(node, 0))
      if (const auto* t = std::get_if<const TensorView*>(&entity(node, 0))) {
        if (node.op_type == "Identity") return *t;
        const bool is_float = (*t)->type == ElementType::f32 || (*t)->type == ElementType::f16;
        if (node.op_type == "Cast" && is_float && (*t)->element_count > onnx::kMaxShapeEntries) {
          if (onnx::get_int(node, "to", 0) == 1) return *t;
          fail(node, "model.unsupported_operator", "weights may be cast to float32 only; export in float32");
        }
      }
    std::vector<ShapeValue> lists(node.inputs.size());
    std::vector<const ShapeValue*> pointers(node.inputs.size(), nullptr);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (!has_input(node, i)) continue;
      lists[i] = list(node, i);
      pointers[i] = &lists[i];
    }
    return evaluate(node, pointers);
  }

  // --- convolutions ---

  struct Window {
    std::int32_t kernel[2], pad[2], pad_end[2], stride;
    bool automatic = false;
  };

  // Attributes that Conv and ConvTranspose share; kernel sizes come from the weights.
  Window window(const NodeView& node, const TensorView& weights) {
    if (weights.dims.size() != 4)
      fail(node, "model.bad_shape",
           "its weights have rank " + std::to_string(weights.dims.size()) +
               "; supported are 2-D convolutions, rank 4");
    for (const std::int64_t d : weights.dims)
      if (d < 1) fail(node, "model.bad_shape", "its weights have an empty dimension");
    if (onnx::get_int(node, "group", 1) != 1)
      fail(node, "model.unsupported_attribute", "grouped convolution is not supported; supported: group 1");
    for (const std::int64_t d : onnx::get_ints(node, "dilations"))
      if (d != 1)
        fail(node, "model.unsupported_attribute",
             "dilated convolution is not supported; supported: dilation 1");
    Window w{};
    const auto kernel = onnx::get_ints(node, "kernel_shape");
    if (!kernel.empty() &&
        (kernel.size() != 2 || kernel[0] != weights.dims[2] || kernel[1] != weights.dims[3]))
      fail(node, "model.bad_shape", "its kernel_shape differs from its weights' shape");
    auto strides = onnx::get_ints(node, "strides");
    if (strides.empty()) strides = {1, 1};
    if (strides.size() != 2 || strides[0] != strides[1] || (strides[0] != 1 && strides[0] != 2))
      fail(node, "model.unsupported_attribute",
           "its strides are not supported; supported: 1 or 2, alike in both axes");
    w.stride = static_cast<std::int32_t>(strides[0]);
    auto pads = onnx::get_ints(node, "pads");
    const std::string_view automatic = onnx::get_string(node, "auto_pad", "NOTSET");
    if (automatic != "NOTSET" && automatic != "VALID" && automatic != "SAME_UPPER" &&
        automatic != "SAME_LOWER")
      fail(node, "model.unsupported_attribute",
           "auto_pad " + quoted(automatic) + " is not one that ONNX knows");
    w.automatic = automatic.starts_with("SAME");
    if (automatic != "NOTSET" && std::any_of(pads.begin(), pads.end(), [](auto p) { return p != 0; }))
      fail(node, "model.unsupported_attribute", "it has pads beside auto_pad; export with one of them");
    if (pads.empty() || automatic != "NOTSET") pads = {0, 0, 0, 0};
    if (pads.size() != 4) fail(node, "model.bad_shape", "its pads are not four numbers");
    for (std::size_t axis = 0; axis < 2; ++axis) {
      const std::int64_t k = weights.dims[2 + axis];
      if (k > kMaxKernel)
        fail(node, "model.too_large", "its kernel is larger than " + std::to_string(kMaxKernel));
      for (const std::int64_t p : {pads[axis], pads[axis + 2]})
        if (p < 0 || p >= k)
          fail(node, "model.unsupported_attribute",
               "a padding of " + std::to_string(p) + " is not supported; supported: 0 to kernel - 1");
      w.kernel[axis] = static_cast<std::int32_t>(k);
      w.pad[axis] = static_cast<std::int32_t>(pads[axis]);
      w.pad_end[axis] = static_cast<std::int32_t>(pads[axis + 2]);
      if (w.automatic) {  // sizes are multiples of the stride, so the total is known
        const std::int32_t total = std::max(w.kernel[axis] - w.stride, 0);
        w.pad[axis] = automatic == "SAME_UPPER" ? total / 2 : total - total / 2;
        w.pad_end[axis] = total - w.pad[axis];
      }
    }
    return w;
  }

  Node convolution(const NodeView& node, Op op, const Window& w, std::int64_t outputs) {
    Node n;
    n.op = op;
    n.parts = {{feature(node, 0), 0}};
    n.kernel_h = w.kernel[0];
    n.kernel_w = w.kernel[1];
    n.pad_top = w.pad[0];
    n.pad_left = w.pad[1];
    n.stride = w.stride;
    n.weights = tensor_index(constant(node, 1));
    if (has_input(node, 2)) {
      const TensorView& bias = constant(node, 2);
      if (bias.dims.size() != 1 || bias.dims[0] != outputs)
        fail(node, "model.bad_shape", "its bias is not a list of one number an output channel");
      n.bias = tensor_index(bias);
    }
    if (node.inputs.size() > 3) fail(node, "model.malformed", "it has more than three inputs");
    return n;
  }

  ValueId conv(const NodeView& node) {
    onnx::require_known(node, {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"});
    const TensorView& weights = constant(node, 1);
    const Window w = window(node, weights);
    const Value in = graph_.values[feature(node, 0)];
    if (weights.dims[1] != in.channels)
      fail(node, "model.bad_shape",
           "its weights take " + std::to_string(weights.dims[1]) + " channels, its input has " +
               std::to_string(in.channels));
    for (std::size_t axis = 0; axis < 2; ++axis) {
      // Rows that the window may slide: input rows + slack; the output has input/stride rows only for these.
      const std::int32_t slack = w.pad[axis] + w.pad_end[axis] - w.kernel[axis];
      if (w.stride == 1 ? slack != -1 : slack != -1 && slack != -2)
        fail(node, "model.unsupported_attribute",
             "its kernel and padding make an output of another size than input / stride; supported: 'same' "
             "padding, "
             "pads that add up to kernel - 1 (stride 1), kernel - 1 or kernel - 2 (stride 2)");
    }
    return add_node(node, convolution(node, Op::conv, w, weights.dims[0]), weights.dims[0],
                    in.scale + (w.stride == 2 ? 1 : 0));
  }

  ValueId conv_transpose(const NodeView& node) {
    onnx::require_known(
        node, {"auto_pad", "dilations", "group", "kernel_shape", "output_padding", "pads", "strides"});
    const TensorView& weights = constant(node, 1);
    const Window w = window(node, weights);
    const Value in = graph_.values[feature(node, 0)];
    if (w.automatic)
      fail(node, "model.unsupported_attribute", "auto_pad SAME is not supported here; export with pads");
    if (weights.dims[0] != in.channels)
      fail(node, "model.bad_shape",
           "its weights take " + std::to_string(weights.dims[0]) + " channels, its input has " +
               std::to_string(in.channels));
    auto extra = onnx::get_ints(node, "output_padding");
    if (extra.empty()) extra = {0, 0};
    if (extra.size() != 2) fail(node, "model.bad_shape", "its output_padding is not two numbers");
    for (std::size_t axis = 0; axis < 2; ++axis) {
      if (extra[axis] < 0 || extra[axis] >= w.stride || w.kernel[axis] < w.stride)
        fail(node, "model.unsupported_attribute",
             "its output_padding or kernel is not supported; supported: output_padding below the stride, "
             "kernel at "
             "least the stride");
      if (extra[axis] + w.kernel[axis] - w.pad[axis] - w.pad_end[axis] != w.stride)
        fail(node, "model.unsupported_attribute",
             "its output has another size than input x stride; supported: kernel + output_padding - pads = "
             "stride");
    }
    return add_node(node, convolution(node, Op::conv_transpose, w, weights.dims[1]), weights.dims[1],
                    in.scale - (w.stride == 2 ? 1 : 0));
  }

  // --- the rest ---

  ValueId copy(const NodeView& node, ValueId from, std::int32_t shift, std::vector<EpilogueOp> epilogue,
               Sampling sampling = Sampling::nearest) {
    Node n;
    n.op = Op::copy;
    n.parts = {{from, shift, sampling}};
    n.epilogue = std::move(epilogue);
    return add_node(node, std::move(n), graph_.values[from].channels, graph_.values[from].scale + shift);
  }

  ValueId elementwise(const NodeView& node) {
    if (node.inputs.size() != 2) fail(node, "model.malformed", "it must have two inputs");
    const bool multiply = node.op_type == "Mul";
    for (const std::size_t i : {0u, 1u})
      if (!std::holds_alternative<ValueId>(entity(node, i)))
        return affine(node, feature(node, 1 - i), i, multiply);
    const ValueId a = feature(node, 0), b = feature(node, 1);
    const Value &va = graph_.values[a], &vb = graph_.values[b];
    if (va.channels != vb.channels || va.scale != vb.scale)
      fail(node, "model.bad_shape",
           "its inputs have " + std::to_string(va.channels) + " channels at level 1/" +
               std::to_string(1 << va.scale) + " and " + std::to_string(vb.channels) + " at 1/" +
               std::to_string(1 << vb.scale) + "; supported are equal ones");
    return copy(node, a, 0, {{multiply ? EpilogueKind::mul : EpilogueKind::add, b, 0}});
  }

  // Feature times or plus a constant.
  ValueId affine(const NodeView& node, ValueId value, std::size_t constant_input, bool multiply) {
    const std::int32_t channels = graph_.values[value].channels;
    const auto* held = std::get_if<const TensorView*>(&entity(node, constant_input));
    if (held == nullptr) {
      const ShapeValue v = list(node, constant_input);
      if (v.entries.size() != 1 || v.entries[0].base != Dim::Base::constant)
        fail(node, "model.unsupported_operator",
             "a feature cannot be combined with a size; " + std::string(kSupported));
      return diagonal(node, value, multiply, {v.entries[0].factor});
    }
    const TensorView& c = **held;
    // [], [1], [C,1,1], [1,C,1,1] and the like: at most the channels differ from 1.
    for (std::size_t i = 0; i < c.dims.size(); ++i) {
      const bool is_channels = c.dims.size() - i == 3 && c.dims[i] == channels;
      if (c.dims[i] != 1 && !is_channels)
        fail(
            node, "model.unsupported_operator",
            "the constant is not one number, nor one a channel; only those can be folded into a convolution");
    }
    if (c.dims.size() > 4) fail(node, "model.bad_shape", "the constant has more than four dimensions");
    Node& maker = graph_.nodes[value];  // value ids and node indices are equal while reading
    const std::string_view name = node.inputs[1 - constant_input];
    if ((maker.op == Op::conv || maker.op == Op::conv_transpose) && edges_[name].uses == 1 &&
        !aliased_.contains(value)) {
      tensors_.check_weights(c);
      affines_.push_back({value, multiply, &c});
      return value;
    }
    return diagonal(
        node, value, multiply,
        channels <= kMaxDiagonalChannels ? tensors_.numbers(c, kMaxDiagonalChannels) : std::vector<double>{});
  }

  // A constant factor or summand as a 1x1 convolution: for the few channels of an image it costs next to
  // nothing.
  ValueId diagonal(const NodeView& node, ValueId value, bool multiply, const std::vector<double>& c) {
    const Value in = graph_.values[value];
    if (in.channels > kMaxDiagonalChannels || c.empty())
      fail(node, "model.unsupported_operator",
           "a constant can be multiplied or added only right after a convolution that has no other consumer, "
           "or to a "
           "value of at most 16 channels; fold it into the neighbouring convolution before export");
    const auto n = static_cast<std::size_t>(in.channels);
    std::vector<float> weights(n * n, 0.0f), bias(n, 0.0f);
    for (std::size_t i = 0; i < n; ++i) {
      const auto v = static_cast<float>(c[c.size() == 1 ? 0 : i]);
      if (!std::isfinite(v)) fail(node, "model.nonfinite_weights", "its constant is beyond float32");
      weights[i * n + i] = multiply ? v : 1.0f;
      if (!multiply) bias[i] = v;
    }
    Node conv;
    conv.op = Op::conv;
    conv.parts = {{value, 0}};
    conv.weights = add_tensor({in.channels, in.channels, 1, 1}, weights);
    if (!multiply) conv.bias = add_tensor({in.channels}, bias);
    return add_node(node, std::move(conv), in.channels, in.scale);
  }

  ValueId concat(const NodeView& node) {
    onnx::require_known(node, {"axis"});
    const std::int64_t axis = onnx::get_int(node, "axis", 0);
    if (axis != 1 && axis != -3)
      fail(node, "model.unsupported_attribute", "features can be concatenated along channels (axis 1) only");
    Node n;
    n.op = Op::concat;
    std::int64_t channels = 0;
    const std::int32_t scale = graph_.values[feature(node, 0)].scale;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId part = feature(node, i);
      if (graph_.values[part].scale != scale) fail(node, "model.bad_shape", "its inputs differ in size");
      channels += graph_.values[part].channels;
      n.parts.push_back({part, 0});
    }
    return add_node(node, std::move(n), channels, scale);
  }

  ValueId dropout(const NodeView& node) {
    if (has_input(node, 2)) {
      const ShapeValue training = list(node, 2);
      if (training.entries.size() != 1 || training.entries[0] != Dim{})
        fail(node, "model.unsupported_operator",
             "dropout in training mode is not supported; export in eval mode");
    }
    return alias(node);
  }

  // --- Resize ---

  ValueId resize(const NodeView& node) {
    const bool upsample = node.op_type == "Upsample";
    onnx::require_known(
        node, {"antialias", "axes", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside",
               "extrapolation_value", "keep_aspect_ratio_policy", "mode", "nearest_mode"});
    const std::string_view mode = onnx::get_string(node, "mode", "nearest");
    if (mode != "nearest" && mode != "linear")
      fail(node, "model.unsupported_resize",
           "mode " + quoted(mode) + " is not supported; supported: nearest and linear");
    const bool linear = mode == "linear";
    if (onnx::get_int(node, "antialias", 0) != 0)
      fail(node, "model.unsupported_resize", "antialias is not supported; export with antialias=False");
    const ValueId from = feature(node, 0);
    const std::size_t scales_at = upsample || model_.opset < 11 ? 1 : 2, sizes_at = 3;
    const bool by_sizes = !upsample && model_.opset >= 11 && has_input(node, sizes_at);
    // Old opset 11 exports leave an empty list of scales beside sizes.
    ShapeValue request = list(node, by_sizes ? sizes_at : scales_at);
    if (onnx::get_string(node, "keep_aspect_ratio_policy", "stretch") != "stretch")
      fail(node, "model.unsupported_resize", "keep_aspect_ratio_policy is not supported; supported: stretch");
    request = spread_over_axes(node, request, from, by_sizes);
    const std::int32_t scale = graph_.values[from].scale;
    const std::int32_t shift_h =
        shift_of(node, request.entries[2], Dim::Base::height, fixed_height_, scale, by_sizes);
    const std::int32_t shift_w =
        shift_of(node, request.entries[3], Dim::Base::width, fixed_width_, scale, by_sizes);
    if (shift_h != shift_w)
      fail(node, "model.unsupported_resize",
           "height and width are resized by different factors; supported: alike");
    const Dim &batch = request.entries[0], &channels = request.entries[1];
    const double kept = by_sizes ? graph_.values[from].channels : 1;
    const bool batch_kept =
        batch == Dim{Dim::Base::constant, 1} || (by_sizes && batch == Dim{Dim::Base::batch, 1});
    if (!batch_kept || channels != Dim{Dim::Base::constant, kept})
      fail(node, "model.unsupported_resize", "batch or channels are resized; supported: height and width");
    if (scale + shift_h < 0)
      fail(node, "model.unsupported_resize",
           "it makes a value larger than the image, which is not supported");
    divisor_ = std::max(divisor_, request.divisor);
    if (linear) {
      check_linear(node, shift_h);
    } else if (!upsample && model_.opset >= 11) {
      check_nearest(node, shift_h);
    }
    return copy(node, from, shift_h, {}, linear && shift_h < 0 ? Sampling::linear : Sampling::nearest);
  }

  // Scales or sizes of all four axes, where the attribute `axes` gives but some of them.
  ShapeValue spread_over_axes(const NodeView& node, const ShapeValue& request, ValueId from, bool by_sizes) {
    std::vector<std::int64_t> axes = onnx::get_ints(node, "axes");
    if (axes.empty()) axes = {0, 1, 2, 3};
    if (request.entries.size() != axes.size() || request.scalar)
      fail(node, "model.bad_shape", "its scales or sizes are not one number an axis");
    ShapeValue out;
    out.divisor = request.divisor;
    out.entries.assign(4, Dim{Dim::Base::constant, 1});
    if (by_sizes) {
      const double part = std::ldexp(1.0, -graph_.values[from].scale);
      out.entries = {{Dim::Base::batch, 1},
                     {Dim::Base::constant, double(graph_.values[from].channels)},
                     {Dim::Base::height, part},
                     {Dim::Base::width, part}};
    }
    for (std::size_t i = 0; i < axes.size(); ++i) {
      const std::int64_t axis = axes[i] < 0 ? axes[i] + 4 : axes[i];
      if (axis < 0 || axis > 3) fail(node, "model.bad_shape", "its axes are out of range");
      out.entries[static_cast<std::size_t>(axis)] = request.entries[i];
    }
    return out;
  }

  // How far the scale moves: +1 for x1/2, -1 for x2, 0 for the same size.
  std::int32_t shift_of(const NodeView& node, const Dim& d, Dim::Base base, std::int64_t fixed,
                        std::int32_t scale, bool by_sizes) {
    double factor = d.factor;
    if (by_sizes) {
      if (d.base == Dim::Base::constant && fixed > 0) {
        factor = d.factor / static_cast<double>(fixed);
      } else if (d.base != base) {
        fail(node, "model.unsupported_resize",
             "its size does not follow from the image's; supported: a multiple of the image's height and "
             "width by a "
             "power of two; export with scale_factor");
      }
      factor = std::ldexp(factor, scale);
    } else if (d.base != Dim::Base::constant) {
      fail(node, "model.unsupported_resize",
           "its scales are not constant; export with a constant scale_factor");
    }
    for (const std::int32_t shift : {0, 1, -1})
      if (factor == std::ldexp(1.0, -shift)) return shift;
    fail(node, "model.unsupported_resize",
         "its factor of " + std::to_string(factor) + " is not supported; supported: 1/2, 1 and 2");
  }

  // Whether output row y lies at y / 2 of the input.
  void check_linear(const NodeView& node, std::int32_t shift) {
    // Before opset 11 ONNX left open where rows lie, and runtimes differ.
    if (node.op_type == "Upsample" || model_.opset < 11)
      fail(node, "model.unsupported_resize",
           "mode 'linear' of this version of ONNX's operators does not say where pixels lie; export with "
           "opset_version=17");
    if (shift > 0)
      fail(node, "model.unsupported_resize",
           "mode 'linear' is not supported at a factor of 1/2; supported: linear x2, nearest x1/2 and x2");
    const std::string_view mode = onnx::get_string(node, "coordinate_transformation_mode", "half_pixel");
    if (mode != "asymmetric")
      fail(node, "model.unsupported_resize",
           "mode 'linear' with coordinate_transformation_mode " + quoted(mode) +
               " is not supported; supported: asymmetric");
  }

  // Whether output row y reads row 2y (x1/2), or y / 2 rounded down (x2), by ONNX's formulas.
  void check_nearest(const NodeView& node, std::int32_t shift) {
    const std::string_view mode = onnx::get_string(node, "coordinate_transformation_mode", "half_pixel");
    const std::string_view rounding = onnx::get_string(node, "nearest_mode", "round_prefer_floor");
    const double scale = std::ldexp(1.0, -shift);
    bool known = true;
    for (int y = 0; y < 8; ++y) {
      double x = y / scale;
      if (mode == "half_pixel" || mode == "pytorch_half_pixel" || mode == "half_pixel_symmetric") {
        x = (y + 0.5) / scale - 0.5;
      } else if (mode == "tf_half_pixel_for_nn") {
        x = (y + 0.5) / scale;
      } else {
        known &= mode == "asymmetric";
      }
      double row = std::floor(x);
      if (rounding == "round_prefer_floor") {
        row = std::ceil(x - 0.5);
      } else if (rounding == "round_prefer_ceil") {
        row = std::floor(x + 0.5);
      } else if (rounding == "ceil") {
        row = std::ceil(x);
      } else {
        known &= rounding == "floor";
      }
      known &= std::max(row, 0.0) == (shift >= 0 ? y << shift : y >> -shift);
    }
    if (!known)
      fail(node, "model.unsupported_resize",
           "coordinate_transformation_mode " + quoted(mode) + " with nearest_mode " + quoted(rounding) +
               " is not supported at this factor; supported: asymmetric with floor (what mode='nearest' of "
               "PyTorch "
               "exports), and what samples the same rows");
  }

  // --- 8 bits ---

  // Scale (one number) of QuantizeLinear or DequantizeLinear; refuses a zero point other than an int8 0.
  std::vector<float> scales(const NodeView& node, std::size_t most) {
    require_int8(node);
    std::vector<float> out;
    for (const double x : tensors_.numbers(constant(node, 1), most)) {
      out.push_back(static_cast<float>(x));
      if (!std::isfinite(out.back()) || out.back() <= 0)
        fail(node, "model.unsupported_quantization", "its scale is not a positive number; calibrate again");
    }
    if (out.empty()) fail(node, "model.bad_shape", "it has no scale");
    return out;
  }

  void require_int8(const NodeView& node) {
    onnx::require_known(node, {"axis", "block_size", "output_dtype", "precision", "saturate"});
    if (onnx::get_int(node, "block_size", 0) != 0)
      fail(node, "model.unsupported_quantization", "scales in blocks are not supported");
    const std::int64_t type = onnx::get_int(node, "output_dtype", 0);
    const bool quantises = node.op_type == "QuantizeLinear";
    if (type != 0 && type != static_cast<std::int64_t>(quantises ? ElementType::i8 : ElementType::f32))
      fail(node, "model.unsupported_quantization", "supported: int8 from and to float32");
    if (!has_input(node, 2)) {
      // ONNX's default is uint8.
      if (quantises && type == 0)
        fail(node, "model.unsupported_quantization",
             "it has no zero point, which means uint8; supported is symmetric int8, zero point 0");
      return;
    }
    const TensorView& zero = constant(node, 2);
    if (zero.type != ElementType::i8)
      fail(node, "model.unsupported_quantization", "its zero point is not int8; supported: symmetric int8");
    for (const double x : tensors_.numbers(zero, kMaxChannels))
      if (x != 0)
        fail(node, "model.unsupported_quantization", "its zero point is not 0; supported: symmetric int8");
  }

  Entity quantise(const NodeView& node) {
    const float scale = scales(node, 1)[0];
    const ValueId from = feature(node, 0);
    const auto [at, is_new] = quantised_.try_emplace(std::pair{from, scale}, ValueId{0});
    if (is_new) {
      at->second = copy(node, from, 0, {{EpilogueKind::quantise, 0, 0, Sampling::nearest, scale}});
    }
    aliased_.insert(at->second);
    return Quantised{at->second, scale};
  }

  Entity dequantise(const NodeView& node) {
    if (const Quantised* q = std::get_if<Quantised>(&entity(node, 0))) {
      if (scales(node, 1)[0] != q->scale)
        fail(node, "model.unsupported_quantization", "its scale differs from the QuantizeLinear before it");
      return q->value;
    }
    const TensorView& from = constant(node, 0);
    if (from.type != ElementType::i8 || !from.has_raw || from.external)
      fail(node, "model.unsupported_quantization",
           "its constant must be int8, as raw data inside the model file");
    if (from.raw.size() != from.element_count)
      fail(node, "model.malformed", "the constant's data has another length than its shape");
    const std::vector<float> scale = scales(node, kMaxChannels);
    if (scale.size() > 1) {
      const std::int64_t axis = onnx::get_int(node, "axis", 1);
      if (axis != 0 || from.dims.empty() || from.dims[0] != static_cast<std::int64_t>(scale.size()))
        fail(node, "model.unsupported_quantization",
             "its scales are not one for the whole constant, nor one for each entry of axis 0");
    }
    if (from.raw.size() > int8_budget_)
      throw ModelError("model.too_large", "int8 weights are dequantised too often; export them unshared");
    int8_budget_ -= from.raw.size();
    std::string& bytes = dequantised_.emplace_back(from.raw.size() * sizeof(float), '\0');
    const std::size_t each = std::max<std::size_t>(from.raw.size() / scale.size(), 1);
    for (std::size_t i = 0; i < from.raw.size(); ++i) {
      const float v = static_cast<float>(static_cast<std::int8_t>(from.raw[i])) * scale[i / each];
      std::memcpy(bytes.data() + i * sizeof v, &v, sizeof v);
    }
    TensorView made = from;
    made.name = output_name(node);
    made.type = ElementType::f32;
    made.raw = bytes;
    constants_.push_back(made);
    return &constants_.back();
  }

  // --- the end ---

  void finish() {
    if (divisor_ > graph_.stride())
      throw ModelError(
          "model.unsupported_resize",
          "sizes are rounded to multiples of " + std::to_string(divisor_) +
              " in front of Resize, more than the network's own stride; export with scale_factor");
    // A bad constant is found before any weight is copied.
    for (const Pending& p : pending_)
      if (p.view != nullptr) tensors_.check_weights(*p.view);
    check_total();
    for (std::size_t i = 0; i < pending_.size(); ++i)
      if (pending_[i].view != nullptr) graph_.tensors[i] = tensors_.weights(*pending_[i].view);
    std::vector<std::uint32_t> users(graph_.tensors.size(), 0);
    for (const Node& n : graph_.nodes)
      for (const std::int32_t t : {n.weights, n.bias})
        if (t != kNone) ++users[static_cast<std::size_t>(t)];
    for (const Affine& a : affines_) fold(a, users);
  }

  // Constants in external files may overlap: what all of them take stays within twice the files.
  void check_total() {
    std::map<std::string_view, std::uint64_t> taken;
    for (const Pending& p : pending_)
      if (p.view != nullptr && p.view->external)
        taken[p.view->location] += p.view->element_count * sizeof(float);
    for (const auto& [location, bytes] : taken)
      if (bytes / 2 > tensors_.external_size(location))
        throw ModelError("model.too_large", "the constants in external data " + quoted(location) +
                                                " overlap; export every weight once");
  }

  // The tensor at `index`, made this node's own if others use it too.
  Tensor& own(std::int32_t& index, std::vector<std::uint32_t>& users) {
    if (users[static_cast<std::size_t>(index)] > 1) {
      Tensor copied = graph_.tensors[static_cast<std::size_t>(index)];
      if (copied.data.size() > budget_)
        throw ModelError("model.too_large",
                         "shared weights would have to be copied too often; export them unshared");
      budget_ -= copied.data.size();
      --users[static_cast<std::size_t>(index)];
      index = static_cast<std::int32_t>(graph_.tensors.size());
      graph_.tensors.push_back(std::move(copied));
      users.push_back(1);
    }
    return graph_.tensors[static_cast<std::size_t>(index)];
  }

  void fold(const Affine& a, std::vector<std::uint32_t>& users) {
    Node& n = graph_.nodes[a.node];
    const auto channels = static_cast<std::size_t>(graph_.values[n.output].channels);
    const Tensor constant = tensors_.weights(*a.constant);
    const auto at = [](const Tensor& t, std::size_t i) {
      float v;
      std::memcpy(&v, t.data.data() + i * sizeof v, sizeof v);
      return v;
    };
    const auto set = [&](Tensor& t, std::size_t i, double v) {
      const auto f = static_cast<float>(v);
      if (!std::isfinite(f))
        throw ModelError("model.nonfinite_weights", "a constant folded into node " + onnx::quoted(n.name) +
                                                        " takes its weights beyond float32");
      std::memcpy(t.data.data() + i * sizeof f, &f, sizeof f);
    };
    const auto c = [&](std::size_t i) {
      return double(at(constant, constant.data.size() == sizeof(float) ? 0 : i));
    };
    if (a.multiply) {
      Tensor& w = own(n.weights, users);
      const std::size_t kernel = static_cast<std::size_t>(n.kernel_h) * static_cast<std::size_t>(n.kernel_w);
      const std::size_t total = w.data.size() / sizeof(float);
      for (std::size_t i = 0; i < total; ++i) {
        const std::size_t output = n.op == Op::conv ? i / (total / channels) : i / kernel % channels;
        set(w, i, at(w, i) * c(output));
      }
      if (n.bias == kNone) return;
      Tensor& b = own(n.bias, users);
      for (std::size_t i = 0; i < channels; ++i) set(b, i, at(b, i) * c(i));
      return;
    }
    if (n.bias == kNone) {
      n.bias = add_tensor({static_cast<std::int64_t>(channels)}, std::vector<float>(channels, 0.0f));
      users.push_back(1);
    }
    Tensor& b = own(n.bias, users);
    for (std::size_t i = 0; i < channels; ++i) set(b, i, at(b, i) + c(i));
  }

  onnx::ModelView model_;
  onnx::TensorReader tensors_;
  std::size_t budget_;                   // bytes that may be spent on copies of shared weights
  std::size_t int8_budget_;              // int8 weights that may be dequantised, in bytes
  std::deque<std::string> dequantised_;  // float32 weights made of int8 ones
  std::map<std::pair<ValueId, float>, ValueId> quantised_;
  Graph graph_;
  std::unordered_map<std::string_view, Entity> names_;
  std::unordered_map<std::string_view, Edge> edges_;
  std::deque<TensorView> constants_;  // of Constant nodes; a deque keeps their addresses
  std::unordered_map<const TensorView*, std::int32_t> tensor_indices_;
  std::vector<Pending> pending_;  // one a tensor
  std::vector<Affine> affines_;
  std::unordered_set<ValueId> aliased_;
  std::int64_t fixed_height_ = -1, fixed_width_ = -1;
  std::int32_t divisor_ = 1;
};

}  // namespace

Graph read_onnx_unfused(std::span<const std::byte> bytes, const std::filesystem::path& folder) {
  const DefaultFloatingPoint scope;
  Graph graph = Reader(bytes, folder).read();
  validate(graph);
  return graph;
}

Graph read_onnx(std::span<const std::byte> bytes, const std::filesystem::path& folder) {
  const DefaultFloatingPoint scope;
  Graph graph = read_onnx_unfused(bytes, folder);
  optimize(graph);
  return graph;
}

bool has_external_data(std::span<const std::byte> bytes) {
  const onnx::ModelView model = onnx::parse_model(bytes);
  for (const onnx::TensorView& t : model.initializers) {
    if (t.external) return true;
  }
  for (const std::string_view message : model.nodes) {
    for (const onnx::Attribute& a : onnx::parse_node(message).attributes) {
      if (!a.tensor.empty() && onnx::parse_tensor(a.tensor).external) return true;
    }
  }
  return false;
}

}  // namespace mimo_rt
