// NVIDIA's libraries, opened when they are first needed and reached through dlsym alone, so that this library
// can be loaded, and shipped, where they are not. And what goes wrong in them, as exceptions that stay
// inside.
#pragma once

#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <cuda_runtime_api.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "mimo_rt/tensorrt.h"

namespace mimo_rt::tensorrt {

class Failure : public std::runtime_error {
 public:
  Failure(mimo_rt_trt_status status, const std::string& text) : std::runtime_error(text), status_(status) {}
  mimo_rt_trt_status status() const noexcept { return status_; }

 private:
  mimo_rt_trt_status status_;
};

// Throws Failure where a call of the CUDA runtime failed; `what` ends "the GPU could not ...".
void check(cudaError_t status, const char* what);

// Keeps the last error or warning that TensorRT told, for the sentence of a Failure, and whether memory was
// lacking.
class Log final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override;
  std::string last() const;
  bool out_of_memory() const;
  // What was told before is not the reason of what fails from here on.
  void clear();

 private:
  mutable std::mutex mutex_;
  std::string last_;
  bool out_of_memory_ = false;
};

// The one of the process. TensorRT keeps the first that it is given for all builders and runtimes to come, so
// it is never destroyed, not even when the process ends.
Log& log();

// What TensorRT could not do, with the reason that it told since the log was cleared; of status
// MIMO_RT_TRT_MEMORY where that is a lack of memory.
Failure refused(mimo_rt_trt_status status, const std::string& what);

// The functions that are taken from NVIDIA's libraries.
struct Nvidia {
  void* (*create_builder)(void* logger, std::int32_t version) = nullptr;
  void* (*create_runtime)(void* logger, std::int32_t version) = nullptr;
  void* (*create_parser)(void* network, void* logger, int version) = nullptr;
  mimo_rt_trt_versions versions{};
};

// Opens the libraries, or throws Failure(BACKEND). Another pair than the one that is open is refused: a
// process has one TensorRT.
const Nvidia& open_nvidia(const std::string& nvinfer, const std::string& parser);

// What open_nvidia opened; throws Failure where that was not called.
const Nvidia& nvidia();

std::unique_ptr<nvinfer1::IBuilder> make_builder();
std::unique_ptr<nvinfer1::IRuntime> make_runtime();
std::unique_ptr<nvonnxparser::IParser> make_parser(nvinfer1::INetworkDefinition& network);

}  // namespace mimo_rt::tensorrt
