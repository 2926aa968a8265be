#include "graph/tensor_data.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <protozero/pbf_reader.hpp>

#include "core/half.hpp"
#include "graph/external_data.hpp"
#include "mimo_rt/error.hpp"

namespace mimo_rt::onnx {
namespace {

static_assert(std::endian::native == std::endian::little, "constants are little-endian and used as they lie");

std::size_t width_of(ElementType t) {
  switch (t) {
    case ElementType::f32:
    case ElementType::i32:
      return 4;
    case ElementType::f64:
    case ElementType::i64:
      return 8;
    case ElementType::f16:
      return 2;
    case ElementType::i8:
    case ElementType::u8:
    case ElementType::boolean:
      return 1;
    default:
      return 0;
  }
}

template <typename T>
T load(const char* at) {
  T v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

double element(const char* at, ElementType type) {
  switch (type) {
    case ElementType::f32:
      return load<float>(at);
    case ElementType::f64:
      return load<double>(at);
    case ElementType::f16:
      return widen(load<std::uint16_t>(at));
    case ElementType::i32:
      return load<std::int32_t>(at);
    case ElementType::i64:
      return static_cast<double>(load<std::int64_t>(at));
    case ElementType::i8:
      return load<std::int8_t>(at);
    default:
      return load<std::uint8_t>(at);
  }
}

[[noreturn]] void wrong_length(const TensorView& t) {
  throw ModelError(
      "model.bad_shape",
      "constant " + quoted(t.name) + " holds another number of elements than its shape says; export again");
}

[[noreturn]] void not_finite(const TensorView& t) {
  throw ModelError("model.nonfinite_weights", "constant " + quoted(t.name) +
                                                  " holds NaN or infinity: the training that made it failed; "
                                                  "use another checkpoint");
}

// Calls chunk(pointer, elements) over the data in file order, with little-endian elements of the tensor's
// type. Throws unless there are exactly element_count of them.
template <typename Chunk>
void for_each_chunk(const TensorView& t, const std::filesystem::path& folder, Chunk chunk) {
  const std::size_t width = width_of(t.type);
  if (width == 0)
    throw ModelError("model.unsupported_tensor",
                     "constant " + quoted(t.name) + " has element type " +
                         std::to_string(static_cast<std::int32_t>(t.type)) +
                         "; supported: float32 and float16 weights, integers in shapes; export in float32");
  if (t.external) {
    if (t.has_raw) throw ModelError("model.malformed", "constant " + quoted(t.name) + " has its data twice");
    const ExternalFile file(folder, t.location);
    const std::uint64_t bytes = t.element_count * width;
    if (t.length >= 0 && static_cast<std::uint64_t>(t.length) != bytes) wrong_length(t);
    if (t.offset > file.size() || bytes > file.size() - t.offset)
      throw ModelError("model.truncated", "external data " + quoted(t.location) + " ends before constant " +
                                              quoted(t.name) + " does; copy the file again");
    std::array<char, 65536> buffer;
    for (std::uint64_t done = 0; done < bytes;) {
      const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), bytes - done));
      file.read(t.offset + done, std::as_writable_bytes(std::span(buffer.data(), n)));
      chunk(buffer.data(), n / width);
      done += n;
    }
    return;
  }
  if (t.has_raw) {
    if (t.raw.size() != t.element_count * width) wrong_length(t);
    chunk(t.raw.data(), static_cast<std::size_t>(t.element_count));
    return;
  }
  // Typed fields. Runs are counted before they are handed on.
  std::uint64_t seen = 0;
  const auto hand = [&](const char* at, std::uint64_t n) {
    if (n > t.element_count - seen) wrong_length(t);
    seen += n;
    chunk(at, static_cast<std::size_t>(n));
  };
  const auto one = [&](auto v) {
    std::array<char, 8> buffer{};
    std::memcpy(buffer.data(), &v, sizeof v);
    hand(buffer.data(), 1);
  };
  const bool fixed = t.type == ElementType::f32 || t.type == ElementType::f64;
  const protozero::pbf_tag_type tag = t.type == ElementType::f32   ? 4
                                      : t.type == ElementType::f64 ? 10
                                      : t.type == ElementType::i64 ? 7
                                                                   : 5;
  try {
    protozero::pbf_reader r{t.message.data(), t.message.size()};
    while (r.next()) {
      if (r.tag() != tag) {
        r.skip();
      } else if (fixed && r.wire_type() == protozero::pbf_wire_type::length_delimited) {
        const auto v = r.get_view();
        if (v.size() % width != 0) wrong_length(t);
        hand(v.data(), v.size() / width);
      } else if (t.type == ElementType::f32 && r.wire_type() == protozero::pbf_wire_type::fixed32) {
        one(r.get_float());
      } else if (t.type == ElementType::f64 && r.wire_type() == protozero::pbf_wire_type::fixed64) {
        one(r.get_double());
      } else if (!fixed) {
        if (r.wire_type() == protozero::pbf_wire_type::varint) {
          one(r.get_int64());
        } else if (r.wire_type() == protozero::pbf_wire_type::length_delimited) {
          for (const std::int64_t v : r.get_packed_int64()) one(v);
        } else {
          wrong_length(t);
        }
      } else {
        wrong_length(t);
      }
    }
  } catch (const protozero::exception&) {
    throw ModelError("model.malformed", "the elements of constant " + quoted(t.name) + " cannot be read");
  }
  if (seen != t.element_count) wrong_length(t);
}

