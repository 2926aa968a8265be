#include "tensorrt/nvidia.hpp"

#include "tensorrt/resblock_plugin.hpp"

#include <cstddef>
#include <new>
#include <optional>
#include <utility>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace mimo_rt::tensorrt {
namespace {

#ifdef _WIN32
void* open_library(const std::string& name, std::string& why) {
  void* library = reinterpret_cast<void*>(LoadLibraryA(name.c_str()));
  if (library == nullptr) why = "error " + std::to_string(GetLastError());
  return library;
}
void* symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}
#else
void* open_library(const std::string& name, std::string& why) {
  // Global: the parser looks for the builder's symbols among what is loaded.
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    const char* text = dlerror();
    why = text != nullptr ? text : "unknown reason";
  }
  return library;
}
void* symbol(void* library, const char* name) { return dlsym(library, name); }
#endif

void* opened(const std::string& name) {
  std::string why;
  void* library = open_library(name, why);
  if (library == nullptr) {
    throw Failure(MIMO_RT_TRT_BACKEND, "TensorRT's library " + name + " cannot be loaded: " + why);
  }
  return library;
}

template <typename Function>
Function function(void* library, const char* name, const std::string& file) {
  void* found = symbol(library, name);
  if (found == nullptr) {
    throw Failure(MIMO_RT_TRT_BACKEND, file + " is no library of TensorRT: it has no function " + name);
  }
  return reinterpret_cast<Function>(found);
}

// Shared by all, as the log is: libraries stay open until the process ends.
struct Opened {
  std::string nvinfer, parser;
  Nvidia functions;
};
std::mutex opening;
std::optional<Opened>& state() {
  static std::optional<Opened> opened;
  return opened;
}

// The driver and the GPU are missing, or no match for this library; empty where something else failed.
std::string missing(cudaError_t status) {
  if (status == cudaErrorNoDevice) return "there is no NVIDIA GPU on this machine, or none that may be used";
  if (status != cudaErrorInsufficientDriver) return {};
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return "there is no NVIDIA driver on this machine";
  }
  return "the NVIDIA driver is too old: it is for CUDA " + std::to_string(driver / 1000) + ", and CUDA " +
         std::to_string(CUDART_VERSION / 1000) + " is needed; install a newer driver";
}

std::string readable(std::int32_t version) {  // 101600 -> "10.16", from TensorRT 10 on
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100);
}

template <typename T>
std::unique_ptr<T> owned(void* made, const char* what) {
  if (made == nullptr) {
    throw Failure(MIMO_RT_TRT_BACKEND, std::string("TensorRT cannot make ") + what + ": " + log().last());
  }
  return std::unique_ptr<T>(static_cast<T*>(made));
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  if (const std::string text = missing(status); !text.empty()) {
    cudaGetLastError();
    throw Failure(MIMO_RT_TRT_BACKEND, text);
  }
  const std::string text = std::string("the GPU could not ") + what + ": " + cudaGetErrorString(status);
  cudaGetLastError();  // forgotten, so that it is not told again for the next call
  if (status == cudaErrorMemoryAllocation) {
    std::size_t left = 0, all = 0;
    if (cudaMemGetInfo(&left, &all) != cudaSuccess) left = 0;
    throw Failure(MIMO_RT_TRT_MEMORY,
                  text + " (" + std::to_string(left >> 20) + " MiB are free); use smaller tiles");
  }
  throw Failure(MIMO_RT_TRT_BACKEND, text);
}

void Log::log(Severity severity, const char* text) noexcept {
  if (severity > Severity::kWARNING) return;
  try {
    const std::lock_guard lock(mutex_);
    last_ = text;
    if (severity > Severity::kERROR) return;
    for (const char* words : {"out of memory", "OutOfMemory", "OUT_OF_MEMORY", "could not be allocated"}) {
      out_of_memory_ |= last_.find(words) != std::string::npos;
    }
  } catch (...) {  // no memory for a message
  }
}

