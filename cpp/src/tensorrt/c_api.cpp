// The C interface: exceptions become a status and a sentence.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "mimo_rt/tensorrt.h"
#include "tensorrt/builder.hpp"
#include "tensorrt/current_context.hpp"
#include "tensorrt/engine.hpp"
#include "tensorrt/nvidia.hpp"

struct mimo_rt_trt_engine {
  mimo_rt_trt_engine(const void* plan, std::size_t size) : engine(plan, size) {}
  mimo_rt::tensorrt::Engine engine;
};

namespace {

using mimo_rt::tensorrt::CurrentContext;
using mimo_rt::tensorrt::Failure;

int failed(mimo_rt_trt_error* error, mimo_rt_trt_status status, const char* text) noexcept {
  if (error != nullptr) {
    const std::size_t length = std::min(std::strlen(text), sizeof error->text - 1);
    std::memcpy(error->text, text, length);
    error->text[length] = '\0';
  }
  return status;
}

template <typename Work>
int guarded(mimo_rt_trt_error* error, Work work) noexcept {
  try {
    work();
    return MIMO_RT_TRT_OK;
  } catch (const Failure& failure) {
    return failed(error, failure.status(), failure.what());
  } catch (const std::bad_alloc&) {
    return failed(error, MIMO_RT_TRT_MEMORY, "the machine has too little memory");
  } catch (const std::exception& other) {
    return failed(error, MIMO_RT_TRT_BACKEND, other.what());
  } catch (...) {
    return failed(error, MIMO_RT_TRT_BACKEND, "unknown error");
  }
}

}  // namespace

int mimo_rt_trt_interface(void) { return MIMO_RT_TRT_INTERFACE; }
int mimo_rt_trt_major(void) { return NV_TENSORRT_MAJOR; }

int mimo_rt_trt_open(const char* nvinfer, const char* parser, mimo_rt_trt_versions* versions,
                     mimo_rt_trt_error* error) {
  return guarded(error, [&] { *versions = mimo_rt::tensorrt::open_nvidia(nvinfer, parser).versions; });
}

int mimo_rt_trt_device(char* text, size_t size, mimo_rt_trt_error* error) {
  return guarded(error, [&] {
    using mimo_rt::tensorrt::check;
    int device = 0;
    check(cudaGetDevice(&device), "be found");
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, device), "be asked what it is");
    const std::string found = std::string(properties.name) + ", " + std::to_string(properties.major) + "." +
                              std::to_string(properties.minor) + ", " +
                              std::to_string(properties.totalGlobalMem);
    if (size > 0) {
      const std::size_t length = std::min(found.size(), size - 1);
      std::memcpy(text, found.data(), length);
      text[length] = '\0';
    }
  });
}

int mimo_rt_trt_build(const mimo_rt_trt_build_options* options, mimo_rt_trt_error* error) {
  return guarded(error, [&] { mimo_rt::tensorrt::build(*options); });
}

int mimo_rt_trt_load(const void* plan, size_t size, mimo_rt_trt_engine** engine, mimo_rt_trt_plan_info* info,
                     mimo_rt_trt_error* error) {
  return guarded(error, [&] {
    auto made = std::make_unique<mimo_rt_trt_engine>(plan, size);
    *info = made->engine.info();
    *engine = made.release();
  });
}

void mimo_rt_trt_free(mimo_rt_trt_engine* engine) {
  if (engine == nullptr) return;
  std::unique_ptr<mimo_rt_trt_engine> owned(engine);
  guarded(nullptr, [&] {
    const CurrentContext current(owned->engine.cuda_context());
    owned.reset();
  });
}

int mimo_rt_trt_run(mimo_rt_trt_engine* engine, size_t count, const float* const* images,
                    float* const* results, int64_t height, int64_t width, mimo_rt_trt_times* times,
                    mimo_rt_trt_error* error) {
  return guarded(error, [&] {
    const CurrentContext current(engine->engine.cuda_context());
    *times = engine->engine.run(count, images, results, height, width);
  });
}

int mimo_rt_trt_run_image(mimo_rt_trt_engine* engine, const mimo_rt_trt_image_run* run,
                          mimo_rt_trt_times* times, mimo_rt_trt_error* error) {
  return guarded(error, [&] {
    const CurrentContext current(engine->engine.cuda_context());
    *times = engine->engine.run(*run);
  });
}

int mimo_rt_trt_profile(mimo_rt_trt_engine* engine, int64_t height, int64_t width, int32_t runs, void* user,
                        mimo_rt_trt_layer_sink sink, mimo_rt_trt_error* error) {
  return guarded(error, [&] {
    const CurrentContext current(engine->engine.cuda_context());
    engine->engine.profile(height, width, runs, user, sink);
  });
}

int mimo_rt_trt_layers(mimo_rt_trt_engine* engine, void* user, mimo_rt_trt_sink sink,
                       mimo_rt_trt_error* error) {
  return guarded(error, [&] {
    const std::string text = engine->engine.layers();
    sink(user, text.data(), text.size());
  });
}
