// A run of ResBlocks of 32 channels as a plug-in of TensorRT: one kernel a block (cuda/resblock.hpp), where
// TensorRT itself has two. It takes and gives half precision with channels last. In an ONNX file it is a node
// `MimoRtResBlocks` with the attributes `weights` [2n][32][32][3][3] and `bias` [2n][32], both float32: the
// convolutions of n blocks in order.
#pragma once

#include "tensorrt/nvidia.hpp"

namespace mimo_rt::tensorrt {

inline constexpr const char* kResBlocksName = "MimoRtResBlocks";
inline constexpr const char* kResBlocksVersion = "1";

// Makes the plug-in known to TensorRT's registry, once for the process. Throws Failure.
void register_resblocks(nvinfer1::IPluginRegistry& registry);

}  // namespace mimo_rt::tensorrt
