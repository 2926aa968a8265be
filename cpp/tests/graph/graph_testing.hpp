// What the graph tests share: reading models from the writer, random images, comparing evaluations, catching
// errors.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "graph/onnx_reader.hpp"
#include "graph/passes/passes.hpp"
#include "mimo_rt/error.hpp"
#include "mimo_rt/graph.hpp"
#include "reference/graph_reference.hpp"
#include "reference/networks.hpp"
#include "reference/onnx_writer.hpp"

namespace mimo_rt::testing {

using namespace reference;

inline Graph read(const std::string& onnx) { return read_onnx(reference::as_bytes(onnx), {}); }
inline Graph read_unfused(const std::string& onnx) {
  return read_onnx_unfused(reference::as_bytes(onnx), {});
}

// The code of the ModelError that `body` throws; "" if it throws none. Appends the message to `message`.
template <typename Body>
std::string error_code(Body body, std::string* message = nullptr) {
  try {
    body();
  } catch (const ModelError& e) {
    if (message) *message = e.what();
    return e.code();
  }
  return "";
}

inline std::vector<float> random_image(int channels, int h, int w, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> out(static_cast<std::size_t>(channels) * h * w);
  for (float& v : out) v = uniform(random);
  return out;
}

// The largest difference of the outputs of two graphs on one random image, in units of the larger output (at
// least 1).
inline double difference(const Graph& a, const Graph& b, int h, int w) {
  const std::vector<float> image = random_image(a.values[a.input].channels, h, w);
  const std::vector<double> x = evaluate_all(a, image, h, w)[a.output];
  const std::vector<double> y = evaluate_all(b, image, h, w)[b.output];
  if (x.size() != y.size() || x.empty()) return std::numeric_limits<double>::infinity();
  double largest = 1, worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    largest = std::max(largest, std::abs(x[i]));
    worst = std::max(worst, std::abs(x[i] - y[i]));
  }
  return worst / largest;
}

inline int count(const Graph& g, Op op) {
  return static_cast<int>(
      std::count_if(g.nodes.begin(), g.nodes.end(), [op](const Node& n) { return n.op == op; }));
}

// Builds graphs by hand, as the reader would.
struct Sketch {
  Graph g;

  explicit Sketch(int channels = 3) {
    Node n;
    n.op = Op::input;
    n.name = "image";
    add(n, channels, 0);
  }

  ValueId add(Node n, int channels, int scale) {
    n.output = static_cast<ValueId>(g.values.size());
    if (n.name.empty()) n.name = numbered("n", n.output);
    g.values.push_back({n.name, channels, scale});
    g.nodes.push_back(n);
    g.output = n.output;
    return n.output;
  }

  std::int32_t tensor(const std::vector<std::int64_t>& shape) {
    std::size_t n = 1;
    for (const std::int64_t d : shape) n *= static_cast<std::size_t>(d);
    const std::vector<float> v =
        random_image(1, 1, static_cast<int>(n), static_cast<std::uint32_t>(g.tensors.size()));
    Tensor t;
    t.shape = shape;
    t.data.resize(n * sizeof(float));
    std::memcpy(t.data.data(), v.data(), t.data.size());
    g.tensors.push_back(t);
    return static_cast<std::int32_t>(g.tensors.size() - 1);
  }

  ValueId conv(ValueId from, int channels, int kernel = 3, int stride = 1) {
    Node n;
    n.op = Op::conv;
    n.parts = {{from, 0}};
    n.kernel_h = n.kernel_w = kernel;
    n.stride = stride;
    n.pad_top = n.pad_left = (kernel - 1) / 2;
    n.weights = tensor({channels, g.values[from].channels, kernel, kernel});
    n.bias = tensor({channels});
    return add(n, channels, g.values[from].scale + (stride == 2));
  }

  ValueId conv_transpose(ValueId from, int channels, int kernel = 4) {
    Node n;
    n.op = Op::conv_transpose;
    n.parts = {{from, 0}};
    n.kernel_h = n.kernel_w = kernel;
    n.stride = 2;
    n.pad_top = n.pad_left = (kernel - 1) / 2;
    n.weights = tensor({g.values[from].channels, channels, kernel, kernel});
    n.bias = tensor({channels});
    return add(n, channels, g.values[from].scale - 1);
  }

  ValueId copy(ValueId from, int shift, std::vector<EpilogueOp> epilogue = {},
               Sampling sampling = Sampling::nearest) {
    Node n;
    n.op = Op::copy;
    n.parts = {{from, shift, sampling}};
    n.epilogue = std::move(epilogue);
    return add(n, g.values[from].channels, g.values[from].scale + shift);
  }
  ValueId linear(ValueId from, int doublings = 1) { return copy(from, -doublings, {}, Sampling::linear); }

  ValueId relu(ValueId from) { return copy(from, 0, {{EpilogueKind::relu, 0, 0}}); }
  ValueId quantised(ValueId from, float quantum) {
    return copy(from, 0, {{EpilogueKind::quantise, 0, 0, Sampling::nearest, quantum}});
  }
  ValueId sum(ValueId a, ValueId b) { return copy(a, 0, {{EpilogueKind::add, b, 0}}); }
  ValueId product(ValueId a, ValueId b) { return copy(a, 0, {{EpilogueKind::mul, b, 0}}); }

  ValueId concat(const std::vector<ValueId>& parts) {
    Node n;
    n.op = Op::concat;
    int channels = 0;
    for (const ValueId p : parts) {
      n.parts.push_back({p, 0});
      channels += g.values[p].channels;
    }
    return add(n, channels, g.values[parts[0]].scale);
  }

  // The optimised graph, checked against this one on two sizes.
  Graph optimized() const {
    Graph fused = g;
    validate(g);
    optimize(fused);
    EXPECT_LT(difference(g, fused, 8, 16), 1e-6);
    EXPECT_LT(difference(g, fused, 4, 4), 1e-6);
    return fused;
  }
};

}  // namespace mimo_rt::testing