std::string Log::last() const {
  const std::lock_guard lock(mutex_);
  return last_.empty() ? "it does not say why" : last_;
}

bool Log::out_of_memory() const {
  const std::lock_guard lock(mutex_);
  return out_of_memory_;
}

void Log::clear() {
  const std::lock_guard lock(mutex_);
  last_.clear();
  out_of_memory_ = false;
}

Log& log() {
  alignas(Log) static std::byte memory[sizeof(Log)];
  static Log* const only = ::new (static_cast<void*>(memory)) Log;
  return *only;
}

Failure refused(mimo_rt_trt_status status, const std::string& what) {
  const bool memory = log().out_of_memory();
  return {memory ? MIMO_RT_TRT_MEMORY : status,
          what + ": " + log().last() + (memory ? "; use smaller tiles" : "")};
}

const Nvidia& open_nvidia(const std::string& nvinfer, const std::string& parser) {
  const std::lock_guard lock(opening);
  std::optional<Opened>& known = state();
  if (known) {
    if (known->nvinfer == nvinfer && known->parser == parser) return known->functions;
    throw Failure(MIMO_RT_TRT_BACKEND,
                  "another TensorRT, " + known->nvinfer + ", is in use already; a process can have one");
  }
  void* library = opened(nvinfer);
  Nvidia found;
  const auto version = function<std::int32_t (*)()>(library, "getInferLibVersion", nvinfer)();
  if (version / 10000 != NV_TENSORRT_MAJOR) {
    throw Failure(MIMO_RT_TRT_BACKEND, nvinfer + " is TensorRT " + readable(version) +
                                           "; this part of mimo_rt was compiled for TensorRT " +
                                           std::to_string(NV_TENSORRT_MAJOR));
  }
  if (version < 100800) {
    throw Failure(MIMO_RT_TRT_BACKEND,
                  nvinfer + " is TensorRT " + readable(version) + "; 10.8 or later is needed");
  }
  using Number = std::int32_t (*)();
  const auto build = reinterpret_cast<Number>(symbol(library, "getInferLibBuildVersion"));
  found.versions = {version, build != nullptr ? build() : 0, 0};
  check(cudaRuntimeGetVersion(&found.versions.cuda), "tell the CUDA runtime's version");
  found.create_builder =
      function<decltype(found.create_builder)>(library, "createInferBuilder_INTERNAL", nvinfer);
  found.create_runtime =
      function<decltype(found.create_runtime)>(library, "createInferRuntime_INTERNAL", nvinfer);
  found.create_parser =
      function<decltype(found.create_parser)>(opened(parser), "createNvOnnxParser_INTERNAL", parser);
  void* registry = function<void* (*)()>(library, "getPluginRegistry", nvinfer)();
  if (registry != nullptr) register_resblocks(*static_cast<nvinfer1::IPluginRegistry*>(registry));
  known = Opened{nvinfer, parser, found};
  return known->functions;
}

const Nvidia& nvidia() {
  const std::lock_guard lock(opening);
  if (!state()) throw Failure(MIMO_RT_TRT_BACKEND, "TensorRT's libraries were not opened");
  return state()->functions;
}

std::unique_ptr<nvinfer1::IBuilder> make_builder() {
  return owned<nvinfer1::IBuilder>(
      nvidia().create_builder(static_cast<nvinfer1::ILogger*>(&log()), NV_TENSORRT_VERSION), "a builder");
}

std::unique_ptr<nvinfer1::IRuntime> make_runtime() {
  return owned<nvinfer1::IRuntime>(
      nvidia().create_runtime(static_cast<nvinfer1::ILogger*>(&log()), NV_TENSORRT_VERSION), "a runtime");
}

std::unique_ptr<nvonnxparser::IParser> make_parser(nvinfer1::INetworkDefinition& network) {
  return owned<nvonnxparser::IParser>(
      nvidia().create_parser(&network, static_cast<nvinfer1::ILogger*>(&log()), NV_ONNX_PARSER_VERSION),
      "an ONNX parser");
}

}  // namespace mimo_rt::tensorrt
