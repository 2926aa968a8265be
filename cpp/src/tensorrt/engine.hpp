// A loaded plan with one context of TensorRT, in the CUDA context that was current when it was loaded.
// Float32 images of one size go through two slots of a batch each, so that copies in, computation and copies
// out of neighbours overlap, each kind on a stream of its own. Pictures are copied in as they are, become
// batches of tiles and pictures again on the GPU, and are copied out once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda/planes.hpp"
#include "mimo_rt/image.hpp"
#include "tensorrt/current_context.hpp"
#include "tensorrt/device_memory.hpp"

namespace mimo_rt::tensorrt {

class Engine {
 public:
  // The plan must be verified already. Throws Failure.
  Engine(const void* plan, std::size_t size);
  // That of this engine, which must be current (`CurrentContext`) in every call below.
  CUcontext cuda_context() const noexcept { return cuda_context_; }
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  mimo_rt_trt_plan_info info() const;
  mimo_rt_trt_times run(std::size_t count, const float* const* images, float* const* results,
                        std::int64_t height, std::int64_t width);
  mimo_rt_trt_times run(const mimo_rt_trt_image_run& image);
  void profile(std::int64_t height, std::int64_t width, std::int32_t runs, void* user,
               mimo_rt_trt_layer_sink sink);
  std::string layers() const;

 private:
  struct Slot {
    PinnedMemory host_in, host_out;      // made for the first float32 images
    DeviceMemory single_in, single_out;  // likewise, where the plan takes or gives something else
    DeviceMemory device_in, device_out;
    GraphExec graph;  // of the current size; null where it could not be captured
    Event in_begin, in_end, compute_begin, compute_end, out_begin, out_end;
    bool busy = false;
    std::size_t first = 0, count = 0;  // the images in it
  };

  cuda::PlaneType plane_type(const std::string& name, std::int32_t channels) const;
  cuda::Planes planes(const DeviceMemory& memory, cuda::PlaneType type, std::size_t number) const;
  void check_image(const mimo_rt_trt_image_run& image) const;
  void check_reachable(const void* pixels) const;
  std::int64_t pixel_memory() const;
  void compute_batch(const mimo_rt_trt_image_run& image, const ImageView& source,
                     const MutableImageView& destination, std::size_t first, std::size_t end, Slot& slot);
  void compute_tiles(const mimo_rt_trt_image_run& image, const ImageView& source,
                     const MutableImageView& destination);
  void grow(DeviceMemory& memory, std::size_t& size, std::size_t needed);
  std::size_t take_shape(std::int64_t height, std::int64_t width);
  void check_finite();
  void set_size(std::int64_t height, std::int64_t width);
  void prepare(Slot& slot);
  void bind(Slot& slot);
  void enqueue(Slot& slot);
  void launch_plan(Slot& slot);
  void convert(const DeviceMemory& from, cuda::PlaneType type, const DeviceMemory& to,
               cuda::PlaneType to_type, std::size_t count);
  void submit(Slot& slot, const float* const* images);
  void collect(Slot& slot, float* const* results, mimo_rt_trt_times& times);

  int device_ = 0;
  CUcontext cuda_context_ = nullptr;
  // In this order: a context goes before its engine, an engine before its runtime.
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  std::size_t plan_bytes_;
  std::string input_, output_;
  std::int32_t channels_in_ = 0, channels_out_ = 0;
  std::size_t batch_ = 1;
  cuda::PlaneType type_in_ = cuda::PlaneType::f32, type_out_ = cuda::PlaneType::f32;
  std::int64_t height_ = 0, width_ = 0;
  std::size_t bytes_in_ = 0, bytes_out_ = 0;    // of a float32 image
  std::size_t device_in_ = 0, device_out_ = 0;  // of a batch as the plan has it
  DeviceMemory workspace_;
  std::size_t workspace_bytes_ = 0;
  std::size_t workspace_of_smallest_ = 0;
  Stream in_, compute_, out_;
  std::array<Slot, 2> slots_;
  // Whole images of the host, and what the kernels tell.
  DeviceMemory pixels_in_, pixels_out_;
  std::size_t pixels_in_bytes_ = 0, pixels_out_bytes_ = 0;
  DeviceMemory non_finite_;
  Event ready_;
};

}  // namespace mimo_rt::tensorrt
