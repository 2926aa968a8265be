// A plan: what the CPU backend made of a model for one machine. It is a cache of decisions (graph, raw
// weights, tactics), stored in our own file format; packing weights for the kernels happens when an Engine is
// made from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "mimo_rt/graph.hpp"

namespace mimo_rt {

inline constexpr std::uint32_t kPlanFormat = 3;

// How one node is run. `kernel` (transform, order of accumulation) is numeric: a fixed rule chooses it.
// `block` (how many tiles or pixels one work item takes) is neutral: it changes no bit and is timed.
struct Tactic {
  std::string kernel;  // "winograd-f4", "winograd-f6-half", "direct", "copy", "concat", "input"
  std::int32_t block = 0;
};

// What a plan was made from and for. Two plans with equal keys hold the same numbers.
struct PlanKey {
  std::string model_sha256;  // of the ONNX bytes (and of its external data), hex
  std::string kernel_hash;   // of the kernel sources that this library was built from, hex
  std::string target;        // instruction set, "AVX2"
  std::string precision;     // "fp32", "fp16"
  std::string options;       // build options that change numbers, canonical text; usually empty
  std::string machine;       // CPU model, caches, cores: matters to neutral tactics only
};

struct Plan {
  PlanKey key;
  std::string producer;  // "mimo_rt 0.1.0"
  Graph graph;
  std::vector<Tactic> tactics;  // one a node
};

// The whole file as bytes, and back. read_plan throws PlanError for anything truncated, altered, foreign or
// newer, and never takes more memory than a small multiple of the bytes given.
std::vector<std::byte> write_plan(const Plan& plan);
Plan read_plan(std::span<const std::byte> bytes);

// True where the bytes begin as a plan file does.
bool is_plan(std::span<const std::byte> bytes);

}  // namespace mimo_rt
