// C++ errors as Python exceptions of one small hierarchy, each with its code.
#include <cstring>

#include "bindings.hpp"
#include "mimo_rt/error.hpp"

namespace py = pybind11;

namespace mimo_rt {
namespace {

void raise(const char* type, const std::string& code, const char* text) {
  const py::object exception = py::module_::import("mimo_rt._core")
                                   .attr(type)(py::reinterpret_steal<py::str>(PyUnicode_DecodeUTF8(
                                       text, static_cast<Py_ssize_t>(std::strlen(text)), "replace")));
  exception.attr("code") = code;
  PyErr_SetObject(py::type::of(exception).ptr(), exception.ptr());
}

const char* name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::model:
      return "ModelError";
    case ErrorKind::plan:
      return "PlanError";
    case ErrorKind::image:
      return "ImageError";
    case ErrorKind::backend:
      return "BackendError";
    case ErrorKind::memory_limit:
      return "MemoryLimitError";
  }
  return "Error";
}

}  // namespace

void bind_errors(py::module_& m) {
  const py::exception<Error> base(m, "Error");
  base.attr("code") = "";
  base.attr("__module__") = "mimo_rt";
  base.doc() =
      "Base of all errors of mimo_rt; `code` is a short stable name such as 'model.unsupported_operator'.";
  for (const ErrorKind kind :
       {ErrorKind::model, ErrorKind::plan, ErrorKind::image, ErrorKind::backend, ErrorKind::memory_limit}) {
    const py::exception<Error> derived(m, name_of(kind), base);
    derived.attr("__module__") = "mimo_rt";
  }
  py::register_local_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error& e) {
      raise(name_of(e.kind()), e.code(), e.what());
    } catch (const std::bad_alloc&) {
      raise("MemoryLimitError", "memory.exhausted", "the system refused the memory that this needs");
    }
  });
}

}  // namespace mimo_rt
