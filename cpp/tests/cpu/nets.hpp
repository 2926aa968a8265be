// Small networks for the tests of the CPU backend, built by hand in the fused form that the passes leave.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cpu/program.hpp"
#include "cpu/tactics.hpp"
#include "mimo_rt/graph.hpp"

namespace mimo_rt::test {

// Adds nodes with random weights of the size that training leaves.
class NetBuilder {
 public:
  explicit NetBuilder(int channels, unsigned seed = 1) : random_(seed) {
    Node node;
    node.op = Op::input;
    node.name = "image";
    node.output = graph_.input = value(channels, 0);
    graph_.nodes.push_back(node);
  }

  ValueId image() const { return graph_.input; }

  ValueId conv(std::vector<Part> parts, int outputs, int kernel, int stride = 1,
               std::vector<EpilogueOp> epilogue = {}, bool bias = true, float gain = 1.0F) {
    Node node;
    node.op = Op::conv;
    node.name = numbered("conv", graph_.nodes.size());
    int inputs = 0;
    for (const Part& part : parts) inputs += graph_.values[part.value].channels;
    const Part& first = parts.front();
    const int scale = graph_.values[first.value].scale + first.shift + (stride == 2 ? 1 : 0);
    node.parts = std::move(parts);
    node.kernel_h = node.kernel_w = kernel;
    node.stride = stride;
    node.pad_top = node.pad_left = (kernel - 1) / 2;
    node.weights = tensor({outputs, inputs, kernel, kernel},
                          gain * std::sqrt(2.0F / static_cast<float>(inputs * kernel * kernel)));
    if (bias) node.bias = tensor({outputs}, 0.05F);
    node.epilogue = std::move(epilogue);
    return add(std::move(node), outputs, scale);
  }

  ValueId conv_transpose(ValueId from, int outputs, std::vector<EpilogueOp> epilogue = {}) {
    Node node;
    node.op = Op::conv_transpose;
    node.name = numbered("up", graph_.nodes.size());
    const int inputs = graph_.values[from].channels, scale = graph_.values[from].scale - 1;
    node.parts = {{from, 0}};
    node.kernel_h = node.kernel_w = 4;
    node.stride = 2;
    node.pad_top = node.pad_left = 1;
    node.weights = tensor({inputs, outputs, 4, 4}, std::sqrt(2.0F / static_cast<float>(inputs * 4)));
    node.bias = tensor({outputs}, 0.05F);
    node.epilogue = std::move(epilogue);
    return add(std::move(node), outputs, scale);
  }

  ValueId copy(ValueId from, int shift, std::vector<EpilogueOp> epilogue = {},
               Sampling sampling = Sampling::nearest) {
    Node node;
    node.op = Op::copy;
    node.name = numbered("copy", graph_.nodes.size());
    node.parts = {{from, shift, sampling}};
    node.epilogue = std::move(epilogue);
    return add(std::move(node), graph_.values[from].channels, graph_.values[from].scale + shift);
  }

  ValueId concat(const std::vector<ValueId>& from) {
    Node node;
    node.op = Op::concat;
    node.name = numbered("concat", graph_.nodes.size());
    int channels = 0;
    for (const ValueId v : from) {
      node.parts.push_back({v, 0});
      channels += graph_.values[v].channels;
    }
    return add(std::move(node), channels, graph_.values[from.front()].scale);
  }

  Graph finish(ValueId output) {
    graph_.output = output;
    validate(graph_);
    return graph_;
  }

 private:
  static std::string numbered(std::string name, std::size_t number) {
    return name.append(std::to_string(number));
  }
  ValueId value(int channels, int scale) {
    graph_.values.push_back({numbered("v", graph_.values.size()), channels, scale});
    return static_cast<ValueId>(graph_.values.size() - 1);
  }
  ValueId add(Node node, int channels, int scale) {
    node.output = value(channels, scale);
    const ValueId output = node.output;
    graph_.nodes.push_back(std::move(node));
    return output;
  }
  std::int32_t tensor(std::vector<std::int64_t> shape, float size) {
    std::normal_distribution<float> normal(0.0F, size);
    std::size_t count = 1;
    for (const std::int64_t side : shape) count *= static_cast<std::size_t>(side);
    std::vector<float> numbers(count);
    for (float& x : numbers) x = normal(random_);
    Tensor t;
    t.shape = std::move(shape);
    t.data.resize(count * sizeof(float));
    std::memcpy(t.data.data(), numbers.data(), t.data.size());
    graph_.tensors.push_back(std::move(t));
    return static_cast<std::int32_t>(graph_.tensors.size() - 1);
  }

