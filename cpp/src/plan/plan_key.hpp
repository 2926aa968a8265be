// What a plan was made from and for, and how two such keys differ in words.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "mimo_rt/plan.hpp"

namespace mimo_rt {

// SHA-256, in hex, of a model: of the ONNX bytes alone where `files` holds one entry; with external data (the
// ONNX file first, then each file in the order of its first use) of the files' own hashes one after another,
// so that no byte can move from one file to the next unnoticed.
std::string model_sha256(std::span<const std::span<const std::byte>> files);

// The hash of the sources that decide the numbers of the CPU backend, fixed when this library was built.
std::string kernel_hash();

// This machine as far as neutral tactics depend on it: "AMD EPYC 7763; L1d 32K, L2 512K, L3 32768K; 8 cores".
// What the system does not tell is left out. The same text at every call on the same machine.
std::string machine_description();

// The key of a plan made here and now.
PlanKey make_plan_key(std::span<const std::span<const std::byte>> model_files, std::string target,
                      std::string precision, std::string options = {});

// How the key of a plan that was found differs from the one that is wanted, for people: "kernels changed",
// "instruction set SSE4, not AVX2; another machine"; empty when they are equal.
std::string difference(const PlanKey& found, const PlanKey& wanted);

}  // namespace mimo_rt
