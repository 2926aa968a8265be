// The elements of an ONNX constant: where they lie (in the file, or in an external one), how many there must
// be, and what they are. Everything is checked before memory is taken.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graph/onnx_proto.hpp"
#include "mimo_rt/graph.hpp"

namespace mimo_rt::onnx {

// Reads constants; external data only from regular files inside `folder`, reached without links. An empty
// folder refuses all external data.
class TensorReader {
 public:
  explicit TensorReader(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Throws unless `t` is a float32 or float16 constant whose data is there, of the right length and finite.
  // Takes no memory that grows with the constant.
  void check_weights(const TensorView& t) const;

  // The elements of a constant that passed check_weights, as float32.
  Tensor weights(const TensorView& t) const;

  // The elements of a small constant of any supported number type; throws if it holds more than `most`.
  std::vector<double> numbers(const TensorView& t, std::size_t most) const;

  // Bytes of an external file; throws as for reading it.
  std::uint64_t external_size(std::string_view location) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace mimo_rt::onnx
