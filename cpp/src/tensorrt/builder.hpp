// A typed ONNX file made into a plan.
#pragma once

#include "mimo_rt/tensorrt.h"

namespace mimo_rt::tensorrt {

// Throws Failure.
void build(const mimo_rt_trt_build_options& options);

}  // namespace mimo_rt::tensorrt
