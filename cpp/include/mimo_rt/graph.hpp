// The typed description of a network: what the ONNX reader makes, the passes rewrite, the plan file stores
// and a backend runs. It knows nothing of backends, threads or memory.
//
// Every value is an image-like tensor whose height and width are the input's divided by 2^scale. Five
// operators are enough; whatever can be fused hangs on a node's epilogue.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mimo_rt {

enum class DType : std::uint8_t { f32 = 0, f16 = 1, i8 = 2, u8 = 3, i32 = 4, i64 = 5 };

// Bytes of one element.
constexpr std::size_t size_of(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
      return 2;
    case DType::i8:
    case DType::u8:
      return 1;
    case DType::i64:
      return 8;
  }
  return 0;
}

// A constant: little-endian elements in row-major order. Weights of a conv are [C_out, C_in, kh, kw], of a
// conv_transpose [C_in, C_out, kh, kw] as in ONNX; a bias is [C_out].
struct Tensor {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> data;
};

using ValueId = std::uint32_t;
inline constexpr std::int32_t kNone = -1;

struct Value {
  std::string name;
  std::int32_t channels = 0;
  std::int32_t scale = 0;  // rows = input rows >> scale, columns = input columns >> scale; never negative
};

enum class Op : std::uint8_t {
  input = 0,  // the image; no inputs
  conv = 1,   // sum over parts of a convolution of each part, as one convolution over their concatenation
  conv_transpose = 2,  // one part; the output has scale - 1
  copy = 3,    // one part, resampled by its shift: identity, resampling, and the carrier of an epilogue that
               // no convolution could take (a bare Relu is copy + relu, a bare Add is copy + add)
  concat = 4,  // parts one after another along channels; left only where the consumer is not a conv
};

// How a value is read x2^n larger, along rows and along columns alike. nearest: row y is source row y >> n.
// linear: row y lies at y / 2^n of the source, a fraction f below row y >> n, and is (1 - f) times that row
// plus f times the next one; below the last row lies the last row again. Enlarging one after the other by 2^a
// and by 2^b is enlarging by 2^(a + b), in both.
enum class Sampling : std::uint8_t { nearest = 0, linear = 1 };

// One operand of a node. shift > 0: x1/2^shift, row y reads source row y << shift (so do columns); shift < 0:
// x2^-shift, as `sampling` says, which is nearest elsewhere. In conv: only >= 0, and 0 unless the kernel is
// 1x1. In conv_transpose and concat: 0.
struct Part {
  ValueId value = 0;
  std::int32_t shift = 0;
  Sampling sampling = Sampling::nearest;
};

// quantise: to 8 bits and back, x -> clamp(round(x / s), -128, 127) * s in float32, halves to even, NaN to 0.
// It commutes with neither sums nor interpolation, with repeating and dropping pixels it does.
enum class EpilogueKind : std::uint8_t { relu = 0, add = 1, mul = 2, quantise = 3 };

// Whether a step reads a second value.
constexpr bool has_operand(EpilogueKind kind) {
  return kind == EpilogueKind::add || kind == EpilogueKind::mul;
}

// One step after the convolution and its bias, applied in order. For add and mul the other operand has the
// same channels and is read x2^up larger (upsampling folded in; up >= 0), as `sampling` says, which is
// nearest where up is 0. relu reads none of this, quantise its scale alone.
struct EpilogueOp {
  EpilogueKind kind = EpilogueKind::relu;
  ValueId value = 0;
  std::int32_t up = 0;
  Sampling sampling = Sampling::nearest;
  float quantum = 0;  // quantise: s, a positive number
};

struct Node {
  Op op = Op::copy;
  std::string name;         // the ONNX node (the convolution's, where several were fused)
  std::vector<Part> parts;  // in order of channels
  ValueId output = 0;
  std::int32_t kernel_h = 1, kernel_w = 1;
  std::int32_t stride = 1;  // 1 or 2, both axes (conv, conv_transpose)
  std::int32_t pad_top = 0,
               pad_left = 0;  // zeros before the first row and column; what follows is implied by
                              // "output rows = input rows / stride" (conv), "* stride" (conv_transpose)
  std::int32_t weights = kNone, bias = kNone;  // indices into Graph::tensors; bias may be absent
  std::vector<EpilogueOp> epilogue;
};

struct Graph {
  std::vector<Value> values;
  std::vector<Tensor> tensors;
  std::vector<Node>
      nodes;  // in an order in which every value is made before it is used; nodes[0] is the input
  ValueId input = 0;
  ValueId output = 0;
  std::map<std::string, std::string> metadata;  // the ONNX file's metadata_props

  // Input sizes must be multiples of this: 2^(largest scale).
  std::int32_t stride() const;
};

// Throws ModelError("model.invalid_graph") unless every index, shape, order and rule stated above holds, so
// that a backend may trust what it gets, from the passes or from a plan file. Overflow-safe.
void validate(const Graph& graph);

// How far the output looks: output pixel (y, x) depends at most on input rows [y - before, y + after] and
// likewise on columns, for the worst alignment of y; in input pixels.
struct ReceptiveField {
  std::int32_t before = 0;
  std::int32_t after = 0;
};
ReceptiveField receptive_field(const Graph& graph);

// Multiplications and additions of convolutions, counted as multiply-adds, for one input pixel.
double macs_per_pixel(const Graph& graph);
double macs_per_pixel(const Graph& graph, const Node& node);

// float32 values that a node reads (sources and operands of the epilogue) and writes, each once, for one
// input pixel.
double values_per_pixel(const Graph& graph, const Node& node);

}  // namespace mimo_rt
