// Symbolic values of the small integer and float lists that exporters compute in front of Resize: each
// element is a constant or a multiple of the input's batch, height or width. Sizes are multiples of the
// graph's stride, so rounding a multiple whose denominator divides that stride changes nothing; the
// denominators met are kept for that check.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "graph/onnx_proto.hpp"

namespace mimo_rt::onnx {

inline constexpr std::size_t kMaxShapeEntries = 16;

struct Dim {
  enum class Base : std::uint8_t { constant, batch, height, width };
  Base base = Base::constant;
  double factor = 0;  // the value of a constant, else what the base is multiplied by

  bool operator==(const Dim&) const = default;
};

struct ShapeValue {
  std::vector<Dim> entries;
  bool scalar = false;  // rank 0 with one entry, else rank 1
  bool integer = true;  // constants are then whole numbers, and division truncates
  std::int32_t divisor =
      1;  // every rounding on the way was exact where sizes are multiples of this power of two
};

// True for the operators that evaluate() knows.
bool is_shape_operator(std::string_view op_type);

// Evaluates one node on shape values. `inputs` has one entry an input; null for an input left out. Throws
// ModelError where the operator, applied to such lists, is beyond what this evaluator knows.
ShapeValue evaluate(const NodeView& node, const std::vector<const ShapeValue*>& inputs);

}  // namespace mimo_rt::onnx
