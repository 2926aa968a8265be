// The slice of ONNX's protobuf schema that mimo_rt reads, as views into the file's bytes: parsing copies no
// payload and takes memory in proportion to the number of nodes and constants, both bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mimo_rt::onnx {

// onnx.TensorProto.DataType
enum class ElementType : std::int32_t {
  undefined = 0,
  f32 = 1,
  u8 = 2,
  i8 = 3,
  i32 = 6,
  i64 = 7,
  boolean = 9,
  f16 = 10,
  f64 = 11,
};

// A constant: its header, and where its elements lie. Elements are read by the functions of tensor_data.hpp.
struct TensorView {
  std::string_view name;
  std::string_view message;  // the whole TensorProto
  std::vector<std::int64_t> dims;
  ElementType type = ElementType::undefined;
  bool has_raw = false;
  std::string_view raw;
  bool external = false;
  std::string_view location;        // of external data: a path relative to the model's folder
  std::uint64_t offset = 0;         // of external data, in bytes
  std::int64_t length = -1;         // of external data, in bytes; -1: not stated
  std::uint64_t element_count = 0;  // product of dims
};

struct Attribute {
  std::string_view name;
  std::int32_t type =
      0;  // onnx.AttributeProto.AttributeType: 1 float, 2 int, 3 string, 4 tensor, 6 floats, 7 ints
  float f = 0;
  std::int64_t i = 0;
  std::string_view s;
  std::string_view tensor;  // a TensorProto
  std::vector<float> floats;
  std::vector<std::int64_t> ints;
};

struct NodeView {
  std::string_view name, op_type, domain;
  std::vector<std::string_view> inputs, outputs;
  std::vector<Attribute> attributes;
};

struct ValueInfo {
  std::string_view name;
  ElementType type = ElementType::undefined;
  bool has_shape = false;
  std::vector<std::int64_t> dims;  // -1: not fixed
};

struct ModelView {
  std::int64_t opset = 0;               // of the default domain; 0: not stated
  std::vector<std::string_view> nodes;  // NodeProtos, parsed one at a time by parse_node
  std::vector<TensorView> initializers;
  std::vector<ValueInfo> inputs, outputs;
  std::map<std::string, std::string> metadata;
};

// All throw ModelError: model.truncated, model.malformed, model.too_large, model.bad_shape.
ModelView parse_model(std::span<const std::byte> bytes);
NodeView parse_node(std::string_view message);
TensorView parse_tensor(std::string_view message);

// A name from the file made fit for an error message: printable ASCII, at most 80 characters, in quotes.
std::string quoted(std::string_view name);

}  // namespace mimo_rt::onnx
