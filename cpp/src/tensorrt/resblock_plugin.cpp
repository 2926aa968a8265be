#include "tensorrt/resblock_plugin.hpp"

#include <array>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/resblock_launch.hpp"
#include "tensorrt/device_memory.hpp"

namespace mimo_rt::tensorrt {
namespace {

namespace block = cuda::resblock;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

constexpr int kFailed = 1;  // what TensorRT's interface wants instead of an exception

// What a plug-in and its clones share: the weights as they were given, and packed on the GPU.
class Weights {
 public:
  // Throws std::invalid_argument.
  Weights(std::vector<float> weights, std::vector<float> bias)
      : plain(std::move(weights)), bias(std::move(bias)) {
    count = this->bias.size() / block::kBlockBiases;
    if (count == 0 || this->bias.size() != count * block::kBlockBiases ||
        plain.size() != count * block::kBlockHalves) {
      throw std::invalid_argument("the weights are not those of ResBlocks of 32 channels");
    }
  }

  // Copies to the GPU where that was not done. Throws Failure.
  void upload() {
    const std::lock_guard lock(mutex_);
    if (packed_) return;
    std::vector<Half> halves(plain.size()), packed(plain.size());
    for (std::size_t i = 0; i < plain.size(); ++i) halves[i] = narrow(plain[i]);
    for (std::size_t at = 0; at < packed.size(); at += block::kConvolutionHalves) {
      block::pack(halves.data() + at, packed.data() + at);
    }
    DeviceMemory weights = device_memory(packed.size() * sizeof(Half));
    DeviceMemory biases = device_memory(bias.size() * sizeof(float));
    check(cudaMemcpy(weights.get(), packed.data(), packed.size() * sizeof(Half), cudaMemcpyHostToDevice),
          "copy weights in");
    check(cudaMemcpy(biases.get(), bias.data(), bias.size() * sizeof(float), cudaMemcpyHostToDevice),
          "copy weights in");
    // Streams that do not wait for the default one may read them next.
    check(cudaStreamSynchronize(nullptr), "copy weights in");
    packed_ = std::move(weights);
    biases_ = std::move(biases);
  }
  const Half* packed(std::size_t i) const {
    return static_cast<const Half*>(packed_.get()) + i * block::kBlockHalves;
  }
  const float* biases(std::size_t i) const {
    return static_cast<const float*>(biases_.get()) + i * block::kBlockBiases;
  }

  std::vector<float> plain, bias;
  std::size_t count = 0;

 private:
  std::mutex mutex_;
  DeviceMemory packed_, biases_;
};

class ResBlocks final : public nvinfer1::IPluginV3,
                        public nvinfer1::IPluginV3OneCore,
                        public nvinfer1::IPluginV3OneBuild,
                        public nvinfer1::IPluginV3OneRuntime {
 public:
  explicit ResBlocks(std::shared_ptr<Weights> weights) : weights_(std::move(weights)) {
    fields_ = {PluginField("weights", weights_->plain.data(), PluginFieldType::kFLOAT32,
                           static_cast<std::int32_t>(weights_->plain.size())),
               PluginField("bias", weights_->bias.data(), PluginFieldType::kFLOAT32,
                           static_cast<std::int32_t>(weights_->bias.size()))};
    collection_ = {static_cast<std::int32_t>(fields_.size()), fields_.data()};
  }

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
    switch (type) {
      case nvinfer1::PluginCapabilityType::kCORE:
        return static_cast<nvinfer1::IPluginV3OneCore*>(this);
      case nvinfer1::PluginCapabilityType::kBUILD:
        return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
      case nvinfer1::PluginCapabilityType::kRUNTIME:
        return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }
  nvinfer1::IPluginV3* clone() noexcept override { return made(weights_); }

  const char* getPluginName() const noexcept override { return kResBlocksName; }
  const char* getPluginVersion() const noexcept override { return kResBlocksVersion; }
  const char* getPluginNamespace() const noexcept override { return ""; }

  std::int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc*, std::int32_t,
                               const nvinfer1::DynamicPluginTensorDesc*, std::int32_t) noexcept override {
    return 0;
  }
  std::int32_t getOutputDataTypes(nvinfer1::DataType* out, std::int32_t, const nvinfer1::DataType*,
                                  std::int32_t) const noexcept override {
    out[0] = nvinfer1::DataType::kHALF;
    return 0;
  }
  std::int32_t getOutputShapes(const nvinfer1::DimsExprs* in, std::int32_t, const nvinfer1::DimsExprs*,
                               std::int32_t, nvinfer1::DimsExprs* out, std::int32_t,
                               nvinfer1::IExprBuilder&) noexcept override {
    out[0] = in[0];
    return 0;
  }
  bool supportsFormatCombination(std::int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors,
                                 std::int32_t, std::int32_t) noexcept override {
    const nvinfer1::PluginTensorDesc& tensor = tensors[position].desc;
    return tensor.type == nvinfer1::DataType::kHALF && tensor.format == nvinfer1::TensorFormat::kHWC8 &&
           tensor.dims.nbDims == 4 && tensor.dims.d[1] == block::kChannels;
  }
  std::int32_t getNbOutputs() const noexcept override { return 1; }
  // Blocks are made from one place into another in turns.
  std::size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* in, std::int32_t,
                               const nvinfer1::DynamicPluginTensorDesc*,
                               std::int32_t) const noexcept override {
    return weights_->count > 1 ? bytes_of(in[0].max) : 0;
  }

