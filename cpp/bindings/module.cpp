// The private Python module mimo_rt._core: a table of contents. One topic a file.
#include <pybind11/pybind11.h>

#include "bindings.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The compiled half of mimo_rt; use the package, not this module.";
  m.attr("__version__") = MIMO_RT_VERSION;
  mimo_rt::bind_errors(m);
  mimo_rt::bind_engine(m);
  mimo_rt::bind_deblurrer(m);
  mimo_rt::bind_graph(m);
  mimo_rt::bind_sealed(m);
}
