#include "networks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "onnx_writer.hpp"

namespace mimo_rt::reference {
namespace {

class MimoUnet {
 public:
  MimoUnet(std::uint32_t seed, ResizeStyle resize, Sampling up) : random_(seed), resize_(resize), up_(up) {}

  std::string build(int w, std::array<int, 3> num_res) {
    model_.input("image", {1, 3, -1, -1});
    const std::string x = "image";
    const std::string x2 = resize(x, 0.5f), x4 = resize(x2, 0.5f);
    const std::string s2 = scm(x2, 2 * w), s4 = scm(x4, 4 * w);
    const std::string res1 = blocks(conv(x, 3, w, 3), w, num_res[0]);
    const std::string res2 = blocks(fam(conv(res1, w, 2 * w, 3, 2), s2, 2 * w), 2 * w, num_res[1]);
    std::string z = blocks(fam(conv(res2, 2 * w, 4 * w, 3, 2), s4, 4 * w), 4 * w, num_res[2]);
    const std::string z2 = resize(z, 2);
    const std::string skip2 = aff({resize(res1, 0.5f), res2, z2}, 7 * w, 2 * w);
    const std::string skip1 = aff({res1, resize(res2, 2), resize(z2, 2)}, 7 * w, w);
    z = blocks(z, 4 * w, num_res[2]);
    z = conv(op("Concat", {up(z, 4 * w, 2 * w), skip2}, {{"axis", std::int64_t{1}}}), 4 * w, 2 * w, 1);
    z = blocks(z, 2 * w, num_res[1]);
    z = conv(op("Concat", {up(z, 2 * w, w), skip1}, {{"axis", std::int64_t{1}}}), 2 * w, w, 1);
    z = blocks(z, w, num_res[0]);
    model_.node("Add", {conv(z, w, 3, 3, 1, false, 0.02f), x}, {"sharp"});
    model_.output("sharp");
    model_.metadata("preset", "test");
    return model_.bytes();
  }

 private:
  std::string fresh() { return numbered("v", count_++); }

  std::string op(const std::string& type, const std::vector<std::string>& in,
                 const std::vector<OnnxAttribute>& attributes = {}) {
    const std::string out = fresh();
    model_.node(type, in, {out}, attributes);
    return out;
  }

  std::string weights(std::vector<std::int64_t> dims, float deviation, bool uniform = false) {
    std::size_t n = 1;
    for (const std::int64_t d : dims) n *= static_cast<std::size_t>(d);
    std::vector<float> v(n);
    std::normal_distribution<float> normal(0, deviation);
    std::uniform_real_distribution<float> flat(-deviation, deviation);
    for (float& f : v) f = uniform ? flat(random_) : normal(random_);
    const std::string name = fresh();
    model_.constant(float_tensor(name, dims, v));
    return name;
  }

  std::string conv(const std::string& x, int in, int out, int k, int stride = 1, bool relu = true,
                   float gain = 1) {
    const float deviation = gain * std::sqrt(2.0f / static_cast<float>(in * k * k));
    const std::int64_t p = k / 2, s = stride;
    const std::string y =
        op("Conv", {x, weights({out, in, k, k}, deviation), weights({out}, 0.05f, true)},
           {{"strides", std::vector<std::int64_t>{s, s}}, {"pads", std::vector<std::int64_t>{p, p, p, p}}});
    return relu ? op("Relu", {y}) : y;
  }

  std::string up(const std::string& x, int in, int out) {
    const std::string y =
        op("ConvTranspose",
           {x, weights({in, out, 4, 4}, std::sqrt(2.0f / static_cast<float>(out * 16))),
            weights({out}, 0.05f, true)},
           {{"strides", std::vector<std::int64_t>{2, 2}}, {"pads", std::vector<std::int64_t>{1, 1, 1, 1}}});
    return op("Relu", {y});
  }

  std::string blocks(std::string x, int c, int count) {
    for (int i = 0; i < count; ++i) x = op("Add", {conv(conv(x, c, c, 3), c, c, 3, 1, false, 0.3f), x});
    return x;
  }

  std::string scm(const std::string& x, int c) {
    const std::string y =
        conv(conv(conv(conv(x, 3, c / 4, 3), c / 4, c / 2, 1), c / 2, c / 2, 3), c / 2, c - 3, 1);
    return conv(op("Concat", {x, y}, {{"axis", std::int64_t{1}}}), c, c, 1, 1, false);
  }

