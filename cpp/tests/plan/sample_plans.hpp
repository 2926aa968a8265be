// Plans that tests write, damage and compare: one small enough to try every byte of, one with every operator,
// epilogue step and dtype.
#pragma once

#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "mimo_rt/plan.hpp"

namespace mimo_rt::testing_plans {

inline Tensor tensor(DType dtype, std::vector<std::int64_t> shape, unsigned seed) {
  Tensor out;
  out.dtype = dtype;
  std::size_t size = size_of(dtype);
  for (const std::int64_t extent : shape) size *= static_cast<std::size_t>(extent);
  out.shape = std::move(shape);
  out.data.resize(size);
  std::minstd_rand random(seed + 1);
  for (std::byte& byte : out.data) byte = static_cast<std::byte>(random() >> 8);
  return out;
}

inline Node node(Op op, std::string name, std::vector<Part> parts, ValueId output) {
  Node out;
  out.op = op;
  out.name = std::move(name);
  out.parts = std::move(parts);
  out.output = output;
  return out;
}

inline Node convolution(Op op, std::string name, std::vector<Part> parts, ValueId output, std::int32_t kernel,
                        std::int32_t stride, std::int32_t weights, std::int32_t bias) {
  Node out = node(op, std::move(name), std::move(parts), output);
  out.kernel_h = out.kernel_w = kernel;
  out.stride = stride;
  out.pad_top = out.pad_left = (kernel - 1) / 2;
  out.weights = weights;
  out.bias = bias;
  return out;
}

// An input and one 1x1 convolution; under a kilobyte.
inline Plan tiny_plan() {
  Plan plan;
  plan.key = {"00ff", "k1", "AVX2", "fp32", "", "m"};
  plan.producer = "mimo_rt test";
  plan.graph.values = {{"x", 3, 0}, {"y", 2, 0}};
  plan.graph.tensors = {tensor(DType::f32, {2, 3, 1, 1}, 1), tensor(DType::f32, {2}, 2)};
  plan.graph.nodes = {node(Op::input, "x", {}, 0), convolution(Op::conv, "c", {{0, 0}}, 1, 1, 1, 0, 1)};
  plan.graph.nodes[1].epilogue = {{EpilogueKind::relu, 0, 0}};
  plan.graph.input = 0;
  plan.graph.output = 1;
  plan.graph.metadata = {{"a", "b"}};
  plan.tactics = {{"input", 0}, {"direct", 4}};
  return plan;
}

inline Plan every_kind_plan() {
  Plan plan;
  plan.key = {std::string(64, 'a'), std::string(64, 'b'),
              "AVX3_ZEN4",          "fp32",
              "tactics=search",     "AMD EPYC; L1d 32K, L2 512K, L3 32768K; 2 cores"};
  plan.producer = "mimo_rt 0.1.0";
  Graph& graph = plan.graph;
  graph.values = {{"image", 3, 0}, {"a", 4, 0},       {"b", 8, 1},     {"half", 4, 1},        {"c", 4, 0},
                  {"d", 4, 1},     {"joined", 12, 1}, {"mixed", 3, 1}, {"out \xc3\xa9", 3, 0}};
  graph.tensors = {tensor(DType::f32, {4, 3, 3, 3}, 1),
                   tensor(DType::f32, {4}, 2),
                   tensor(DType::f32, {8, 4, 4, 4}, 3),
                   tensor(DType::f32, {8, 4, 4, 4}, 4),
                   tensor(DType::f32, {3, 16, 1, 1}, 5),
                   tensor(DType::f16, {5, 7}, 6),
                   tensor(DType::i8, {3}, 7),
                   tensor(DType::u8, {64}, 8),
                   tensor(DType::i32, {2, 2}, 9),
                   tensor(DType::i64, {1, 1, 1, 1, 1, 1, 1, 3}, 10),
                   tensor(DType::f32, {}, 11)};
  Node transpose = convolution(Op::conv_transpose, "up", {{2, 0}}, 4, 4, 2, 3, kNone);
  transpose.epilogue = {{EpilogueKind::relu, 0, 0},
                        {EpilogueKind::add, 1, 0},
                        {EpilogueKind::mul, 3, 1, Sampling::linear},
                        {EpilogueKind::quantise, 0, 0, Sampling::nearest, 0.125F}};
  Node resample = node(Op::copy, "double", {{7, -1, Sampling::linear}}, 8);
  resample.epilogue = {{EpilogueKind::add, 0, 0}};
  graph.nodes = {node(Op::input, "image", {}, 0),
                 convolution(Op::conv, "first", {{0, 0}}, 1, 3, 1, 0, 1),
                 convolution(Op::conv, "down", {{1, 0}}, 2, 4, 2, 2, kNone),
                 node(Op::copy, "halve", {{1, 1}}, 3),
                 transpose,
                 node(Op::copy, "halve again", {{4, 1}}, 5),
                 node(Op::concat, "join", {{2, 0}, {5, 0}}, 6),
                 convolution(Op::conv, "mix", {{6, 0}, {1, 1}}, 7, 1, 1, 4, kNone),
                 resample};
  graph.nodes[1].epilogue = {{EpilogueKind::relu, 0, 0}};
  graph.input = 0;
  graph.output = 8;
  graph.metadata = {{"", "empty name"}, {"preset", "mimo-unet-s"}, {"version", ""}};
  for (const Node& each : graph.nodes) plan.tactics.push_back({each.op == Op::conv ? "direct" : "copy", 1});
  plan.tactics[1] = {"winograd-f4", 96};
  return plan;
}

}  // namespace mimo_rt::testing_plans
