// Memory, streams and events of the GPU that free themselves.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>

#include "tensorrt/nvidia.hpp"

namespace mimo_rt::tensorrt {

struct FreeDevice {
  void operator()(void* p) const noexcept { cudaFree(p); }
};
struct FreePinned {
  void operator()(void* p) const noexcept { cudaFreeHost(p); }
};
struct DestroyStream {
  void operator()(cudaStream_t s) const noexcept { cudaStreamDestroy(s); }
};
struct DestroyEvent {
  void operator()(cudaEvent_t e) const noexcept { cudaEventDestroy(e); }
};
struct DestroyGraph {
  void operator()(cudaGraphExec_t g) const noexcept { cudaGraphExecDestroy(g); }
};

using DeviceMemory = std::unique_ptr<void, FreeDevice>;
using PinnedMemory = std::unique_ptr<void, FreePinned>;
using Stream = std::unique_ptr<CUstream_st, DestroyStream>;
using Event = std::unique_ptr<CUevent_st, DestroyEvent>;
using GraphExec = std::unique_ptr<CUgraphExec_st, DestroyGraph>;

inline DeviceMemory device_memory(std::size_t bytes) {
  void* p = nullptr;
  if (bytes > 0) check(cudaMalloc(&p, bytes), "allocate memory");
  return DeviceMemory(p);
}
inline PinnedMemory pinned_memory(std::size_t bytes) {
  void* p = nullptr;
  if (bytes > 0) check(cudaMallocHost(&p, bytes), "pin memory");
  return PinnedMemory(p);
}
inline Stream stream() {
  cudaStream_t s = nullptr;
  check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "make a stream");
  return Stream(s);
}
inline Event event() {
  cudaEvent_t e = nullptr;
  check(cudaEventCreate(&e), "make an event");
  return Event(e);
}

}  // namespace mimo_rt::tensorrt
