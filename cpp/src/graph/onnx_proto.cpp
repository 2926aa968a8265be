// Field by field reading of ONNX's messages; the numbers are those of onnx.proto3.
#include "graph/onnx_proto.hpp"

#include <charconv>
#include <limits>
#include <protozero/pbf_reader.hpp>

#include "graph/limits.hpp"
#include "mimo_rt/error.hpp"

namespace mimo_rt::onnx {
namespace {

constexpr std::size_t kMaxInitializers = 16384;
constexpr std::size_t kMaxRank = 8;
constexpr std::size_t kMaxListEntries = 64;  // of an attribute: no supported attribute needs more than 8
constexpr std::size_t kMaxMetadata = 256;
constexpr std::size_t kMaxMetadataBytes = 1 << 20;
constexpr std::size_t kMaxAttributes = 64;

std::string_view view(protozero::data_view v) { return {v.data(), v.size()}; }

[[noreturn]] void malformed(const std::string& what) {
  throw ModelError("model.malformed",
                   "this is not a readable ONNX file: " + what + "; export the model again");
}

void bounded(std::size_t count, std::size_t most, const char* what) {
  if (count >= most)
    throw ModelError("model.too_large", "the model holds more than " + std::to_string(most) + " " + what +
                                            ", which no supported network needs");
}

template <typename Body>
auto guarded(Body body) {
  try {
    return body();
  } catch (const protozero::end_of_buffer_exception&) {
    throw ModelError(
        "model.truncated",
        "the ONNX file ends in the middle of a field: it is cut short; copy or download it again");
  } catch (const protozero::exception& e) {
    malformed(e.what());
  }
}

// Walks a message; `field` gets the reader at each field and says whether it took it, all others are skipped.
template <typename Field>
void walk(std::string_view message, Field field) {
  protozero::pbf_reader r{message.data(), message.size()};
  while (r.next())
    if (!field(r)) r.skip();
}

bool length_delimited(const protozero::pbf_reader& r) {
  return r.wire_type() == protozero::pbf_wire_type::length_delimited;
}

std::string_view bytes(protozero::pbf_reader& r) {
  if (!length_delimited(r)) malformed("a text or message field has another wire type");
  return view(r.get_view());
}

std::int64_t integer(protozero::pbf_reader& r) {
  if (r.wire_type() != protozero::pbf_wire_type::varint) malformed("an integer field has another wire type");
  return r.get_int64();
}

std::int32_t small(protozero::pbf_reader& r) {
  const std::int64_t v = integer(r);
  if (v < std::numeric_limits<std::int32_t>::min() || v > std::numeric_limits<std::int32_t>::max())
    malformed("an enumeration is out of range");
  return static_cast<std::int32_t>(v);
}

float real(protozero::pbf_reader& r) {
  if (r.wire_type() != protozero::pbf_wire_type::fixed32) malformed("a float field has another wire type");
  return r.get_float();
}

// One entry of a repeated integer field, or a packed run of them.
void integers(protozero::pbf_reader& r, std::vector<std::int64_t>& out, std::size_t most, const char* what) {
  const auto add = [&](std::int64_t v) {
    bounded(out.size(), most, what);
    out.push_back(v);
  };
  if (!length_delimited(r)) return add(integer(r));
  for (const std::int64_t v : r.get_packed_int64()) add(v);
}

void reals(protozero::pbf_reader& r, std::vector<float>& out, std::size_t most, const char* what) {
  const auto add = [&](float v) {
    bounded(out.size(), most, what);
    out.push_back(v);
  };
  if (!length_delimited(r)) return add(real(r));
  for (const float v : r.get_packed_float()) add(v);
}

std::int64_t decimal(std::string_view text, const char* what) {
  std::int64_t v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc{} || end != text.data() + text.size() || v < 0)
    malformed(std::string("the ") + what + " of external data is not a number of bytes");
  return v;
}

struct Pair {
  std::string_view key, value;
};

Pair parse_pair(std::string_view message) {  // StringStringEntryProto
  Pair p;
  walk(message, [&](protozero::pbf_reader& r) {
    if (r.tag() == 1) return p.key = bytes(r), true;
    if (r.tag() == 2) return p.value = bytes(r), true;
    return false;
  });
  return p;
}

Attribute parse_attribute(std::string_view message) {  // AttributeProto
  Attribute a;
  walk(message, [&](protozero::pbf_reader& r) {
    switch (r.tag()) {
      case 1:
        return a.name = bytes(r), true;
      case 2:
        return a.f = real(r), true;
      case 3:
        return a.i = integer(r), true;
      case 4:
        return a.s = bytes(r), true;
      case 5:
        return a.tensor = bytes(r), true;
      case 7:
        return reals(r, a.floats, kMaxListEntries, "numbers in one attribute"), true;
      case 8:
        return integers(r, a.ints, kMaxListEntries, "numbers in one attribute"), true;
      case 20:
        return a.type = small(r), true;
      case 21:
        malformed("an attribute refers to a function's attribute outside a function");
      default:
        return false;
    }
  });
  return a;
}

std::vector<std::int64_t> parse_shape(std::string_view message) {  // TensorShapeProto
  std::vector<std::int64_t> dims;
  walk(message, [&](protozero::pbf_reader& r) {
    if (r.tag() != 1) return false;
    bounded(dims.size(), kMaxRank, "dimensions in one shape");
    std::int64_t dim = -1;
    walk(bytes(r), [&](protozero::pbf_reader& d) {
      if (d.tag() != 1) return false;
      dim = integer(d);
      if (dim < 0)
        throw ModelError("model.bad_shape", "an input or output of the model has a negative dimension");
      return true;
    });
    dims.push_back(dim);
    return true;
  });
  return dims;
}

ValueInfo parse_value_info(std::string_view message) {  // ValueInfoProto
  ValueInfo info;
  walk(message, [&](protozero::pbf_reader& r) {
    if (r.tag() == 1) return info.name = bytes(r), true;
    if (r.tag() != 2) return false;
    walk(bytes(r), [&](protozero::pbf_reader& type) {  // TypeProto
      if (type.tag() != 1) return false;
      walk(bytes(type), [&](protozero::pbf_reader& tensor) {  // TypeProto.Tensor
        if (tensor.tag() == 1) return info.type = ElementType{small(tensor)}, true;
        if (tensor.tag() != 2) return false;
        info.dims = parse_shape(bytes(tensor));
        return info.has_shape = true;
      });
      return true;
    });
    return true;
  });
  return info;
}

void parse_graph(std::string_view message, ModelView& m) {  // GraphProto
  walk(message, [&](protozero::pbf_reader& r) {
    switch (r.tag()) {
      case 1:
        bounded(m.nodes.size(), kMaxNodes, "nodes");
        return m.nodes.push_back(bytes(r)), true;
      case 5:
        bounded(m.initializers.size(), kMaxInitializers, "constants");
        return m.initializers.push_back(parse_tensor(bytes(r))), true;
      case 11:
        bounded(m.inputs.size(), kMaxInitializers, "inputs");
        return m.inputs.push_back(parse_value_info(bytes(r))), true;
      case 12:
        bounded(m.outputs.size(), kMaxParts, "outputs");
        return m.outputs.push_back(parse_value_info(bytes(r))), true;
      case 15:
        throw ModelError(
            "model.unsupported_tensor",
            "the model holds sparse constants; only dense ones are supported: export without them");
      default:
        return false;
    }
  });
}

TensorView tensor_view(std::string_view message) {
  TensorView t;
  t.message = message;
  walk(message, [&](protozero::pbf_reader& r) {
    switch (r.tag()) {
      case 1:
        return integers(r, t.dims, kMaxRank, "dimensions in one constant"), true;
      case 2:
        return t.type = ElementType{small(r)}, true;
      case 8:
        return t.name = bytes(r), true;
      case 9:
        t.raw = bytes(r);
        return t.has_raw = true;
      case 13: {
        const Pair p = parse_pair(bytes(r));
        if (p.key == "location") t.location = p.value;
        if (p.key == "offset") t.offset = static_cast<std::uint64_t>(decimal(p.value, "offset"));
        if (p.key == "length") t.length = decimal(p.value, "length");
        return true;
      }
      case 14:
        return t.external = small(r) != 0, true;
      default:
        return false;
    }
  });
  t.element_count = 1;
  for (const std::int64_t d : t.dims) {
    if (d < 0)
      throw ModelError("model.bad_shape",
                       "constant " + quoted(t.name) + " has a negative dimension; export again");
    const auto dim = static_cast<std::uint64_t>(d);
    // Far below 2^64, so that a count of bytes cannot overflow either.
    if (dim != 0 && t.element_count > (std::uint64_t{1} << 48) / dim)
      throw ModelError("model.bad_shape",
                       "constant " + quoted(t.name) + " has dimensions whose product overflows");
    t.element_count *= dim;
  }
  return t;
}

}  // namespace

