// Makes a GPU the current one of the calling thread, and gives it back the one that it had.
#pragma once

#include <cuda_runtime_api.h>

#include "tensorrt/nvidia.hpp"

namespace mimo_rt::tensorrt {

class CurrentDevice {
 public:
  // Throws Failure. Where the GPU is current already nothing is called: cudaSetDevice would exchange a
  // context of the caller's own, as pycuda makes them, for the GPU's primary one.
  explicit CurrentDevice(int device) {
    check(cudaGetDevice(&before_), "be found");
    if (before_ == device) return;
    check(cudaSetDevice(device), "be made the current one");
    changed_ = true;
  }
  ~CurrentDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

}  // namespace mimo_rt::tensorrt
