// What each bind_<topic>.cpp gives to module.cpp, and what several of them need.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "mimo_rt/graph.hpp"

namespace mimo_rt {

// The bytes of a Python object, as long as it lives.
inline std::span<const std::byte> bytes_of(const pybind11::bytes& data) {
  const auto view = static_cast<std::string_view>(data);
  return {reinterpret_cast<const std::byte*>(view.data()), view.size()};
}
inline pybind11::bytes to_bytes(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

// Names come from files: what is not UTF-8 is shown replaced, never an error.
inline pybind11::str text(const std::string& s) {
  return pybind11::reinterpret_steal<pybind11::str>(
      PyUnicode_DecodeUTF8(s.data(), static_cast<Py_ssize_t>(s.size()), "replace"));
}
inline pybind11::dict texts(const std::map<std::string, std::string>& map) {
  pybind11::dict d;
  for (const auto& [key, value] : map) d[text(key)] = text(value);
  return d;
}

// How many numbers the graph's constants hold.
inline std::int64_t parameters(const Graph& graph) {
  std::int64_t count = 0;
  for (const Tensor& tensor : graph.tensors) {
    count += static_cast<std::int64_t>(tensor.data.size() / size_of(tensor.dtype));
  }
  return count;
}

void bind_errors(pybind11::module_& m);
void bind_engine(pybind11::module_& m);
void bind_deblurrer(pybind11::module_& m);
void bind_graph(pybind11::module_& m);
void bind_sealed(pybind11::module_& m);

}  // namespace mimo_rt
