#include "tensorrt/engine.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/crop.hpp"
#include "cuda/launch.hpp"

namespace mimo_rt::tensorrt {
namespace {

using Selector = nvinfer1::OptProfileSelector;

void copy_sides(const nvinfer1::Dims& dims, std::int64_t (&sides)[2]) {
  sides[0] = dims.d[2];
  sides[1] = dims.d[3];
}

template <typename Byte>
BasicImageView<Byte> view_of(const mimo_rt_trt_view& view, void* data) {
  return {static_cast<Byte*>(data),
          static_cast<PixelType>(view.type),
          view.height,
          view.width,
          view.channels,
          static_cast<std::ptrdiff_t>(view.row_stride),
          static_cast<std::ptrdiff_t>(view.column_stride),
          static_cast<std::ptrdiff_t>(view.channel_stride)};
}

std::size_t bytes_of(const mimo_rt_trt_view& view) {
  constexpr std::size_t kSizes[] = {1, 2, 4};
  return static_cast<std::size_t>(view.height * view.width * view.channels) * kSizes[view.type];
}

float milliseconds(const Event& from, const Event& to) {
  float ms = 0;
  check(cudaEventElapsedTime(&ms, from.get(), to.get()), "tell a time");
  return ms;
}

}  // namespace

Engine::Engine(const void* plan, std::size_t size) : plan_bytes_(size) {
  log().clear();
  runtime_ = make_runtime();
  check(cudaGetDevice(&device_), "be found");
  cuda_context_ = current_context();
  engine_.reset(runtime_->deserializeCudaEngine(plan, size));
  if (!engine_) throw refused(MIMO_RT_TRT_PLAN, "TensorRT cannot load the plan");
  for (int i = 0; i < engine_->getNbIOTensors(); ++i) {
    const char* name = engine_->getIOTensorName(i);
    const bool input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
    (input ? input_ : output_) = name;
    if (engine_->getTensorShape(name).nbDims != 4) {
      throw Failure(MIMO_RT_TRT_PLAN, "the plan does not take and give images");
    }
  }
  if (engine_->getNbIOTensors() != 2 || input_.empty() || output_.empty()) {
    throw Failure(MIMO_RT_TRT_PLAN, "the plan is not one of an image in and an image out");
  }
  channels_in_ = static_cast<std::int32_t>(engine_->getTensorShape(input_.c_str()).d[1]);
  channels_out_ = static_cast<std::int32_t>(engine_->getTensorShape(output_.c_str()).d[1]);
  const auto batch = engine_->getProfileShape(input_.c_str(), 0, Selector::kMAX).d[0];
  batch_ = static_cast<std::size_t>(std::max<std::int64_t>(1, batch));
  type_in_ = plane_type(input_, channels_in_);
  type_out_ = plane_type(output_, channels_out_);
  context_.reset(
      engine_->createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
  if (!context_) throw Failure(MIMO_RT_TRT_MEMORY, "TensorRT cannot make a context: " + log().last());
  in_ = stream();
  compute_ = stream();
  out_ = stream();
  if (!context_->setOptimizationProfileAsync(0, compute_.get())) {
    throw Failure(MIMO_RT_TRT_PLAN, "TensorRT refuses the plan's profile: " + log().last());
  }
  const nvinfer1::Dims smallest = engine_->getProfileShape(input_.c_str(), 0, Selector::kMIN);
  workspace_of_smallest_ = take_shape(smallest.d[2], smallest.d[3]);
  for (Slot& slot : slots_) {
    for (Event* e : {&slot.in_begin, &slot.in_end, &slot.compute_begin, &slot.compute_end, &slot.out_begin,
                     &slot.out_end}) {
      *e = event();
    }
  }
}

Engine::~Engine() {
  // Nothing of ours may be freed under work that is still under way.
  for (const Stream* s : {&in_, &compute_, &out_}) {
    if (*s) cudaStreamSynchronize(s->get());
  }
}

// How an image of the plan lies in memory. Throws Failure where we do not know it.
cuda::PlaneType Engine::plane_type(const std::string& name, std::int32_t channels) const {
  const nvinfer1::DataType type = engine_->getTensorDataType(name.c_str());
  const nvinfer1::TensorFormat format = engine_->getTensorFormat(name.c_str(), 0);
  const bool linear = format == nvinfer1::TensorFormat::kLINEAR;
  if (type == nvinfer1::DataType::kFLOAT && linear) return cuda::PlaneType::f32;
  if (type == nvinfer1::DataType::kHALF && channels == 3) {
    if (linear) return cuda::PlaneType::f16;
    if (format == nvinfer1::TensorFormat::kHWC8) return cuda::PlaneType::f16_hwc8;
  }
  throw Failure(MIMO_RT_TRT_PLAN, "the plan does not take and give images of float32 or half precision");
}

// The image of that number in the memory of a batch of pictures.
cuda::Planes Engine::planes(const DeviceMemory& memory, cuda::PlaneType type, std::size_t number) const {
  auto* data = static_cast<std::byte*>(memory.get());
  return {data + number * cuda::Planes::bytes(type, height_ * width_), type, height_, width_};
}

mimo_rt_trt_plan_info Engine::info() const {
  mimo_rt_trt_plan_info info{};
  const char* name = input_.c_str();
  copy_sides(engine_->getProfileShape(name, 0, Selector::kMIN), info.smallest);
  copy_sides(engine_->getProfileShape(name, 0, Selector::kOPT), info.best);
  copy_sides(engine_->getProfileShape(name, 0, Selector::kMAX), info.largest);
  info.batch = static_cast<std::int32_t>(batch_);
  info.channels_in = channels_in_;
  info.channels_out = channels_out_;
  info.layers = engine_->getNbLayers();
  info.weights = static_cast<std::int64_t>(plan_bytes_);
  info.workspace = engine_->getDeviceMemorySizeV2();
  info.workspace_of_smallest = static_cast<std::int64_t>(workspace_of_smallest_);
  info.pixel_memory = pixel_memory();
  return info;
}

// Bytes of the slots for each pixel of the size, images in and out.
std::int64_t Engine::pixel_memory() const {
  const auto of = [](cuda::PlaneType type, std::int32_t channels) {
    const auto single = static_cast<std::int64_t>(sizeof(float)) * channels;
    // Float32 images of the host pass through memory of their own on their way to another type.
    return type == cuda::PlaneType::f32
               ? single
               : single + static_cast<std::int64_t>(cuda::Planes::bytes(type, std::int64_t{1}));
  };
  const auto images = static_cast<std::int64_t>(slots_.size() * batch_);
  return images * (of(type_in_, channels_in_) + of(type_out_, channels_out_));
}

// Tells the context a size. Returns the bytes of workspace that the plan needs there.
std::size_t Engine::take_shape(std::int64_t height, std::int64_t width) {
  log().clear();
  const nvinfer1::Dims4 dims{static_cast<std::int64_t>(batch_), channels_in_, height, width};
  if (!context_->setInputShape(input_.c_str(), dims) || context_->inferShapes(0, nullptr) != 0) {
    throw Failure(MIMO_RT_TRT_BACKEND, "the plan does not take images of " + std::to_string(width) + "x" +
                                           std::to_string(height) + ": " + log().last());
  }
  const nvinfer1::Dims result = context_->getTensorShape(output_.c_str());
  if (result.nbDims != 4 || result.d[2] != height || result.d[3] != width) {
    throw Failure(MIMO_RT_TRT_PLAN, "the plan does not give images of the size that it takes");
  }
  const std::size_t needed = context_->updateDeviceMemorySizeForShapes();
  // 0 is how TensorRT tells an error, unless the plan needs none at all.
  if (needed == 0 && engine_->getDeviceMemorySizeV2() > 0) {
    throw refused(MIMO_RT_TRT_BACKEND, "TensorRT does not tell the workspace that the plan needs");
  }
  return needed;
}

// Lays everything out for one size: workspace, slots, graphs. What was there of another size is gone first,
// so that both need not fit at once.
void Engine::set_size(std::int64_t height, std::int64_t width) {
  if (height == height_ && width == width_) return;
  height_ = width_ = 0;
  for (Slot& slot : slots_) {
    slot.graph.reset();
    slot.host_in.reset();
    slot.host_out.reset();
    slot.single_in.reset();
    slot.single_out.reset();
    slot.device_in.reset();
    slot.device_out.reset();
  }
  const std::size_t needed = take_shape(height, width);
  if (needed != workspace_bytes_) {  // given back where it is too large: smaller tiles are to take less
    workspace_.reset();
    workspace_bytes_ = 0;
    workspace_ = device_memory(needed);
    workspace_bytes_ = needed;
  }
  context_->setDeviceMemoryV2(workspace_.get(), static_cast<std::int64_t>(workspace_bytes_));
  const auto pixels = static_cast<std::size_t>(height * width);
  bytes_in_ = pixels * static_cast<std::size_t>(channels_in_) * sizeof(float);
  bytes_out_ = pixels * static_cast<std::size_t>(channels_out_) * sizeof(float);
  const auto as_planes = [&](cuda::PlaneType type, std::size_t single) {
    return type == cuda::PlaneType::f32 ? single : cuda::Planes::bytes(type, height * width);
  };
  device_in_ = batch_ * as_planes(type_in_, bytes_in_);
  device_out_ = batch_ * as_planes(type_out_, bytes_out_);
  for (Slot& slot : slots_) prepare(slot);
  height_ = height;
  width_ = width;
}

void Engine::bind(Slot& slot) {
  if (!context_->setTensorAddress(input_.c_str(), slot.device_in.get()) ||
      !context_->setTensorAddress(output_.c_str(), slot.device_out.get())) {
    throw Failure(MIMO_RT_TRT_BACKEND, "TensorRT refuses the memory of an image: " + log().last());
  }
}

void Engine::enqueue(Slot& slot) {
  log().clear();
  bind(slot);
  if (!context_->enqueueV3(compute_.get())) {
    throw refused(MIMO_RT_TRT_BACKEND, "TensorRT cannot run the plan");
  }
}

void Engine::prepare(Slot& slot) {
  slot.device_in = device_memory(device_in_);
  slot.device_out = device_memory(device_out_);
  check(cudaMemsetAsync(slot.device_in.get(), 0, device_in_, compute_.get()), "clear memory");
  enqueue(slot);  // once outside a graph: kernels load, and TensorRT's deferred work for the size is done
  check(cudaStreamSynchronize(compute_.get()), "run the plan for the first time");
  // Where a plan cannot be captured it is enqueued each time: slower to start, as right.
  // Addresses are bound by then.
  if (cudaStreamBeginCapture(compute_.get(), cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
    cudaGetLastError();
    return;
  }
  const bool enqueued = context_->enqueueV3(compute_.get());
  cudaGraph_t graph = nullptr;
  const bool captured = cudaStreamEndCapture(compute_.get(), &graph) == cudaSuccess && enqueued;
  if (captured) {
    cudaGraphExec_t executable = nullptr;
    if (cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess) slot.graph.reset(executable);
  }
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void Engine::launch_plan(Slot& slot) {
  if (slot.graph) {
    check(cudaGraphLaunch(slot.graph.get(), compute_.get()), "launch the plan");
  } else {
    enqueue(slot);
  }
}

void Engine::convert(const DeviceMemory& from, cuda::PlaneType type, const DeviceMemory& to,
                     cuda::PlaneType to_type, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    cuda::launch(cuda::ConvertJob{planes(from, type, i), planes(to, to_type, i)}, compute_.get());
  }
  check(cudaGetLastError(), "start a kernel");
}

void Engine::submit(Slot& slot, const float* const* images) {
  const bool single_in = type_in_ == cuda::PlaneType::f32, single_out = type_out_ == cuda::PlaneType::f32;
  if (!slot.host_in) slot.host_in = pinned_memory(batch_ * bytes_in_);
  if (!slot.host_out) slot.host_out = pinned_memory(batch_ * bytes_out_);
  if (!single_in && !slot.single_in) slot.single_in = device_memory(batch_ * bytes_in_);
  if (!single_out && !slot.single_out) slot.single_out = device_memory(batch_ * bytes_out_);
  const DeviceMemory &given = single_in ? slot.device_in : slot.single_in,
                     &made = single_out ? slot.device_out : slot.single_out;
  for (std::size_t i = 0; i < slot.count; ++i) {
    std::memcpy(static_cast<std::byte*>(slot.host_in.get()) + i * bytes_in_, images[slot.first + i],
                bytes_in_);
  }
  check(cudaEventRecord(slot.in_begin.get(), in_.get()), "record an event");
  check(cudaMemcpyAsync(given.get(), slot.host_in.get(), slot.count * bytes_in_, cudaMemcpyHostToDevice,
                        in_.get()),
        "copy images in");
  check(cudaEventRecord(slot.in_end.get(), in_.get()), "record an event");
  check(cudaStreamWaitEvent(compute_.get(), slot.in_end.get(), 0), "wait for a copy");
  check(cudaEventRecord(slot.compute_begin.get(), compute_.get()), "record an event");
  if (!single_in) convert(given, cuda::PlaneType::f32, slot.device_in, type_in_, slot.count);
  launch_plan(slot);
  if (!single_out) convert(slot.device_out, type_out_, made, cuda::PlaneType::f32, slot.count);
  check(cudaEventRecord(slot.compute_end.get(), compute_.get()), "record an event");
  check(cudaStreamWaitEvent(out_.get(), slot.compute_end.get(), 0), "wait for the plan");
  check(cudaEventRecord(slot.out_begin.get(), out_.get()), "record an event");
  check(cudaMemcpyAsync(slot.host_out.get(), made.get(), slot.count * bytes_out_, cudaMemcpyDeviceToHost,
                        out_.get()),
        "copy images out");
  check(cudaEventRecord(slot.out_end.get(), out_.get()), "record an event");
  slot.busy = true;
}

void Engine::collect(Slot& slot, float* const* results, mimo_rt_trt_times& times) {
  slot.busy = false;
  check(cudaEventSynchronize(slot.out_end.get()), "finish an image");
  for (std::size_t i = 0; i < slot.count; ++i) {
    std::memcpy(results[slot.first + i], static_cast<const std::byte*>(slot.host_out.get()) + i * bytes_out_,
                bytes_out_);
  }
  times.to_device += milliseconds(slot.in_begin, slot.in_end);
  times.compute += milliseconds(slot.compute_begin, slot.compute_end);
  times.to_host += milliseconds(slot.out_begin, slot.out_end);
}

mimo_rt_trt_times Engine::run(std::size_t count, const float* const* images, float* const* results,
                              std::int64_t height, std::int64_t width) {
  using Clock = std::chrono::steady_clock;
  mimo_rt_trt_times times{};
  try {
    set_size(height, width);
    std::size_t next = 0;
    for (std::size_t first = 0; first < count; first += batch_, ++next) {
      Slot& slot = slots_[next % slots_.size()];
      if (slot.busy) collect(slot, results, times);
      slot.first = first;
      slot.count = std::min(batch_, count - first);
      const Clock::time_point start = Clock::now();
      submit(slot, images);
      times.enqueue += std::chrono::duration<float, std::milli>(Clock::now() - start).count();
    }
    for (std::size_t i = 0; i < slots_.size(); ++i) {  // the older first
      Slot& slot = slots_[(next + i) % slots_.size()];
      if (slot.busy) collect(slot, results, times);
    }
  } catch (...) {
    // What is under way ends before anybody frees the caller's memory or lays out another size.
    for (const Stream* s : {&in_, &compute_, &out_}) cudaStreamSynchronize(s->get());
    cudaGetLastError();
    for (Slot& slot : slots_) slot.busy = false;
    throw;
  }
  return times;
}

void Engine::grow(DeviceMemory& memory, std::size_t& size, std::size_t needed) {
  if (needed <= size) return;
  memory.reset();
  size = 0;
  memory = device_memory(needed);
  size = needed;
}

void Engine::check_image(const mimo_rt_trt_image_run& image) const {
  const mimo_rt_trt_view &a = image.source, &b = image.destination;
  const bool sound = a.type >= 0 && a.type <= 2 && a.height > 0 && a.width > 0 &&
                     (a.channels == 1 || a.channels == 3 || a.channels == 4) && a.type == b.type &&
                     a.height == b.height && a.width == b.width && a.channels == b.channels &&
                     channels_in_ == 3 && channels_out_ == 3;
  if (!sound) throw Failure(MIMO_RT_TRT_BACKEND, "the images, or the plan's channels, make no sense");
  for (std::size_t i = 0; i < image.tile_count; ++i) {
    const mimo_rt_trt_tile& t = image.tiles[i];
    const bool inside = t.top >= 0 && t.left >= 0 && t.top <= t.first_row && t.left <= t.first_column &&
                        t.first_row < std::min(t.end_row, a.height) &&
                        t.first_column < std::min(t.end_column, a.width) &&
                        t.end_row <= t.top + image.tile_height && t.end_column <= t.left + image.tile_width;
    if (!inside) throw Failure(MIMO_RT_TRT_BACKEND, "a tile does not lie in the image");
  }
}

// Throws Failure where a kernel on this GPU cannot read what lies there.
void Engine::check_reachable(const void* pixels) const {
  cudaPointerAttributes found{};
  check(cudaPointerGetAttributes(&found, pixels), "tell whose memory an image lies in");
  if (found.type == cudaMemoryTypeUnregistered) {
    throw Failure(MIMO_RT_TRT_BACKEND, "an image that is shown as one on a GPU lies in no GPU's memory");
  }
  if (found.type == cudaMemoryTypeDevice && found.device != device_) {
    throw Failure(MIMO_RT_TRT_BACKEND, "an image lies on GPU " + std::to_string(found.device) +
                                           " and the engine was loaded on GPU " + std::to_string(device_) +
                                           "; copy the image there, or load the engine where the image is");
  }
  CUcontext theirs = nullptr;  // none of memory that is of a pool
  const auto told =
      contexts().attribute(&theirs, CU_POINTER_ATTRIBUTE_CONTEXT, reinterpret_cast<CUdeviceptr>(pixels));
  if (found.type == cudaMemoryTypeDevice && told == CUDA_SUCCESS && theirs != nullptr &&
      theirs != cuda_context_) {
    throw Failure(
        MIMO_RT_TRT_BACKEND,
        "an image lies in another CUDA context than the engine was loaded in; load the engine where "
        "that context is current, or have the image in the GPU's primary one");
  }
}

// Pixels to planes, the plan, planes to pixels. Where there are fewer tiles than in a batch, the rest of it
// holds tiles of before, whose results nobody takes.
void Engine::compute_batch(const mimo_rt_trt_image_run& image, const ImageView& source,
                           const MutableImageView& destination, std::size_t first, std::size_t end,
                           Slot& slot) {
  for (std::size_t i = first; i < end; ++i) {
    const mimo_rt_trt_tile& tile = image.tiles[i];
    cuda::launch(cuda::LoadJob{cropped(source, tile.top, tile.top + image.tile_height, tile.left,
                                       tile.left + image.tile_width),
                               image.bgr != 0, planes(slot.device_in, type_in_, i - first)},
                 compute_.get());
  }
  launch_plan(slot);
  for (std::size_t i = first; i < end; ++i) {
    const mimo_rt_trt_tile& tile = image.tiles[i];
    const auto kept = [&](auto view) {
      return cropped(view, tile.first_row, tile.end_row, tile.first_column, tile.end_column);
    };
    cuda::launch(
        cuda::StoreJob{kept(source), kept(destination), image.bgr != 0, image.strength,
                       tile.first_row - tile.top, tile.first_column - tile.left,
                       planes(slot.device_out, type_out_, i - first), static_cast<int*>(non_finite_.get())},
        compute_.get());
  }
  check(cudaGetLastError(), "start a kernel");
}

// Batch after batch on the computing stream.
void Engine::compute_tiles(const mimo_rt_trt_image_run& image, const ImageView& source,
                           const MutableImageView& destination) {
  check(cudaMemsetAsync(non_finite_.get(), 0, sizeof(int), compute_.get()), "clear memory");
  const Slot* before = nullptr;
  std::size_t next = 0;
  for (std::size_t first = 0; first < image.tile_count; first += batch_, ++next) {
    Slot& slot = slots_[next % slots_.size()];
    compute_batch(image, source, destination, first, std::min(first + batch_, image.tile_count), slot);
    check(cudaEventRecord(slot.compute_end.get(), compute_.get()), "record an event");
    if (image.progress != nullptr && image.on_device == 0) {
      // Told of the batch before this one, which is over, so that the GPU has always one to work on.
      if (before != nullptr) check(cudaEventSynchronize(before->compute_end.get()), "finish a tile");
      if (image.progress(image.user, "tile", static_cast<std::int32_t>(first),
                         static_cast<std::int32_t>(image.tile_count)) != 1) {
        throw Failure(MIMO_RT_TRT_CANCELLED, "the run was ended before it was done");
      }
    }
    before = &slot;
  }
}

// Waits for the tiles, and throws Failure where the network gave NaN or infinity.
void Engine::check_finite() {
  int non_finite = 0;
  check(cudaMemcpyAsync(&non_finite, non_finite_.get(), sizeof non_finite, cudaMemcpyDeviceToHost,
                        compute_.get()),
        "copy from the GPU");
  check(cudaStreamSynchronize(compute_.get()), "finish an image");
  if (non_finite != 0) {
    throw Failure(MIMO_RT_TRT_NON_FINITE, "the plan computed numbers that are not finite");
  }
}

mimo_rt_trt_times Engine::run(const mimo_rt_trt_image_run& image) {
  using Clock = std::chrono::steady_clock;
  mimo_rt_trt_times times{};
  check_image(image);
  try {
    set_size(image.tile_height, image.tile_width);
    if (!non_finite_) {
      non_finite_ = device_memory(sizeof(int));
      ready_ = event();
    }
    if (image.on_device != 0) {
      check_reachable(image.source.data);
      check_reachable(image.destination.data);
      const auto theirs = static_cast<cudaStream_t>(image.stream);
      check(cudaEventRecord(ready_.get(), theirs), "record an event");
      check(cudaStreamWaitEvent(compute_.get(), ready_.get(), 0), "wait for the caller's stream");
      compute_tiles(image, view_of<const std::byte>(image.source, image.source.data),
                    view_of<std::byte>(image.destination, image.destination.data));
      check_finite();
      return times;
    }
    const Clock::time_point start = Clock::now();
    Slot& slot = slots_[0];  // its events
    const std::size_t bytes = bytes_of(image.source);
    grow(pixels_in_, pixels_in_bytes_, bytes);
    grow(pixels_out_, pixels_out_bytes_, bytes);
    check(cudaEventRecord(slot.in_begin.get(), compute_.get()), "record an event");
    check(cudaMemcpyAsync(pixels_in_.get(), image.source.data, bytes, cudaMemcpyHostToDevice, compute_.get()),
          "copy an image in");
    check(cudaEventRecord(slot.in_end.get(), compute_.get()), "record an event");
    compute_tiles(image, view_of<const std::byte>(image.source, pixels_in_.get()),
                  view_of<std::byte>(image.destination, pixels_out_.get()));
    check(cudaEventRecord(slot.out_begin.get(), compute_.get()), "record an event");
    times.enqueue = std::chrono::duration<float, std::milli>(Clock::now() - start).count();
    check_finite();
    // Last, so that the caller's image holds the result or what it held.
    check(cudaMemcpyAsync(image.destination.data, pixels_out_.get(), bytes, cudaMemcpyDeviceToHost,
                          compute_.get()),
          "copy an image out");
    check(cudaEventRecord(slot.out_end.get(), compute_.get()), "record an event");
    check(cudaStreamSynchronize(compute_.get()), "finish an image");
    times.to_device = milliseconds(slot.in_begin, slot.in_end);
    times.compute = milliseconds(slot.in_end, slot.out_begin);
    times.to_host = milliseconds(slot.out_begin, slot.out_end);
  } catch (...) {
    cudaStreamSynchronize(compute_.get());  // nothing of the caller's may be in use any more
    cudaGetLastError();
    throw;
  }
  return times;
}

void Engine::profile(std::int64_t height, std::int64_t width, std::int32_t runs, void* user,
                     mimo_rt_trt_layer_sink sink) {
  class Profiler final : public nvinfer1::IProfiler {
   public:
    Profiler(void* user, mimo_rt_trt_layer_sink sink) : user_(user), sink_(sink) {}
    void reportLayerTime(const char* layer, float ms) noexcept override { sink_(user_, layer, ms); }

   private:
    void* user_;
    mimo_rt_trt_layer_sink sink_;
  } profiler(user, sink);
  // The context forgets the profiler before it goes, whatever happens.
  struct Attached {
    nvinfer1::IExecutionContext& context;
    ~Attached() { context.setProfiler(nullptr); }
  };
  set_size(height, width);
  check(cudaMemsetAsync(slots_[0].device_in.get(), 0, device_in_, compute_.get()), "clear memory");
  check(cudaStreamSynchronize(compute_.get()), "clear memory");
  const Attached attached{*context_};
  context_->setProfiler(&profiler);
  for (std::int32_t i = 0; i < runs; ++i) {
    enqueue(slots_[0]);
    check(cudaStreamSynchronize(compute_.get()), "run the plan");
  }
}

std::string Engine::layers() const {
  const std::unique_ptr<nvinfer1::IEngineInspector> inspector(engine_->createEngineInspector());
  const char* text =
      inspector ? inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON) : nullptr;
  if (text == nullptr)
    throw Failure(MIMO_RT_TRT_BACKEND, "TensorRT cannot describe the plan: " + log().last());
  return text;
}

}  // namespace mimo_rt::tensorrt
