// Sealed plans for backends that live in Python: the cache, and single files.
#include <pybind11/stl.h>

#include <string>
#include <string_view>

#include "bindings.hpp"
#include "core/folders.hpp"
#include "plan/sealed_plan.hpp"

namespace py = pybind11;

namespace mimo_rt {
namespace {

SealedCache cache() { return {default_cache_folder(), plan_secret(default_config_folder())}; }

}  // namespace

void bind_sealed(py::module_& m) {
  m.def(
      "sealed_lookup",
      [](const PlanFields& identity, const PlanFields& conditions) {
        std::string reason;
        const auto payload = cache().lookup(identity, conditions, reason);
        return py::make_tuple(payload ? py::object(to_bytes(*payload)) : py::none(), reason);
      },
      py::arg("identity"), py::arg("conditions"));
  m.def(
      "sealed_store",
      [](const PlanFields& identity, const PlanFields& conditions, const py::bytes& payload) {
        return cache().store(identity, conditions, bytes_of(payload));
      },
      py::arg("identity"), py::arg("conditions"), py::arg("payload"));
  m.def(
      "seal",
      [](const PlanFields& fields, const py::bytes& payload) {
        const auto bytes = bytes_of(payload);
        return to_bytes(seal({fields, {bytes.begin(), bytes.end()}}, plan_secret(default_config_folder())));
      },
      py::arg("fields"), py::arg("payload"));
  m.def(
      "unseal",
      [](const py::bytes& file) {
        const SealedPlan plan = unseal(bytes_of(file), plan_secret(default_config_folder()));
        return py::make_tuple(plan.fields, to_bytes(plan.payload));
      },
      py::arg("file"));
  m.def("cache_folder", [] { return default_cache_folder().u8string(); });
  m.def(
      "is_sealed", [](const py::bytes& file) { return is_sealed(bytes_of(file)); }, py::arg("file"));
}

}  // namespace mimo_rt
