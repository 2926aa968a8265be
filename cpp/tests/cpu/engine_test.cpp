// Engines and Deblurrers from the outside: cache, plan files, image-level behaviour, typed errors.
#include "mimo_rt/engine.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "cpu/program.hpp"
#include "mimo_rt/deblurrer.hpp"
#include "mimo_rt/error.hpp"
#include "nets.hpp"
#include "reference/networks.hpp"
#include "reference/onnx_writer.hpp"

namespace mimo_rt::test {
namespace {

class ScratchFolder {
 public:
  ScratchFolder() {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path() /
            ("mimo_rt_engine_test_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Timings that need no clock, so that plans are the same from run to run.
double count_calls(std::string_view, const std::function<void()>&) { return 1.0; }

BuildOptions uncached() {
  BuildOptions options;
  options.cache = false;
  return options;
}

Engine small_engine() {
  static const std::string onnx = reference::mimo_unet_onnx(8, {1, 1, 1}, 5);
  return Engine::build(reference::as_bytes(onnx), uncached());
}

template <typename T>
struct Image {
  std::int64_t height, width, channels;
  std::vector<T> pixels;
  Image(std::int64_t h, std::int64_t w, std::int64_t c)
      : height(h), width(w), channels(c), pixels(static_cast<std::size_t>(h * w * c)) {}
  static constexpr PixelType type() {
    return std::is_same_v<T, float>          ? PixelType::f32
           : std::is_same_v<T, std::uint8_t> ? PixelType::u8
                                             : PixelType::u16;
  }
  ImageView view() const {
    constexpr std::ptrdiff_t s = sizeof(T);
    return {reinterpret_cast<const std::byte*>(pixels.data()),
            type(),
            height,
            width,
            channels,
            width * channels * s,
            channels * s,
            s};
  }
  MutableImageView view() {
    constexpr std::ptrdiff_t s = sizeof(T);
    return {reinterpret_cast<std::byte*>(pixels.data()),
            type(),
            height,
            width,
            channels,
            width * channels * s,
            channels * s,
            s};
  }
};

template <typename T>
Image<T> noise(std::int64_t h, std::int64_t w, std::int64_t c) {
  Image<T> image(h, w, c);
  std::mt19937 random(9);
  for (T& p : image.pixels) {
    if constexpr (std::is_same_v<T, float>) {
      p = static_cast<float>(random() % 1000) / 999.0F;
    } else {
      p = static_cast<T>(random());
    }
  }
  return image;
}

TEST(Engine, CacheServesTheSamePlanAndTellsWhyItWasBuilt) {
  const ScratchFolder folder;
  const std::string onnx = reference::mimo_unet_onnx(8, {1, 1, 1}, 5);
  BuildOptions options;
  options.cache_folder = folder.path();
  const Engine first = Engine::build(reference::as_bytes(onnx), options);
  EXPECT_EQ(first.origin(), "built: no cached plan");
  const Engine second = Engine::build(reference::as_bytes(onnx), options);
  EXPECT_EQ(second.origin(), "cache hit");
  EXPECT_EQ(first.serialize(), second.serialize());
  const std::string other = reference::mimo_unet_onnx(8, {1, 1, 1}, 6);
  EXPECT_EQ(Engine::build(reference::as_bytes(other), options).origin(), "built: no cached plan");
  options.tactics = "direct";
  EXPECT_NE(Engine::build(reference::as_bytes(onnx), options).origin(), "cache hit");
  options.timer = count_calls;
  EXPECT_EQ(Engine::build(reference::as_bytes(onnx), options).origin(), "built: timings were given");
}

TEST(Engine, CacheFollowsExternalData) {
  const ScratchFolder folder;
  const auto model = [](float weight) {
    reference::OnnxModel m;
    m.input("x", {1, 3, -1, -1}).output("y");
    m.constant(reference::external_tensor("w", {3, 3, 1, 1}, {{"location", "w.bin"}}));
    m.node("Conv", {"x", "w"}, {"y"});
    std::vector<float> weights(9, weight);
    return std::pair{m.bytes(), weights};
  };
  const std::filesystem::path path = folder.path() / "m.onnx";
  const auto write = [&](float weight) {
    const auto [bytes, weights] = model(weight);
    std::FILE* f = std::fopen((folder.path() / "w.bin").c_str(), "wb");
    ASSERT_NE(f, nullptr);
    std::fwrite(weights.data(), sizeof(float), weights.size(), f);
    std::fclose(f);
    f = std::fopen(path.c_str(), "wb");
    ASSERT_NE(f, nullptr);
    std::fwrite(bytes.data(), 1, bytes.size(), f);
    std::fclose(f);
  };
  BuildOptions options;
  options.cache_folder = folder.path() / "cache";
  write(1.0F);
  EXPECT_EQ(Engine::build(path, options).origin(), "built: no cached plan");
  EXPECT_EQ(Engine::build(path, options).origin(), "cache hit");
  write(2.0F);
  EXPECT_NE(Engine::build(path, options).origin(), "cache hit");
}

TEST(Engine, PlanFilesRoundTrip) {
  const ScratchFolder folder;
  const Engine engine = small_engine();
  engine.save(folder.path() / "a.plan");
  const Engine loaded = Engine::load(folder.path() / "a.plan");
  EXPECT_EQ(loaded.origin(), "plan file");
  EXPECT_EQ(loaded.serialize(), engine.serialize());
  const Image<std::uint8_t> image = noise<std::uint8_t>(21, 35, 3);
  Image<std::uint8_t> a(21, 35, 3), b(21, 35, 3);
  Deblurrer(engine, {1, 0}).run(image.view(), a.view());
  Deblurrer(loaded, {2, 0}).run(image.view(), b.view());
  EXPECT_EQ(a.pixels, b.pixels);
}

TEST(Engine, RefusesUnknownOptionsByName) {
  const std::string onnx = reference::mimo_unet_onnx(8, {1, 1, 1}, 5);
  BuildOptions options = uncached();
  options.precision = "fp3";
  EXPECT_THROW(Engine::build(reference::as_bytes(onnx), options), BackendError);
  options = uncached();
  options.target = "Z80";
  EXPECT_THROW(Engine::build(reference::as_bytes(onnx), options), BackendError);
  options = uncached();
  options.tactics = "luck";
  EXPECT_THROW(Engine::build(reference::as_bytes(onnx), options), BackendError);
  EXPECT_THROW(Engine::build(std::filesystem::path("no such file.onnx")), ModelError);
  EXPECT_THROW(Engine::load(std::filesystem::path("no such file.plan")), PlanError);
}

TEST(Engine, BitsAreTheSameFromTwentyBuildsWithOppositeTimings) {
  const std::string onnx = reference::mimo_unet_onnx(16, {1, 1, 1}, 5);
  const Image<float> image = noise<float>(45, 67, 3);
  std::vector<float> expected;
  std::vector<int> blocks;
  bool tactics_differ = false;
  for (int build = 0; build < 20; ++build) {
    BuildOptions options = uncached();
    double time = 0;
    options.timer = [&](std::string_view, const std::function<void()>&) {
      return time += build % 2 == 0 ? 1.0 : -1.0;
    };
    const Engine engine = Engine::build(reference::as_bytes(onnx), options);
    std::vector<int> chosen;
    for (const Tactic& tactic : engine.plan().tactics) chosen.push_back(tactic.block);
    if (blocks.empty()) blocks = chosen;
    tactics_differ = tactics_differ || blocks != chosen;
    Image<float> result(45, 67, 3);
    Deblurrer(engine, {1 + build % 3, 0}).run(image.view(), result.view());
    if (expected.empty()) expected = result.pixels;
    ASSERT_EQ(std::memcmp(expected.data(), result.pixels.data(), expected.size() * sizeof(float)), 0);
  }
  EXPECT_TRUE(tactics_differ);
}

TEST(Deblurrer, HoldsItsMemoryBoundAndChangesNoBit) {
  const Engine engine = small_engine();
  const Image<std::uint8_t> image = noise<std::uint8_t>(301, 203, 3);
  Image<std::uint8_t> expected(301, 203, 3), actual(301, 203, 3);
  Deblurrer free(engine, {4, 0});
  free.run(image.view(), expected.view());
  std::size_t least = 0;
  try {
    Deblurrer(engine, {4, 1}).run(image.view(), actual.view());
    FAIL() << "one byte was enough";
  } catch (const MemoryLimitError& e) {
    EXPECT_EQ(e.code(), "memory.bound");
    const std::string text = e.what();
    const std::size_t at = text.find("at least ");
    ASSERT_NE(at, std::string::npos) << text;
    least = static_cast<std::size_t>(std::stoul(text.substr(at + 9))) << 20;
  }
  Deblurrer tight(engine, {4, least});
  EXPECT_LE(tight.memory_for(301, 203), least);
  EXPECT_LT(tight.memory_for(301, 203), free.memory_for(301, 203));
  tight.run(image.view(), actual.view());
  EXPECT_EQ(actual.pixels, expected.pixels);
}

TEST(Deblurrer, StrengthZeroCopiesBitForBit) {
  Deblurrer deblurrer(small_engine(), {1, 0});
  RunOptions options;
  options.strength = 0.0F;
  const Image<std::uint16_t> image = noise<std::uint16_t>(5, 7, 4);
  Image<std::uint16_t> result(5, 7, 4);
  deblurrer.run(image.view(), result.view(), options);
  EXPECT_EQ(result.pixels, image.pixels);
}

TEST(Deblurrer, BgrIsRgbReversed) {
  Deblurrer deblurrer(small_engine(), {1, 0});
  const Image<std::uint8_t> rgb = noise<std::uint8_t>(13, 18, 3);
  Image<std::uint8_t> bgr = rgb, expected(13, 18, 3), actual(13, 18, 3);
  for (std::size_t i = 0; i < bgr.pixels.size(); i += 3) std::swap(bgr.pixels[i], bgr.pixels[i + 2]);
  deblurrer.run(rgb.view(), expected.view());
  RunOptions options;
  options.bgr = true;
  const Image<std::uint8_t>& source = bgr;
  deblurrer.run(source.view(), actual.view(), options);
  for (std::size_t i = 0; i < actual.pixels.size(); i += 3) std::swap(actual.pixels[i], actual.pixels[i + 2]);
  EXPECT_EQ(actual.pixels, expected.pixels);
}

TEST(Deblurrer, EndsWhenProgressSaysSoAndRunsAgain) {
  Deblurrer deblurrer(small_engine(), {2, 0});
  const Image<std::uint8_t> image = noise<std::uint8_t>(400, 300, 3);
  Image<std::uint8_t> result(400, 300, 3), again(400, 300, 3);
  RunOptions options;
  options.progress = [](double) { return false; };
  EXPECT_THROW(deblurrer.run(image.view(), result.view(), options), ImageError);
  std::vector<double> seen;
  options.progress = [&](double fraction) {
    seen.push_back(fraction);
    return true;
  };
  deblurrer.run(image.view(), result.view(), options);
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_NEAR(seen.back(), 1.0, 1e-9);
  deblurrer.run(image.view(), again.view());
  EXPECT_EQ(result.pixels, again.pixels);
}

TEST(Deblurrer, RefusesBadInputAndStaysFit) {
  Deblurrer deblurrer(small_engine(), {1, 0});
  Image<float> image = noise<float>(9, 9, 3), result(9, 9, 3);
  image.pixels[77] = std::numeric_limits<float>::quiet_NaN();
  const Image<float>& bad = image;
  EXPECT_THROW(deblurrer.run(bad.view(), result.view()), ImageError);
  RunOptions copy;
  copy.strength = 0.0F;
  EXPECT_THROW(deblurrer.run(bad.view(), result.view(), copy), ImageError);
  image.pixels[77] = 0.5F;
  EXPECT_NO_THROW(deblurrer.run(bad.view(), result.view()));
  for (const float p : result.pixels) EXPECT_TRUE(p >= 0.0F && p <= 1.0F);
  RunOptions options;
  options.strength = 1.6F;
  EXPECT_THROW(deblurrer.run(bad.view(), result.view(), options), ImageError);
  Image<float> other(9, 8, 3);
  EXPECT_THROW(deblurrer.run(bad.view(), other.view()), ImageError);
  const Image<float> empty(0, 9, 3);
  Image<float> none(0, 9, 3);
  EXPECT_THROW(deblurrer.run(empty.view(), none.view()), ImageError);
  const Image<float> two(9, 9, 2);
  Image<float> two_out(9, 9, 2);
  EXPECT_THROW(deblurrer.run(two.view(), two_out.view()), ImageError);
}

TEST(Deblurrer, ManyThreadsShareOneEngine) {
  const Engine engine = small_engine();
  const Image<std::uint8_t> image = noise<std::uint8_t>(40, 44, 3);
  Image<std::uint8_t> expected(40, 44, 3);
  Deblurrer(engine, {1, 0}).run(image.view(), expected.view());
  Deblurrer shared(engine, {2, 0});
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      Deblurrer own(engine, {1 + t % 3, 0});
      for (int round = 0; round < 10; ++round) {
        Image<std::uint8_t> result(40, 44, 3);
        (round % 2 == 0 ? own : shared).run(image.view(), result.view());
        if (result.pixels != expected.pixels) ++wrong;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong.load(), 0);
}

// A file of 2.4 MB that would take 268 MB of packed weights, or twice that, for every bias that it adds.
TEST(Engine, WeightsThatWouldGrowBeyondReasonAreRefused) {
  NetBuilder net(3);
  const ValueId wide = net.conv({{net.image(), 0}}, 65536, 1);
  const Graph graph = net.finish(net.conv({{wide, 0}}, 1, 3));
  try {
    const cpu::Program program(plan_for(graph, available_targets().front()));
    FAIL() << "made, with " << program.packed_bytes() << " bytes";
  } catch (const ModelError& e) {
    EXPECT_EQ(e.code(), "model.packed_size");
  }
}

}  // namespace
}  // namespace mimo_rt::test
