#include "graph/shape_values.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "graph/limits.hpp"
#include "graph/node_attributes.hpp"

namespace mimo_rt::onnx {
namespace {

constexpr std::array<std::string_view, 14> kOperators = {
    "Identity",  "Cast",    "Floor",   "Ceil", "Gather", "Slice", "Concat",
    "Unsqueeze", "Squeeze", "Reshape", "Mul",  "Div",    "Add",   "Sub"};
constexpr double kLargest = 9007199254740992.0;  // 2^53: whole numbers up to here are exact

[[noreturn]] void beyond(const NodeView& node, const std::string& why) {
  fail(node, "model.unsupported_operator",
       "this arithmetic on shapes is not understood (" + why +
           "); supported in front of Resize: the input's height and width times powers of two, by Shape, "
           "Gather, "
           "Slice, Concat, Cast, Floor, Mul, Div, Squeeze and Unsqueeze; or export with a constant "
           "scale_factor");
}

const ShapeValue& input(const NodeView& node, const std::vector<const ShapeValue*>& inputs, std::size_t i) {
  if (i >= inputs.size() || inputs[i] == nullptr) fail(node, "model.malformed", "an input is missing");
  return *inputs[i];
}

std::int64_t whole(const NodeView& node, const Dim& d) {
  if (d.base != Dim::Base::constant || d.factor != std::floor(d.factor))
    beyond(node, "an index is not a constant");
  return static_cast<std::int64_t>(std::clamp(d.factor, -kLargest, kLargest));
}

Dim combine(const NodeView& node, const Dim& a, const Dim& b, bool integer) {
  const bool a_constant = a.base == Dim::Base::constant, b_constant = b.base == Dim::Base::constant;
  Dim out;
  if (node.op_type == "Mul") {
    if (!a_constant && !b_constant) beyond(node, "a product of two sizes");
    out = {a_constant ? b.base : a.base, a.factor * b.factor};
  } else if (node.op_type == "Div") {
    if (b.factor == 0) beyond(node, "a division by zero");
    if (!b_constant && a.base != b.base) beyond(node, "a quotient of unlike sizes");
    out = {b_constant ? a.base : Dim::Base::constant, a.factor / b.factor};
    if (integer && out.base == Dim::Base::constant) out.factor = std::trunc(out.factor);
  } else {
    if (a.base != b.base) beyond(node, "a sum of unlike sizes");
    out = {a.base, node.op_type == "Add" ? a.factor + b.factor : a.factor - b.factor};
  }
  if (!(std::abs(out.factor) <= kLargest)) beyond(node, "a number is too large");
  return out;
}

ShapeValue elementwise(const NodeView& node, const ShapeValue& a, const ShapeValue& b) {
  const std::size_t n = std::max(a.entries.size(), b.entries.size());
  if ((a.entries.size() != n && a.entries.size() != 1) || (b.entries.size() != n && b.entries.size() != 1))
    beyond(node, "lists of different lengths");
  ShapeValue out;
  out.scalar = a.scalar && b.scalar;
  out.integer = a.integer && b.integer;
  for (std::size_t i = 0; i < n; ++i)
    out.entries.push_back(combine(node, a.entries[a.entries.size() == 1 ? 0 : i],
                                  b.entries[b.entries.size() == 1 ? 0 : i], out.integer));
  return out;
}

ShapeValue gather(const NodeView& node, const ShapeValue& from, const ShapeValue& indices) {
  if (get_int(node, "axis", 0) != 0 || from.scalar) beyond(node, "an axis other than 0");
  ShapeValue out;
  out.scalar = indices.scalar;
  out.integer = from.integer;
  const auto n = static_cast<std::int64_t>(from.entries.size());
  for (const Dim& d : indices.entries) {
    std::int64_t i = whole(node, d);
    if (i < 0) i += n;
    if (i < 0 || i >= n) fail(node, "model.bad_shape", "an index lies outside the list it reads");
    out.entries.push_back(from.entries[static_cast<std::size_t>(i)]);
  }
  return out;
}

ShapeValue slice(const NodeView& node, const std::vector<const ShapeValue*>& inputs) {
  const ShapeValue& from = input(node, inputs, 0);
  const auto bounds = [&](std::size_t at, std::string_view attribute) {
    std::vector<std::int64_t> out = get_ints(node, attribute);  // before opset 10
    if (at < inputs.size() && inputs[at] != nullptr)
      for (const Dim& d : inputs[at]->entries) out.push_back(whole(node, d));
    return out;
  };
  const auto starts = bounds(1, "starts"), ends = bounds(2, "ends"), axes = bounds(3, "axes"),
             steps = bounds(4, "");
  if (from.scalar || starts.size() != 1 || ends.size() != 1 || axes.size() > 1 || steps.size() > 1 ||
      (!axes.empty() && axes[0] != 0 && axes[0] != -1) || (!steps.empty() && steps[0] != 1))
    beyond(node, "only slices of a list with step 1");
  const auto n = static_cast<std::int64_t>(from.entries.size());
  const auto clamp = [n](std::int64_t i) { return std::clamp<std::int64_t>(i < 0 ? i + n : i, 0, n); };
  ShapeValue out;
  out.integer = from.integer;
  for (std::int64_t i = clamp(starts[0]); i < clamp(ends[0]); ++i)
    out.entries.push_back(from.entries[static_cast<std::size_t>(i)]);
  return out;
}

ShapeValue concat(const NodeView& node, const std::vector<const ShapeValue*>& inputs) {
  const std::int64_t axis = get_int(node, "axis", 0);
  if (axis != 0 && axis != -1) beyond(node, "an axis other than 0");
  ShapeValue out;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const ShapeValue& part = input(node, inputs, i);
    if (part.scalar) beyond(node, "a concatenation of scalars");
    out.integer = i == 0 ? part.integer : out.integer && part.integer;
    if (out.entries.size() + part.entries.size() > kMaxShapeEntries) beyond(node, "a list that is too long");
    out.entries.insert(out.entries.end(), part.entries.begin(), part.entries.end());
  }
  return out;
}

ShapeValue cast(const NodeView& node, ShapeValue v) {
  const auto to = ElementType{static_cast<std::int32_t>(
      std::clamp<std::int64_t>(get_int(node, "to", 0), 0, std::numeric_limits<std::int32_t>::max()))};
  if (to == ElementType::i64 || to == ElementType::i32) {
    for (Dim& d : v.entries)
      if (d.base == Dim::Base::constant) d.factor = std::trunc(d.factor);
    v.integer = true;
  } else if (to == ElementType::f32 || to == ElementType::f64) {
    v.integer = false;
  } else {
    beyond(node, "a cast to a type other than float32, float64, int32 and int64");
  }
  return v;
}

}  // namespace

