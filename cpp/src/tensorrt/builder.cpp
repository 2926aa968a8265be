#include "tensorrt/builder.hpp"

#include <atomic>
#include <map>

#include "tensorrt/nvidia.hpp"

namespace mimo_rt::tensorrt {
namespace {

// Hands TensorRT's phases on, and asks for an end of the build once the caller has.
class Progress final : public nvinfer1::IProgressMonitor {
 public:
  explicit Progress(const mimo_rt_trt_build_options& options) : options_(options) {}
  bool cancelled() const noexcept { return cancelled_; }

  void phaseStart(const char* phase, const char*, std::int32_t steps) noexcept override {
    try {
      const std::lock_guard lock(mutex_);
      steps_[phase] = steps;
    } catch (...) {  // no memory: the phase is told without its number of steps
    }
    tell(phase, 0);
  }
  bool stepComplete(const char* phase, std::int32_t step) noexcept override {
    tell(phase, step + 1);
    return !cancelled_;
  }
  void phaseFinish(const char*) noexcept override {}

 private:
  void tell(const char* phase, std::int32_t step) noexcept {
    std::int32_t steps = 0;
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = steps_.find(phase); found != steps_.end()) steps = found->second;
    }
    if (options_.progress(options_.user, phase, step, steps) != 1) cancelled_ = true;
  }

  const mimo_rt_trt_build_options& options_;
  std::mutex mutex_;  // TensorRT may call from several threads
  std::map<std::string, std::int32_t, std::less<>> steps_;
  std::atomic<bool> cancelled_{false};
};

std::string parser_errors(const nvonnxparser::IParser& parser) {
  std::string text;
  for (int i = 0; i < parser.getNbErrors() && i < 3; ++i) {
    const nvonnxparser::IParserError& error = *parser.getError(i);
    const char* node = error.nodeName();
    const bool named = node != nullptr && *node != '\0';
    text += (text.empty() ? "" : "; ") + std::string(named ? node : "the graph") + ": " + error.desc();
  }
  return text.empty() ? log().last() : text;
}

void set_profile(nvinfer1::IBuilder& builder, nvinfer1::IBuilderConfig& config,
                 const nvinfer1::INetworkDefinition& network, const mimo_rt_trt_build_options& options) {
  const nvinfer1::ITensor& image = *network.getInput(0);
  const std::int64_t channels = image.getDimensions().d[1];
  nvinfer1::IOptimizationProfile& profile = *builder.createOptimizationProfile();  // the builder's own
  using Selector = nvinfer1::OptProfileSelector;
  const auto put = [&](Selector which, const std::int64_t(&size)[2]) {
    return profile.setDimensions(image.getName(), which,
                                 nvinfer1::Dims4{options.batch, channels, size[0], size[1]});
  };
  const bool set = put(Selector::kMIN, options.smallest) && put(Selector::kOPT, options.best) &&
                   put(Selector::kMAX, options.largest);
  if (!set || !profile.isValid() || config.addOptimizationProfile(&profile) < 0) {
    throw Failure(MIMO_RT_TRT_MODEL, "TensorRT refuses these sizes for the model");
  }
}

// Images lie in planes; those in half precision may also lie as tensor cores like them, if TensorRT does.
void set_formats(nvinfer1::ITensor& image) {
  const auto bit = [](nvinfer1::TensorFormat format) { return 1U << static_cast<std::uint32_t>(format); };
  nvinfer1::TensorFormats formats = bit(nvinfer1::TensorFormat::kLINEAR);
  if (image.getType() == nvinfer1::DataType::kHALF) formats |= bit(nvinfer1::TensorFormat::kHWC8);
  image.setAllowedFormats(formats);
}

void hand_out(const mimo_rt_trt_build_options& options, mimo_rt_trt_sink sink,
              const nvinfer1::IHostMemory& memory) {
  if (sink != nullptr) sink(options.user, memory.data(), memory.size());
}

}  // namespace

void build(const mimo_rt_trt_build_options& options) {
  log().clear();
  const auto builder = make_builder();
#if NV_TENSORRT_MAJOR >= 11
  constexpr nvinfer1::NetworkDefinitionCreationFlags kTyped = 0;  // there is no other
#else
  constexpr nvinfer1::NetworkDefinitionCreationFlags kTyped =
      1U << static_cast<std::uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#endif
  const std::unique_ptr<nvinfer1::INetworkDefinition> network(builder->createNetworkV2(kTyped));
  if (!network) throw Failure(MIMO_RT_TRT_BACKEND, "TensorRT cannot make a network: " + log().last());
  const auto parser = make_parser(*network);
  if (!parser->parse(options.onnx, options.onnx_size)) {
    throw Failure(MIMO_RT_TRT_MODEL, "TensorRT cannot read the model: " + parser_errors(*parser));
  }
  if (network->getNbInputs() != 1 || network->getNbOutputs() != 1 ||
      network->getInput(0)->getDimensions().nbDims != 4) {
    throw Failure(MIMO_RT_TRT_MODEL, "the model is not one of an image in and an image out");
  }
  set_formats(*network->getInput(0));
  set_formats(*network->getOutput(0));
  const std::unique_ptr<nvinfer1::IBuilderConfig> config(builder->createBuilderConfig());
  if (!config) throw Failure(MIMO_RT_TRT_BACKEND, "TensorRT cannot make a configuration: " + log().last());
  config->setProfilingVerbosity(nvinfer1::ProfilingVerbosity::kDETAILED);
  if (options.tf32 == 0) config->clearFlag(nvinfer1::BuilderFlag::kTF32);
  if (options.optimization_level >= 0) config->setBuilderOptimizationLevel(options.optimization_level);
  if (options.workspace > 0) {
    config->setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE,
                               static_cast<std::size_t>(options.workspace));
  }
  set_profile(*builder, *config, *network, options);
  // An empty cache where there is none, or one that does not fit here, so that this build's timings can be
  // handed out.
  std::unique_ptr<nvinfer1::ITimingCache> cache;
  const auto use = [&](const void* timings, std::size_t size) {
    cache.reset(config->createTimingCache(timings, size));
    return cache && config->setTimingCache(*cache, false);
  };
  if (!use(options.timing_cache, options.timing_cache_size) && !use(nullptr, 0)) cache.reset();
  Progress progress(options);
  if (options.progress != nullptr) config->setProgressMonitor(&progress);
  const std::unique_ptr<nvinfer1::IHostMemory> plan(builder->buildSerializedNetwork(*network, *config));
  if (progress.cancelled()) throw Failure(MIMO_RT_TRT_CANCELLED, "the build was ended before it was done");
  if (!plan) throw refused(MIMO_RT_TRT_MODEL, "TensorRT cannot build a plan");
  if (cache) {
    const std::unique_ptr<nvinfer1::IHostMemory> timings(cache->serialize());
    if (timings) hand_out(options, options.timing_cache_sink, *timings);
  }
  hand_out(options, options.plan_sink, *plan);
}

}  // namespace mimo_rt::tensorrt