  std::int32_t onShapeChange(const nvinfer1::PluginTensorDesc*, std::int32_t,
                             const nvinfer1::PluginTensorDesc*, std::int32_t) noexcept override {
    return uploaded() ? 0 : kFailed;
  }
  std::int32_t enqueue(const nvinfer1::PluginTensorDesc* in, const nvinfer1::PluginTensorDesc*,
                       const void* const* inputs, void* const* outputs, void* workspace,
                       cudaStream_t stream) noexcept override {
    if (!uploaded()) return kFailed;
    const nvinfer1::Dims& dims = in[0].dims;
    const auto* from = static_cast<const Half*>(inputs[0]);
    for (std::size_t i = 0; i < weights_->count; ++i) {
      // The last one to the output, so those before it in turns from there backwards.
      const bool out = (weights_->count - i) % 2 == 1;
      auto* to = static_cast<Half*>(out ? outputs[0] : workspace);
      const block::Job job{from, to, weights_->packed(i), weights_->biases(i), dims.d[2], dims.d[3]};
      if (block::launch(job, static_cast<int>(dims.d[0]), stream) != cudaSuccess) return kFailed;
      from = to;
    }
    return 0;
  }
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override {
    return clone();
  }
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override { return &collection_; }

  // Null where there is no memory.
  static ResBlocks* made(const std::shared_ptr<Weights>& weights) noexcept {
    try {
      return std::make_unique<ResBlocks>(weights).release();  // TensorRT deletes it
    } catch (...) {
      return nullptr;
    }
  }

 private:
  static std::size_t bytes_of(const nvinfer1::Dims& dims) {
    std::size_t bytes = sizeof(Half);
    for (int i = 0; i < dims.nbDims; ++i) bytes *= static_cast<std::size_t>(dims.d[i]);
    return bytes;
  }
  bool uploaded() noexcept {
    try {
      weights_->upload();
      return true;
    } catch (...) {
      return false;
    }
  }

  std::shared_ptr<Weights> weights_;
  std::array<PluginField, 2> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  // Null where the fields are not a plug-in's, or the GPU is older than the kernel.
  nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* given,
                                    nvinfer1::TensorRTPhase) noexcept override {
    try {
      int device = 0, major = 0;
      check(cudaGetDevice(&device), "be found");
      check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "be asked what it is");
      if (major < 8) return nullptr;
      std::vector<float> weights, bias;
      for (int i = 0; i < given->nbFields; ++i) {
        const PluginField& field = given->fields[i];
        std::vector<float>* to = std::string_view(field.name) == "weights" ? &weights
                                 : std::string_view(field.name) == "bias"  ? &bias
                                                                           : nullptr;
        if (to == nullptr || field.type != PluginFieldType::kFLOAT32 || field.length < 0) continue;
        to->resize(static_cast<std::size_t>(field.length));
        std::memcpy(to->data(), field.data, to->size() * sizeof(float));
      }
      return ResBlocks::made(std::make_shared<Weights>(std::move(weights), std::move(bias)));
    } catch (...) {
      return nullptr;
    }
  }
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return kResBlocksName; }
  const char* getPluginVersion() const noexcept override { return kResBlocksVersion; }
  const char* getPluginNamespace() const noexcept override { return ""; }

 private:
  std::array<PluginField, 2> fields_{PluginField("weights", nullptr, PluginFieldType::kFLOAT32, 0),
                                     PluginField("bias", nullptr, PluginFieldType::kFLOAT32, 0)};
  nvinfer1::PluginFieldCollection collection_{static_cast<std::int32_t>(fields_.size()), fields_.data()};
};

}  // namespace

void register_resblocks(nvinfer1::IPluginRegistry& registry) {
  static Creator creator;  // the registry keeps a pointer to it
  if (!registry.registerCreator(creator, "")) {
    throw Failure(MIMO_RT_TRT_BACKEND, "TensorRT does not take mimo_rt's plug-in");
  }
}

}  // namespace mimo_rt::tensorrt