bool is_shape_operator(std::string_view op_type) {
  return std::find(kOperators.begin(), kOperators.end(), op_type) != kOperators.end();
}

namespace {

ShapeValue apply(const NodeView& node, const std::vector<const ShapeValue*>& inputs) {
  const std::string_view op = node.op_type;
  ShapeValue v = input(node, inputs, 0);
  if (op == "Identity") return v;
  if (op == "Cast") return cast(node, std::move(v));
  if (op == "Floor" || op == "Ceil") {
    for (Dim& d : v.entries)
      if (d.base == Dim::Base::constant)
        d.factor = op == "Floor" ? std::floor(d.factor) : std::ceil(d.factor);
    return v;
  }
  if (op == "Gather") return gather(node, v, input(node, inputs, 1));
  if (op == "Slice") return slice(node, inputs);
  if (op == "Concat") return concat(node, inputs);
  if (op == "Unsqueeze") {
    if (!v.scalar) beyond(node, "a list of rank 2");
    v.scalar = false;
    return v;
  }
  if (op == "Squeeze") {
    if (v.entries.size() != 1) beyond(node, "a list of several entries made a scalar");
    v.scalar = true;
    return v;
  }
  if (op == "Reshape") {
    const ShapeValue& to = input(node, inputs, 1);
    const bool list = to.entries.size() == 1 && !to.scalar &&
                      (whole(node, to.entries[0]) == -1 ||
                       whole(node, to.entries[0]) == static_cast<std::int64_t>(v.entries.size()));
    const bool scalar = to.entries.empty() && v.entries.size() == 1;
    if (!list && !scalar) beyond(node, "a list of rank 2");
    v.scalar = scalar;
    return v;
  }
  if (op == "Mul" || op == "Div" || op == "Add" || op == "Sub")
    return elementwise(node, v, input(node, inputs, 1));
  beyond(node, "the operator");
}

// The smallest power of two whose multiple `factor` is whole.
std::int32_t denominator(const NodeView& node, double factor) {
  for (std::int32_t d = 1; d <= 1 << kMaxScale; d *= 2)
    if (factor * d == std::floor(factor * d)) return d;
  beyond(node, "a size rounded after a division by other than a power of two");
}

}  // namespace

ShapeValue evaluate(const NodeView& node, const std::vector<const ShapeValue*>& inputs) {
  ShapeValue out = apply(node, inputs);
  for (const ShapeValue* v : inputs)
    if (v != nullptr) out.divisor = std::max(out.divisor, v->divisor);
  if (out.integer || node.op_type == "Floor" || node.op_type == "Ceil")
    for (const Dim& d : out.entries)
      if (d.base != Dim::Base::constant) out.divisor = std::max(out.divisor, denominator(node, d.factor));
  return out;
}

}  // namespace mimo_rt::onnx