void require_float(const TensorView& t) {
  if (t.type != ElementType::f32 && t.type != ElementType::f16)
    throw ModelError("model.unsupported_tensor", "weights " + quoted(t.name) + " have element type " +
                                                     std::to_string(static_cast<std::int32_t>(t.type)) +
                                                     "; supported: float32 and float16; export in float32");
}

}  // namespace

void TensorReader::check_weights(const TensorView& t) const {
  require_float(t);
  bool finite = true;
  for_each_chunk(t, folder_, [&](const char* at, std::size_t n) {
    if (t.type == ElementType::f32) {
      for (std::size_t i = 0; i < n; ++i)
        finite &= (load<std::uint32_t>(at + 4 * i) & 0x7f800000u) != 0x7f800000u;
    } else {
      for (std::size_t i = 0; i < n; ++i) finite &= (load<std::uint16_t>(at + 2 * i) & 0x7c00u) != 0x7c00u;
    }
  });
  if (!finite) not_finite(t);
}

Tensor TensorReader::weights(const TensorView& t) const {
  require_float(t);
  Tensor out;
  out.shape = t.dims;
  std::size_t at = 0;
  // The chunks of typed fields hold whole elements, and for_each_chunk never hands on more than
  // element_count.
  if (!t.external && !t.has_raw && t.element_count > t.message.size()) wrong_length(t);
  if (t.has_raw && t.raw.size() != t.element_count * width_of(t.type)) wrong_length(t);
  if (t.external) {
    const ExternalFile file(folder_, t.location);
    if (t.element_count * width_of(t.type) > file.size()) wrong_length(t);
  }
  out.data.resize(static_cast<std::size_t>(t.element_count) * sizeof(float));
  for_each_chunk(t, folder_, [&](const char* from, std::size_t n) {
    if (t.type == ElementType::f32) {
      if (n != 0) std::memcpy(out.data.data() + at, from, n * sizeof(float));
      at += n * sizeof(float);
      return;
    }
    for (std::size_t i = 0; i < n; ++i, at += sizeof(float)) {
      const float v = widen(load<std::uint16_t>(from + 2 * i));
      std::memcpy(out.data.data() + at, &v, sizeof v);
    }
  });
  // An external file may have changed since it was checked.
  if (t.external)
    for (std::size_t i = 0; i < out.data.size(); i += sizeof(float))
      if (!std::isfinite(load<float>(reinterpret_cast<const char*>(out.data.data()) + i))) not_finite(t);
  return out;
}

std::uint64_t TensorReader::external_size(std::string_view location) const {
  return ExternalFile(folder_, location).size();
}

std::vector<double> TensorReader::numbers(const TensorView& t, std::size_t most) const {
  if (t.element_count > most)
    throw ModelError("model.unsupported_tensor", "constant " + quoted(t.name) +
                                                     " is used as a small list, yet holds " +
                                                     std::to_string(t.element_count) + " elements; at most " +
                                                     std::to_string(most) + " are supported here");
  // Packed integers come as 64-bit ones, whatever the type: only raw data has the type's own width.
  const bool typed_integers =
      !t.has_raw && !t.external && t.type != ElementType::f32 && t.type != ElementType::f64;
  std::vector<double> out;
  for_each_chunk(t, folder_, [&](const char* at, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      const ElementType type = typed_integers && t.type != ElementType::f16 ? ElementType::i64 : t.type;
      out.push_back(element(at + i * (typed_integers ? 8 : width_of(t.type)), type));
      if (!std::isfinite(out.back())) not_finite(t);
    }
  });
  return out;
}

}  // namespace mimo_rt::onnx
