// Reads an ONNX file into a Graph: the one door through which models come in. Hostile until proven otherwise:
// every length is checked before memory is taken, nothing is executed, external data stays inside the model's
// folder.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "mimo_rt/graph.hpp"

namespace mimo_rt {

// Parses, checks, folds constants and runs all passes. `folder` is where external data may lie; empty: refuse
// external data. Throws ModelError that names node, operator and what is supported.
Graph read_onnx(std::span<const std::byte> bytes, const std::filesystem::path& folder);

// The same without the passes: one node an ONNX node. For tests of the passes and for showing what a file
// holds.
Graph read_onnx_unfused(std::span<const std::byte> bytes, const std::filesystem::path& folder);

// True where a constant of the model lies in another file, so that the ONNX bytes alone do not tell the
// weights.
bool has_external_data(std::span<const std::byte> bytes);

}  // namespace mimo_rt
