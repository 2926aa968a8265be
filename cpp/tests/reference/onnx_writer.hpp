// A tiny ONNX writer for tests: makes models in memory, honest and hostile ones, without the onnx package.
#pragma once

#include <cstddef>
#include <cstdint>
#include <protozero/pbf_writer.hpp>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace mimo_rt::reference {

inline std::span<const std::byte> as_bytes(const std::string& s) {
  return std::as_bytes(std::span(s.data(), s.size()));
}

// "v" and 3 make "v3".
inline std::string numbered(std::string prefix, long number) {
  prefix += std::to_string(number);
  return prefix;
}

// A serialised TensorProto.
struct OnnxTensor {
  std::string message;
};

// Element types of TensorProto that tests need.
inline constexpr std::int32_t kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6, kInt64 = 7, kHalf = 10,
                              kDouble = 11;

template <typename T>
OnnxTensor raw_tensor(const std::string& name, const std::vector<std::int64_t>& dims, std::int32_t type,
                      const std::vector<T>& elements) {
  OnnxTensor t;
  protozero::pbf_writer w(t.message);
  for (const std::int64_t d : dims) w.add_int64(1, d);
  w.add_int32(2, type);
  w.add_string(8, name);
  w.add_bytes(9, reinterpret_cast<const char*>(elements.data()), elements.size() * sizeof(T));
  return t;
}

inline OnnxTensor float_tensor(const std::string& name, const std::vector<std::int64_t>& dims,
                               const std::vector<float>& elements) {
  return raw_tensor(name, dims, kFloat, elements);
}

// In float_data (packed) instead of raw_data.
inline OnnxTensor typed_float_tensor(const std::string& name, const std::vector<std::int64_t>& dims,
                                     const std::vector<float>& elements) {
  OnnxTensor t;
  protozero::pbf_writer w(t.message);
  for (const std::int64_t d : dims) w.add_int64(1, d);
  w.add_int32(2, kFloat);
  w.add_packed_float(4, elements.begin(), elements.end());
  w.add_string(8, name);
  return t;
}

// In int64_data instead of raw_data; a scalar if `dims` is empty.
inline OnnxTensor int_tensor(const std::string& name, const std::vector<std::int64_t>& dims,
                             const std::vector<std::int64_t>& elements) {
  OnnxTensor t;
  protozero::pbf_writer w(t.message);
  for (const std::int64_t d : dims) w.add_int64(1, d);
  w.add_int32(2, kInt64);
  w.add_packed_int64(7, elements.begin(), elements.end());
  w.add_string(8, name);
  return t;
}

// Data in another file; `pairs` are the external_data entries (location, offset, length).
inline OnnxTensor external_tensor(const std::string& name, const std::vector<std::int64_t>& dims,
                                  const std::vector<std::pair<std::string, std::string>>& pairs) {
  OnnxTensor t;
  protozero::pbf_writer w(t.message);
  for (const std::int64_t d : dims) w.add_int64(1, d);
  w.add_int32(2, kFloat);
  w.add_string(8, name);
  for (const auto& [key, value] : pairs) {
    protozero::pbf_writer entry(w, 13);
    entry.add_string(1, key);
    entry.add_string(2, value);
  }
  w.add_int32(14, 1);
  return t;
}

using OnnxValue =
    std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>, std::vector<float>, OnnxTensor>;

struct OnnxAttribute {
  std::string name;
  OnnxValue value;
};

class OnnxModel {
 public:
  std::int64_t opset = 17;

  // -1 stands for a dimension that is not fixed.
  OnnxModel& input(const std::string& name, const std::vector<std::int64_t>& dims,
                   std::int32_t type = kFloat) {
    protozero::pbf_writer w(graph_);
    w.add_message(11, value_info(name, dims, type));
    return *this;
  }

  OnnxModel& output(const std::string& name, const std::vector<std::int64_t>& dims = {-1, -1, -1, -1}) {
    protozero::pbf_writer w(graph_);
    w.add_message(12, value_info(name, dims, kFloat));
    return *this;
  }

  OnnxModel& constant(const OnnxTensor& t) {
    protozero::pbf_writer w(graph_);
    w.add_message(5, t.message);
    return *this;
  }

  OnnxModel& node(const std::string& op, const std::vector<std::string>& inputs,
                  const std::vector<std::string>& outputs, const std::vector<OnnxAttribute>& attributes = {},
                  const std::string& domain = "") {
    protozero::pbf_writer graph(graph_);
    protozero::pbf_writer w(graph, 1);
    for (const std::string& i : inputs) w.add_string(1, i);
    for (const std::string& o : outputs) w.add_string(2, o);
    w.add_string(3, "node_" + (outputs.empty() ? op : outputs[0]));
    w.add_string(4, op);
    for (const OnnxAttribute& a : attributes) {
      protozero::pbf_writer attribute(w, 5);
      write(attribute, a);
    }
    if (!domain.empty()) w.add_string(7, domain);
    return *this;
  }

  OnnxModel& metadata(const std::string& key, const std::string& value) {
    protozero::pbf_writer w(metadata_);
    protozero::pbf_writer entry(w, 14);
    entry.add_string(1, key);
    entry.add_string(2, value);
    return *this;
  }

  // Bytes appended to the graph as they are.
  OnnxModel& raw_graph_bytes(const std::string& bytes) {
    graph_ += bytes;
    return *this;
  }

  std::string bytes() const {
    std::string out;
    protozero::pbf_writer w(out);
    w.add_int64(1, 8);
    if (opset != 0) {
      protozero::pbf_writer o(w, 8);
      o.add_string(1, "");
      o.add_int64(2, opset);
    }
    w.add_message(7, graph_);
    return out + metadata_;
  }

 private:
  static std::string value_info(const std::string& name, const std::vector<std::int64_t>& dims,
                                std::int32_t type) {
    std::string out;
    protozero::pbf_writer w(out);
    w.add_string(1, name);
    protozero::pbf_writer type_proto(w, 2);
    protozero::pbf_writer tensor(type_proto, 1);
    tensor.add_int32(1, type);
    protozero::pbf_writer shape(tensor, 2);
    for (const std::int64_t d : dims) {
      protozero::pbf_writer dim(shape, 1);
      if (d == -1) {
        dim.add_string(2, "any");
      } else {
        dim.add_int64(1, d);
      }
    }
    return out;
  }

  static void write(protozero::pbf_writer& w, const OnnxAttribute& a) {
    w.add_string(1, a.name);
    if (const auto* i = std::get_if<std::int64_t>(&a.value)) {
      w.add_int64(3, *i);
      w.add_int32(20, 2);
    } else if (const auto* f = std::get_if<float>(&a.value)) {
      w.add_float(2, *f);
      w.add_int32(20, 1);
    } else if (const auto* s = std::get_if<std::string>(&a.value)) {
      w.add_string(4, *s);
      w.add_int32(20, 3);
    } else if (const auto* ints = std::get_if<std::vector<std::int64_t>>(&a.value)) {
      for (const std::int64_t v : *ints) w.add_int64(8, v);
      w.add_int32(20, 7);
    } else if (const auto* floats = std::get_if<std::vector<float>>(&a.value)) {
      for (const float v : *floats) w.add_float(7, v);
      w.add_int32(20, 6);
    } else {
      w.add_message(5, std::get<OnnxTensor>(a.value).message);
      w.add_int32(20, 4);
    }
  }

  std::string graph_, metadata_;
};

}  // namespace mimo_rt::reference
