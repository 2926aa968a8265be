// Makes an engine's CUDA context the calling thread's own, and gives the thread back the one that it had. A
// GPU's number would not do: a process may have several contexts on one GPU, as pycuda makes them, and
// streams, events and memory are of one.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <string>
#include <type_traits>

#include "tensorrt/nvidia.hpp"

namespace mimo_rt::tensorrt {

// The driver's functions on contexts, found through the runtime: nothing of the driver is linked.
struct Contexts {
  CUresult (*get)(CUcontext*) = nullptr;
  CUresult (*push)(CUcontext) = nullptr;
  CUresult (*pop)(CUcontext*) = nullptr;
  CUresult (*attribute)(void*, CUpointer_attribute, CUdeviceptr) = nullptr;
};

// Throws Failure where there is no driver.
inline const Contexts& contexts() {
  static const Contexts found = [] {
    const auto take = [](auto& function, const char* name) {
      void* at = nullptr;
      cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 12050
      check(cudaGetDriverEntryPointByVersion(name, &at, 12000, cudaEnableDefault, &result),
            "find its driver");
#else
      check(cudaGetDriverEntryPoint(name, &at, cudaEnableDefault, &result), "find its driver");
#endif
      if (at == nullptr) throw Failure(MIMO_RT_TRT_BACKEND, std::string("the NVIDIA driver has no ") + name);
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(at);
    };
    Contexts c;
    take(c.get, "cuCtxGetCurrent");
    take(c.push, "cuCtxPushCurrent");
    take(c.pop, "cuCtxPopCurrent");
    take(c.attribute, "cuPointerGetAttribute");
    return c;
  }();
  return found;
}

// The thread's context; the primary one of its GPU where it had none. Throws Failure.
inline CUcontext current_context() {
  check(cudaFree(nullptr), "be opened");
  CUcontext context = nullptr;
  if (contexts().get(&context) != CUDA_SUCCESS || context == nullptr) {
    throw Failure(MIMO_RT_TRT_BACKEND, "the NVIDIA driver does not tell the context that is current");
  }
  return context;
}

class CurrentContext {
 public:
  // Throws Failure.
  explicit CurrentContext(CUcontext context) {
    if (contexts().push(context) != CUDA_SUCCESS) {
      throw Failure(MIMO_RT_TRT_BACKEND,
                    "the CUDA context that the engine was loaded in is gone; load the engine again");
    }
  }
  ~CurrentContext() {
    CUcontext ours = nullptr;
    contexts().pop(&ours);
  }
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;
};

}  // namespace mimo_rt::tensorrt
