// The errors of mimo_rt: one exception class with a code that C++ and Python share. The library never prints,
// aborts or exits; whatever goes wrong reaches the caller as an Error whose text says what was wrong and what
// to do.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace mimo_rt {

enum class ErrorKind {
  model,         // an ONNX file that cannot be read or holds what is not supported
  plan,          // a plan file that is truncated, altered, foreign or of another version
  image,         // pixels, sizes or options of a run that make no sense
  backend,       // an instruction set, precision or library that is not available here
  memory_limit,  // the work does not fit into the memory that the caller allows, or that the system has
};

// `code` is a short, stable, dotted name such as "model.unsupported_operator"; tests and programs compare it.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string code, const std::string& message)
      : std::runtime_error(message), kind_(kind), code_(std::move(code)) {}

  ErrorKind kind() const noexcept { return kind_; }
  const std::string& code() const noexcept { return code_; }

 private:
  ErrorKind kind_;
  std::string code_;
};

struct ModelError : Error {
  ModelError(std::string code, const std::string& message)
      : Error(ErrorKind::model, std::move(code), message) {}
};
struct PlanError : Error {
  PlanError(std::string code, const std::string& message)
      : Error(ErrorKind::plan, std::move(code), message) {}
};
struct ImageError : Error {
  ImageError(std::string code, const std::string& message)
      : Error(ErrorKind::image, std::move(code), message) {}
};
struct BackendError : Error {
  BackendError(std::string code, const std::string& message)
      : Error(ErrorKind::backend, std::move(code), message) {}
};
struct MemoryLimitError : Error {
  MemoryLimitError(std::string code, const std::string& message)
      : Error(ErrorKind::memory_limit, std::move(code), message) {}
};

}  // namespace mimo_rt
