// What an ONNX file is, without an engine, and the tiles of an image: for backends that live in Python.
#include <pybind11/stl.h>

#include <string>

#include "bindings.hpp"
#include "graph/onnx_reader.hpp"
#include "mimo_rt/graph.hpp"
#include "plan/plan_key.hpp"
#include "tiling/tile_plan.hpp"

namespace py = pybind11;

namespace mimo_rt {
namespace {

py::dict describe(const py::bytes& onnx) {
  const std::span<const std::byte> bytes = bytes_of(onnx);
  const std::span<const std::byte> files[] = {bytes};
  const Graph graph = read_onnx(bytes, {});
  const ReceptiveField field = receptive_field(graph);
  py::dict d;
  d["model_sha256"] = model_sha256(files);
  d["channels"] = py::make_tuple(graph.values[graph.input].channels, graph.values[graph.output].channels);
  d["stride"] = graph.stride();
  d["receptive_field"] = py::make_tuple(field.before, field.after);
  d["halo"] = tiling::exact_halo(graph);
  d["parameters"] = parameters(graph);
  d["macs_per_pixel"] = macs_per_pixel(graph);
  d["metadata"] = texts(graph.metadata);
  return d;
}

py::list spans(const std::vector<tiling::Span>& spans) {
  py::list list;
  for (const tiling::Span& span : spans) list.append(py::make_tuple(span.origin, span.first, span.end));
  return list;
}

}  // namespace

void bind_graph(py::module_& m) {
  m.def("describe", &describe, py::arg("onnx"));
  m.def(
      "plan_tiles",
      [](std::pair<std::int64_t, std::int64_t> padded, std::pair<std::int64_t, std::int64_t> tile,
         std::int64_t halo, std::int64_t stride) {
        const tiling::TilePlan plan =
            tiling::plan_tiles({padded.first, padded.second}, {tile.first, tile.second}, halo, stride);
        return py::make_tuple(py::make_tuple(plan.tile.height, plan.tile.width), spans(plan.rows),
                              spans(plan.columns));
      },
      py::arg("padded"), py::arg("tile"), py::arg("halo"), py::arg("stride"));
}

}  // namespace mimo_rt