  Graph graph_;
  std::mt19937 random_;
};

inline EpilogueOp relu() { return {EpilogueKind::relu, 0, 0}; }
inline EpilogueOp plus(ValueId v, int up = 0, Sampling sampling = Sampling::nearest) {
  return {EpilogueKind::add, v, up, up > 0 ? sampling : Sampling::nearest};
}
inline EpilogueOp times(ValueId v, int up = 0, Sampling sampling = Sampling::nearest) {
  return {EpilogueKind::mul, v, up, up > 0 ? sampling : Sampling::nearest};
}

inline EpilogueOp quantise(float quantum) {
  return {EpilogueKind::quantise, 0, 0, Sampling::nearest, quantum};
}

// Three levels with every operator, every epilogue, skips, odd channel counts and both directions of
// resampling, upwards by `how`.
inline Graph three_levels(int width, unsigned seed = 1, Sampling how = Sampling::nearest) {
  NetBuilder net(3, seed);
  const ValueId x = net.image();
  const ValueId x2 = net.copy(x, 1), x4 = net.copy(x, 2);
  const ValueId s2 = net.conv({{x2, 0}}, width + 1, 3, 1, {relu()});
  const ValueId a = net.conv({{x, 0}}, width, 3, 1, {relu()});
  const ValueId b = net.conv({{a, 0}}, width, 3, 1, {relu()});
  const ValueId c = net.conv({{b, 0}}, width, 3, 1, {plus(a)}, true, 0.3F);
  const ValueId d = net.conv({{c, 0}}, 2 * width, 3, 2, {relu()});
  const ValueId e = net.conv({{x2, 0}, {s2, 0}}, 2 * width, 1, 1, {times(d)});
  const ValueId f = net.conv({{e, 0}}, 2 * width, 3, 1, {plus(d)});
  const ValueId g = net.conv({{f, 0}}, 4 * width, 3, 2, {relu()});
  const ValueId h = net.conv({{g, 0}, {x4, 0}}, 4 * width, 3, 1, {plus(g)}, true, 0.3F);
  const ValueId low = net.conv({{h, 0}}, width, 1, 1, {}, false);
  const ValueId mid = net.conv({{f, 0}}, width, 1, 1, {plus(low, 1, how)}, false);
  const ValueId high = net.conv({{c, 0}}, width, 1, 1, {plus(mid, 1, how), relu()});
  const ValueId down = net.conv({{c, 1}, {f, 0}}, 2 * width, 1, 1, {relu()});
  const ValueId up = net.conv_transpose(h, 2 * width, {relu()});
  const ValueId i = net.conv({{up, 0}, {down, 0}}, 2 * width, 1, 1, {relu()});
  const ValueId j = net.conv_transpose(i, width, {relu()});
  const ValueId k = net.concat({j, high});
  const ValueId l = net.copy(k, 0, {plus(k), relu()});
  const ValueId m = net.conv({{l, 0}}, width, 5, 1, {relu()});
  const ValueId up2 = net.copy(s2, -1, {}, how);
  return net.finish(net.conv({{m, 0}, {up2, 0}}, 3, 3, 1, {plus(x)}, true, 0.1F));
}

inline Plan plan_for(Graph graph, const std::string& target, std::string_view tactics = "fixed",
                     int block = 0) {
  Plan plan;
  plan.key.target = target;
  for (const Node& node : graph.nodes) {
    const std::string_view kernel = cpu::kernel_for(graph, node, tactics);
    plan.tactics.push_back({std::string(kernel), block > 0 ? block : cpu::block_candidates(kernel).front()});
  }
  plan.graph = std::move(graph);
  return plan;
}

inline std::vector<float> random_image(int channels, int height, int width, unsigned seed = 7) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
  std::vector<float> image(static_cast<std::size_t>(channels * height * width));
  for (float& x : image) x = uniform(random);
  return image;
}

}  // namespace mimo_rt::test
