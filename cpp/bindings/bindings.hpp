// What each bind_<topic>.cpp gives to module.cpp.
#pragma once

#include <pybind11/pybind11.h>

namespace mimo_rt {

void bind_errors(pybind11::module_& m);
void bind_engine(pybind11::module_& m);
void bind_deblurrer(pybind11::module_& m);

}  // namespace mimo_rt
