// Deblurrer: numpy arrays as views, without a copy, and the GIL released while it runs.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <map>
#include <string>
#include <utility>

#include "bindings.hpp"
#include "mimo_rt/deblurrer.hpp"
#include "mimo_rt/error.hpp"

namespace py = pybind11;

namespace mimo_rt {
namespace {

PixelType pixel_type(const py::array& array) {
  // Equivalent, not the same object: numpy makes several of one type.
  if (py::isinstance<py::array_t<std::uint8_t>>(array)) return PixelType::u8;
  if (py::isinstance<py::array_t<std::uint16_t>>(array)) return PixelType::u16;
  if (py::isinstance<py::array_t<float>>(array)) return PixelType::f32;
  throw ImageError("image.dtype",
                   "an image is an array of uint8, uint16 or float32 in native byte order, not " +
                       py::str(array.dtype()).cast<std::string>());
}

// rows, columns, channels: which axis of the array is which.
template <typename View, typename Data>
View view_of(const py::array& array, Data* data, int rows, int columns, int channels) {
  if (array.ndim() != 3) throw ImageError("image.shape", "an image is an array of three axes here");
  View view;
  view.data = data;
  view.type = pixel_type(array);
  view.height = array.shape(rows);
  view.width = array.shape(columns);
  view.channels = array.shape(channels);
  view.row_stride = array.strides(rows);
  view.column_stride = array.strides(columns);
  view.channel_stride = array.strides(channels);
  return view;
}

ImageView source_view(const py::array& array, int rows, int columns, int channels) {
  return view_of<ImageView>(array, static_cast<const std::byte*>(array.data()), rows, columns, channels);
}

MutableImageView destination_view(py::array& array, int rows, int columns, int channels) {
  if (!array.writeable()) throw ImageError("image.read_only", "the destination array is read-only");
  return view_of<MutableImageView>(array, static_cast<std::byte*>(array.mutable_data()), rows, columns,
                                   channels);
}

TileOptions::Mode tile_mode(const std::string& name) {
  if (name == "fixed") return TileOptions::Mode::fixed;
  if (name == "chosen") return TileOptions::Mode::chosen;
  return TileOptions::Mode::none;
}

void run(Deblurrer& deblurrer, const py::array& source, py::array destination, bool bgr, float strength,
         const py::object& progress) {
  const ImageView from = source_view(source, 0, 1, 2);
  const MutableImageView to = destination_view(destination, 0, 1, 2);
  RunOptions options;
  options.bgr = bgr;
  options.strength = strength;
  if (!progress.is_none()) {
    options.progress = [&progress](double fraction) {
      const py::gil_scoped_acquire held;
      return progress(fraction).cast<bool>();
    };
  }
  const py::gil_scoped_release released;
  deblurrer.run(from, to, options);
}

void infer(Deblurrer& deblurrer, const py::array& source, py::array destination) {
  const ImageView from = source_view(source, 1, 2, 0);
  const MutableImageView to = destination_view(destination, 1, 2, 0);
  const py::gil_scoped_release released;
  deblurrer.infer(from, to);
}

}  // namespace

void bind_deblurrer(py::module_& m) {
  py::class_<Deblurrer>(m, "Deblurrer")
      .def(py::init([](const Engine& engine, int threads, std::size_t memory, int ensemble,
                       const std::string& tiles, std::pair<std::int64_t, std::int64_t> tile,
                       std::int64_t halo) {
             return std::make_unique<Deblurrer>(
                 engine, DeblurrerOptions{
                             threads, memory, ensemble, {tile_mode(tiles), tile.first, tile.second, halo}});
           }),
           py::arg("engine"), py::kw_only(), py::arg("threads") = 0, py::arg("memory") = 0,
           py::arg("ensemble") = 0, py::arg("tiles") = "none", py::arg("tile") = std::pair{0, 0},
           py::arg("halo") = TileOptions::kExact)
      .def("run", &run, py::arg("source"), py::arg("destination"), py::kw_only(), py::arg("bgr") = false,
           py::arg("strength") = 1.0F, py::arg("progress") = py::none())
      .def("infer", &infer, py::arg("source"), py::arg("destination"))
      .def("memory_for", &Deblurrer::memory_for, py::arg("height"), py::arg("width"))
      .def(
          "tiles_for",
          [](const Deblurrer& d, std::int64_t height, std::int64_t width) {
            const Deblurrer::Tiles tiles = d.tiles_for(height, width);
            return py::make_tuple(tiles.height, tiles.width, tiles.halo, tiles.count);
          },
          py::arg("height"), py::arg("width"))
      .def_property_readonly("threads", &Deblurrer::threads)
      .def_property_readonly("last_layer_times", &Deblurrer::last_layer_times)
      .def_property_readonly("last_times", [](const Deblurrer& d) {
        const RunTimes times = d.last_times();
        return std::map<std::string, double>{{"total", times.total},
                                             {"input", times.input},
                                             {"compute", times.compute},
                                             {"output", times.output}};
      });
}

}  // namespace mimo_rt