  std::string fam(const std::string& x, const std::string& gate, int c) {
    return op("Add", {x, conv(op("Mul", {x, gate}), c, c, 3, 1, false)});
  }

  std::string aff(const std::vector<std::string>& levels, int in, int out) {
    return conv(conv(op("Concat", levels, {{"axis", std::int64_t{1}}}), in, out, 1), out, out, 3, 1, false);
  }

  std::string resize(const std::string& x, float factor) {
    const std::vector<OnnxAttribute> attributes = {
        {"mode", std::string(factor > 1 && up_ == Sampling::linear ? "linear" : "nearest")},
        {"nearest_mode", std::string("floor")},
        {"coordinate_transformation_mode", std::string("asymmetric")}};
    if (resize_ == ResizeStyle::scales) {
      const std::string scales = fresh();
      model_.constant(float_tensor(scales, {4}, {1, 1, factor, factor}));
      return op("Resize", {x, "", scales}, attributes);
    }
    const std::string shape = op("Shape", {x});
    if (resize_ == ResizeStyle::shape_chain) {
      const std::string from = fresh(), to = fresh(), end = fresh(), axis = fresh(), by = fresh();
      model_.constant(int_tensor(from, {1}, {0})).constant(int_tensor(to, {1}, {2}));
      model_.constant(int_tensor(end, {1}, {4})).constant(int_tensor(axis, {1}, {0}));
      model_.constant(float_tensor(by, {}, {factor}));
      const std::string kept = op("Slice", {shape, from, to, axis});
      const std::string plane = op("Cast", {op("Slice", {shape, to, end, axis})}, {{"to", std::int64_t{1}}});
      const std::string sizes =
          op("Cast", {op("Floor", {op("Mul", {plane, by})})}, {{"to", std::int64_t{7}}});
      return op("Resize", {x, "", "", op("Concat", {kept, sizes}, {{"axis", std::int64_t{0}}})}, attributes);
    }
    std::vector<std::string> sizes;
    for (std::int64_t axis = 0; axis < 4; ++axis) {
      const std::string at = fresh(), by = fresh(), zero = fresh();
      model_.constant(int_tensor(at, {}, {axis})).constant(int_tensor(zero, {1}, {0}));
      std::string size = op("Gather", {shape, at}, {{"axis", std::int64_t{0}}});
      if (axis >= 2) {
        model_.constant(int_tensor(by, {}, {2}));
        size = op(factor < 1 ? "Div" : "Mul", {size, by});
      }
      sizes.push_back(op("Unsqueeze", {size, zero}));
    }
    return op("Resize", {x, "", "", op("Concat", sizes, {{"axis", std::int64_t{0}}})}, attributes);
  }

  OnnxModel model_;
  std::mt19937 random_;
  ResizeStyle resize_;
  Sampling up_;
  int count_ = 0;
};

class RandomGraph {
 public:
  explicit RandomGraph(std::uint32_t seed) : random_(seed) {}

  Graph build(int nodes) {
    Node input;
    input.op = Op::input;
    input.name = "image";
    add(std::move(input), 3, 0);
    while (static_cast<int>(g_.nodes.size()) < nodes) step();
    // Back to the image's size and channels, from the newest value.
    ValueId last = static_cast<ValueId>(g_.values.size() - 1);
    while (g_.values[last].scale > 0) last = resample(last, -1);
    last = conv(last, 3, 3, 1);
    last = epilogue(last, EpilogueKind::add, 0);
    g_.output = last;
    return std::move(g_);
  }

 private:
  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  // Newer values more often, so that chains grow.
  ValueId pick() {
    const int n = static_cast<int>(g_.values.size());
    return static_cast<ValueId>(below(3) ? n - 1 - below(std::min(n, 3)) : below(n));
  }

  ValueId add(Node n, int channels, int scale) {
    n.output = static_cast<ValueId>(g_.values.size());
    if (n.name.empty()) n.name = numbered("n", n.output);
    g_.values.push_back({numbered("v", n.output), channels, scale});
    g_.nodes.push_back(std::move(n));
    return g_.nodes.back().output;
  }

  std::int32_t tensor(std::vector<std::int64_t> shape) {
    std::size_t n = 1;
    for (const std::int64_t d : shape) n *= static_cast<std::size_t>(d);
    std::normal_distribution<float> normal(0, 0.4f);
    std::vector<float> v(n);
    for (float& f : v) f = normal(random_);
    Tensor t;
    t.shape = std::move(shape);
    t.data.resize(n * sizeof(float));
    std::memcpy(t.data.data(), v.data(), t.data.size());
    g_.tensors.push_back(std::move(t));
    return static_cast<std::int32_t>(g_.tensors.size() - 1);
  }

