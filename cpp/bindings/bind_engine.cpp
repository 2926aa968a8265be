// Engine: building, loading, saving, and what `mimo-rt info` tells about it.
#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "bindings.hpp"
#include "mimo_rt/engine.hpp"
#include "tiling/tile_plan.hpp"

namespace py = pybind11;

namespace mimo_rt {
namespace {

const char* op_name(Op op) {
  switch (op) {
    case Op::input:
      return "input";
    case Op::conv:
      return "conv";
    case Op::conv_transpose:
      return "conv_transpose";
    case Op::copy:
      return "copy";
    case Op::concat:
      return "concat";
  }
  return "";
}

// "linear x2", "nearest x1/2"; "" where nothing is resampled. shift as in Part.
std::string resampling(std::int32_t shift, Sampling sampling) {
  if (shift == 0) return "";
  const std::string factor = std::to_string(1 << std::abs(shift));
  return (sampling == Sampling::linear ? "linear x" : "nearest x") + (shift > 0 ? "1/" + factor : factor);
}

// "relu", "add", "mul", "add linear x2".
std::string step_name(const EpilogueOp& step) {
  if (step.kind == EpilogueKind::relu) return "relu";
  if (step.kind == EpilogueKind::quantise) return "quantise";
  const std::string how = resampling(-step.up, step.sampling);
  return (step.kind == EpilogueKind::add ? "add" : "mul") + (how.empty() ? "" : " " + how);
}

py::list layers(const Engine& engine) {
  const Graph& graph = engine.plan().graph;
  py::list list;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const Value& output = graph.values[node.output];
    py::list epilogue;
    for (const EpilogueOp& op : node.epilogue) epilogue.append(step_name(op));
    std::int64_t inputs = 0;
    std::string how;
    for (const Part& part : node.parts) {
      inputs += graph.values[part.value].channels;
      if (how.empty()) how = resampling(part.shift, part.sampling);
    }
    py::dict d;
    d["name"] = text(node.name);
    d["op"] = op_name(node.op);
    d["kernel"] = text(engine.plan().tactics[n].kernel);
    d["block"] = engine.plan().tactics[n].block;
    d["level"] = output.scale;
    d["in_channels"] = inputs;
    d["out_channels"] = output.channels;
    d["kernel_size"] = py::make_tuple(node.kernel_h, node.kernel_w);
    d["stride"] = node.stride;
    d["resampling"] = how;
    d["epilogue"] = epilogue;
    d["macs_per_pixel"] = macs_per_pixel(graph, node);
    d["bytes_per_pixel"] = 4.0 * values_per_pixel(graph, node);
    list.append(d);
  }
  return list;
}

// Bytes first: pybind11 takes them for a std::string as well.
using PathOrBytes = std::variant<py::bytes, std::string>;

Engine build(const PathOrBytes& model, const std::string& precision, const std::string& target,
             const std::string& tactics, bool cache, const std::string& cache_folder,
             const py::object& timer) {
  BuildOptions options;
  options.precision = precision;
  options.target = target;
  options.tactics = tactics;
  options.cache = cache;
  options.cache_folder = std::filesystem::u8path(cache_folder);
  if (!timer.is_none()) {
    options.timer = [timer](std::string_view label, const std::function<void()>& run) {
      const py::gil_scoped_acquire held;
      return timer(py::str(label.data(), label.size()), py::cpp_function(run)).cast<double>();
    };
  }
  if (const auto* path = std::get_if<std::string>(&model)) {
    const py::gil_scoped_release released;
    return Engine::build(std::filesystem::u8path(*path), options);
  }
  const std::span<const std::byte> bytes = bytes_of(std::get<py::bytes>(model));
  const py::gil_scoped_release released;
  return Engine::build(bytes, options);
}

Engine load(const PathOrBytes& plan) {
  if (const auto* path = std::get_if<std::string>(&plan)) {
    const py::gil_scoped_release released;
    return Engine::load(std::filesystem::u8path(*path));
  }
  const std::span<const std::byte> bytes = bytes_of(std::get<py::bytes>(plan));
  const py::gil_scoped_release released;
  return Engine::load(bytes);
}

}  // namespace

void bind_engine(py::module_& m) {
  m.def("targets", &available_targets);
  m.def("compiled_targets", &compiled_targets);
  py::class_<Engine>(m, "Engine")
      .def_static("build", &build, py::arg("model"), py::kw_only(), py::arg("precision") = "fp32",
                  py::arg("target") = "", py::arg("tactics") = "fixed", py::arg("cache") = true,
                  py::arg("cache_folder") = "", py::arg("timer") = py::none())
      .def_static("load", &load, py::arg("plan"))
      .def(
          "save",
          [](const Engine& e, const std::string& path) {
            const py::gil_scoped_release released;
            e.save(std::filesystem::u8path(path));
          },
          py::arg("path"))
      .def("serialize", [](const Engine& e) { return to_bytes(e.serialize()); })
      .def_property_readonly("target", [](const Engine& e) { return text(e.plan().key.target); })
      .def_property_readonly("precision", [](const Engine& e) { return text(e.plan().key.precision); })
      .def_property_readonly("origin", &Engine::origin)
      .def_property_readonly("producer", [](const Engine& e) { return text(e.plan().producer); })
      .def_property_readonly("key",
                             [](const Engine& e) {
                               const PlanKey& key = e.plan().key;
                               return texts({{"model_sha256", key.model_sha256},
                                             {"kernel_hash", key.kernel_hash},
                                             {"target", key.target},
                                             {"precision", key.precision},
                                             {"options", key.options},
                                             {"machine", key.machine}});
                             })
      .def_property_readonly("metadata", [](const Engine& e) { return texts(e.plan().graph.metadata); })
      .def_property_readonly("stride", [](const Engine& e) { return e.plan().graph.stride(); })
      .def_property_readonly("receptive_field",
                             [](const Engine& e) {
                               const ReceptiveField field = receptive_field(e.plan().graph);
                               return py::make_tuple(field.before, field.after);
                             })
      .def_property_readonly("halo", [](const Engine& e) { return tiling::exact_halo(e.plan().graph); })
      .def_property_readonly("parameters", [](const Engine& e) { return parameters(e.plan().graph); })
      .def_property_readonly("macs_per_pixel", [](const Engine& e) { return macs_per_pixel(e.plan().graph); })
      .def_property_readonly("channels",
                             [](const Engine& e) {
                               const Graph& g = e.plan().graph;
                               return py::make_tuple(g.values[g.input].channels, g.values[g.output].channels);
                             })
      .def_property_readonly("packed_bytes", &Engine::packed_bytes)
      .def("layers", &layers);
}

}  // namespace mimo_rt