std::string quoted(std::string_view name) {
  std::string out = "'";
  for (const char c : name.substr(0, 80)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out + (name.size() > 80 ? "...'" : "'");
}

TensorView parse_tensor(std::string_view message) {
  return guarded([&] { return tensor_view(message); });
}

NodeView parse_node(std::string_view message) {
  return guarded([&] {
    NodeView n;
    walk(message, [&](protozero::pbf_reader& r) {
      switch (r.tag()) {
        case 1:
          bounded(n.inputs.size(), kMaxParts, "inputs of one node");
          return n.inputs.push_back(bytes(r)), true;
        case 2:
          bounded(n.outputs.size(), kMaxParts, "outputs of one node");
          return n.outputs.push_back(bytes(r)), true;
        case 3:
          return n.name = bytes(r), true;
        case 4:
          return n.op_type = bytes(r), true;
        case 5:
          bounded(n.attributes.size(), kMaxAttributes, "attributes of one node");
          return n.attributes.push_back(parse_attribute(bytes(r))), true;
        case 7:
          return n.domain = bytes(r), true;
        default:
          return false;
      }
    });
    return n;
  });
}

ModelView parse_model(std::span<const std::byte> file) {
  if (file.empty()) throw ModelError("model.truncated", "the ONNX file is empty; copy or download it again");
  return guarded([&] {
    ModelView m;
    bool has_graph = false;
    std::size_t metadata_bytes = 0;
    walk({reinterpret_cast<const char*>(file.data()), file.size()}, [&](protozero::pbf_reader& r) {
      switch (r.tag()) {
        case 7:
          if (has_graph) malformed("it holds two graphs");
          has_graph = true;
          return parse_graph(bytes(r), m), true;
        case 8: {  // OperatorSetIdProto
          std::string_view domain;
          std::int64_t version = 0;
          walk(bytes(r), [&](protozero::pbf_reader& o) {
            if (o.tag() == 1) return domain = bytes(o), true;
            if (o.tag() == 2) return version = integer(o), true;
            return false;
          });
          if (domain.empty() || domain == "ai.onnx") m.opset = version;
          return true;
        }
        case 14: {
          const Pair p = parse_pair(bytes(r));
          bounded(m.metadata.size(), kMaxMetadata, "metadata entries");
          metadata_bytes += p.key.size() + p.value.size();
          bounded(metadata_bytes, kMaxMetadataBytes, "bytes of metadata");
          if (!m.metadata.emplace(p.key, p.value).second)
            throw ModelError("model.duplicate_name",
                             "the model's metadata holds " + quoted(p.key) + " twice");
          return true;
        }
        default:
          return false;
      }
    });
    if (!has_graph) malformed("it holds no graph");
    return m;
  });
}

}  // namespace mimo_rt::onnx