  ValueId conv(ValueId from, int channels, int kernel, int stride) {
    Node n;
    n.op = Op::conv;
    n.parts = {{from, 0}};
    n.kernel_h = n.kernel_w = kernel;
    n.stride = stride;
    n.pad_top = below(kernel);
    n.pad_left = below(kernel);
    n.weights = tensor({channels, g_.values[from].channels, kernel, kernel});
    if (below(4)) n.bias = tensor({channels});
    const int scale = g_.values[from].scale + (stride == 2);
    return add(std::move(n), channels, scale);
  }

  ValueId conv_transpose(ValueId from, int channels, int kernel) {
    Node n;
    n.op = Op::conv_transpose;
    n.parts = {{from, 0}};
    n.kernel_h = n.kernel_w = kernel;
    n.stride = 2;
    n.pad_top = n.pad_left = (kernel - 1) / 2;
    n.weights = tensor({g_.values[from].channels, channels, kernel, kernel});
    n.bias = tensor({channels});
    const int scale = g_.values[from].scale - 1;
    return add(std::move(n), channels, scale);
  }

  ValueId resample(ValueId from, int shift) {
    Node n;
    n.op = Op::copy;
    n.parts = {{from, shift, shift < 0 && below(2) ? Sampling::linear : Sampling::nearest}};
    const Value v = g_.values[from];
    return add(std::move(n), v.channels, v.scale + shift);
  }

  ValueId epilogue(ValueId from, EpilogueKind kind, ValueId other) {
    Node n;
    n.op = Op::copy;
    n.parts = {{from, 0}};
    n.epilogue = {{kind, other, 0}};
    const Value v = g_.values[from];
    return add(std::move(n), v.channels, v.scale);
  }

  void step() {
    const ValueId from = pick();
    const Value v = g_.values[from];
    switch (below(9)) {
      case 0:
        conv(from, 1 + below(4), 3, 1);
        break;
      case 1:
      case 2:
        conv(from, 1 + below(4), 1, 1);
        break;
      case 3:
        if (v.scale < 2) conv(from, 1 + below(4), 2 + below(3), 2);
        break;
      case 4:
        if (v.scale > 0) conv_transpose(from, 1 + below(4), 2 + below(3));
        break;
      case 5:
        if (v.scale > 0 && below(2)) {
          resample(from, -1);
        } else if (v.scale < 2) {
          resample(from, 1);
        }
        break;
      case 6:
        epilogue(from, EpilogueKind::relu, 0);
        break;
      case 7: {
        std::vector<ValueId> alike;
        for (ValueId i = 0; i < g_.values.size(); ++i)
          if (g_.values[i].channels == v.channels && g_.values[i].scale == v.scale) alike.push_back(i);
        // Products of products grow without bound: multiply seldom.
        epilogue(from, below(4) ? EpilogueKind::add : EpilogueKind::mul,
                 alike[static_cast<std::size_t>(below(static_cast<int>(alike.size())))]);
        break;
      }
      default: {
        Node n;
        n.op = Op::concat;
        int channels = 0;
        for (int i = 0; i < 8 && n.parts.size() < 3; ++i) {
          ValueId other = i == 0 ? from : pick();
          if (g_.values[other].channels > 8) continue;
          while (g_.values[other].scale > v.scale) other = resample(other, -1);
          while (g_.values[other].scale < v.scale) other = resample(other, 1);
          n.parts.push_back({other, 0});
          channels += g_.values[other].channels;
        }
        if (n.parts.empty()) break;
        const ValueId joined = add(std::move(n), channels, v.scale);
        if (below(4)) conv(joined, 1 + below(4), below(3) ? 1 : 3, 1);
      }
    }
  }

  Graph g_;
  std::mt19937 random_;
};

}  // namespace

std::string mimo_unet_onnx(int width, std::array<int, 3> num_res, std::uint32_t seed, ResizeStyle resize,
                           Sampling up) {
  return MimoUnet(seed, resize, up).build(width, num_res);
}

Graph random_graph(std::uint32_t seed, int nodes) { return RandomGraph(seed).build(nodes); }

}  // namespace mimo_rt::reference
