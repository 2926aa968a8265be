// Deblurrer: checks what it is given, chooses the band, and drives an Executor, which it keeps while sizes
// repeat.
#include "mimo_rt/deblurrer.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "api/ensemble.hpp"
#include "api/pixels.hpp"
#include "api/tiles.hpp"
#include "core/crop.hpp"
#include "core/process_id.hpp"
#include "cpu/executor.hpp"
#include "cpu/program.hpp"
#include "cpu/thread_pool.hpp"
#include "mimo_rt/error.hpp"
#include "tiling/tile_plan.hpp"

namespace mimo_rt {
namespace {

using Clock = std::chrono::steady_clock;

// Without a bound: bands of so many rows a thread, within limits, and in very wide images less where they
// would take more bytes than these. Higher bands read the packed weights less often, which saves two threads
// a percent or two, and give many threads enough to share out.
constexpr std::size_t kDefaultBytes = std::size_t{750} << 20;
constexpr std::int64_t kRowsAThread = 24, kLeastRows = 48, kMostRows = 192;

constexpr std::chrono::milliseconds kBetweenReports{20};

std::string size_text(std::int64_t height, std::int64_t width) {
  return std::to_string(width) + "x" + std::to_string(height);
}

std::string mebibytes(std::size_t bytes) { return std::to_string((bytes + (1U << 20) - 1) >> 20) + " MiB"; }

MemoryLimitError exhausted(std::size_t bytes) {
  return {"memory.exhausted", "the system refused " + mebibytes(bytes) +
                                  " of working memory; set a smaller memory bound or use a smaller image"};
}

EnsembleFrame frame_for(const ImageView& image) {
  try {
    return EnsembleFrame(image.height, image.width);
  } catch (const std::bad_alloc&) {
    throw exhausted(EnsembleFrame::bytes_for(image.height, image.width));
  }
}

void check(const ImageView& source, const MutableImageView& destination) {
  if (source.height < 1 || source.width < 1) {
    throw ImageError("image.empty", "the image is empty (" + size_text(source.height, source.width) +
                                        "); both sides must be at least 1 pixel");
  }
  if (source.height != destination.height || source.width != destination.width ||
      source.channels != destination.channels || source.type != destination.type) {
    throw ImageError("image.mismatch", "source and destination differ in size, channels or pixel type");
  }
  if (source.data == nullptr || destination.data == nullptr) {
    throw ImageError("image.null", "source or destination has no pixels");
  }
}

}  // namespace

struct Deblurrer::State {
  State(Engine e, DeblurrerOptions o)
      : engine(std::move(e)),
        options(o),
        pool(o.threads > 0 ? std::min(o.threads, 1024) : cpu::available_cores()) {
    if (o.ensemble != 0 && o.ensemble != 4 && o.ensemble != 8) {
      throw ImageError("image.ensemble", "ensemble must be 0, 4 or 8, not " + std::to_string(o.ensemble));
    }
  }

  Engine engine;
  DeblurrerOptions options;
  cpu::ThreadPool pool;
  std::unique_ptr<cpu::Executor> executor;
  std::unique_ptr<std::mutex> running = std::make_unique<std::mutex>();
  std::atomic<long> owner = process_id();
  // Apart from `running`, which is held for as long as a run lasts: whoever asks for times, be it from within
  // a run's progress, must not wait for its end.
  mutable std::mutex times_mutex;
  RunTimes times;
  std::vector<double> layer_times;

  // The one run at a time. A child that was forked while its parent ran has a mutex that nobody will unlock
  // and an executor in the middle of its work: it lets go of both for good (one small leak a fork).
  std::unique_lock<std::mutex> begin() {
    constexpr long kRenewing = -1;
    const long here = process_id();
    for (long was = owner.load(); was != here; was = owner.load()) {
      if (was != kRenewing && owner.compare_exchange_strong(was, kRenewing)) {
        static_cast<void>(executor.release());
        static_cast<void>(running.release());
        running = std::make_unique<std::mutex>();
        owner.store(here);
      }
    }
    return std::unique_lock(*running);
  }

  const cpu::Program& program() const { return engine.program(); }

  std::int64_t pad(std::int64_t side) const {
    const std::int64_t stride = program().graph().stride();
    return (side + stride - 1) / stride * stride;
  }

  std::size_t bytes_for(std::int64_t height, std::int64_t width, std::int64_t band) const {
    return program().packed_bytes() +
           cpu::Executor::bytes_for(program(), pool.threads(), height, width, band);
  }

  std::size_t pass_bytes(std::int64_t height, std::int64_t width) const {
    const tiling::Size tile = plan_for(height, width).tile;
    return bytes_for(tile.height, tile.width, band_for(tile.height, tile.width));
  }

  std::int64_t halo() const {
    return options.tiles.halo == TileOptions::kExact ? tiling::exact_halo(program().graph())
                                                     : pad(options.tiles.halo);
  }

  tiling::TilePlan plan_for(std::int64_t height, std::int64_t width) const {
    const tiling::Size padded{pad(height), pad(width)};
    const std::int64_t stride = program().graph().stride();
    tiling::Size tile = padded;
    if (options.tiles.mode == TileOptions::Mode::fixed) {
      tile = {options.tiles.height, options.tiles.width};
    } else if (options.tiles.mode == TileOptions::Mode::chosen) {
      const std::size_t bound = options.memory > 0 ? options.memory : kDefaultBytes;
      const auto fits = [&](tiling::Size size) {
        return bytes_for(size.height, size.width, program().anchors().unit) <= bound;
      };
      const auto chosen = tiling::choose_tile(padded, halo(), stride, fits);
      if (!chosen) {
        throw MemoryLimitError("memory.bound", "no tile of an image of " + size_text(height, width) +
                                                   " with a halo of " + std::to_string(halo()) +
                                                   " fits into the bound of " + mebibytes(bound));
      }
      tile = *chosen;
    }
    return tiling::plan_tiles(padded, tile, tile == padded ? 0 : halo(), stride);
  }

  // The highest useful band within the bound. Throws MemoryLimitError where a bound was set that the smallest
  // misses.
  std::int64_t band_for(std::int64_t height, std::int64_t width) const {
    const std::int64_t unit = program().anchors().unit;
    const std::size_t bound = options.memory > 0 ? options.memory : kDefaultBytes;
    const std::int64_t wanted = std::clamp(kRowsAThread * pool.threads(), kLeastRows, kMostRows);
    const std::int64_t rows = std::min((height + unit - 1) / unit * unit, wanted);
    const std::size_t least = bytes_for(height, width, unit);
    if (least > bound) {
      if (options.memory == 0) return unit;
      throw MemoryLimitError("memory.bound", "an image of " + size_text(height, width) + " needs at least " +
                                                 mebibytes(least) + "; the bound is " + mebibytes(bound) +
                                                 ". Tiles that fit take more time and less memory");
    }
    std::int64_t low = 1, high = rows / unit;  // in units; low fits
    while (low < high) {
      const std::int64_t middle = (low + high + 1) / 2;
      if (bytes_for(height, width, middle * unit) <= bound) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low * unit;
  }

  void forget_times() {
    const std::lock_guard lock(times_mutex);
    times = {};
    layer_times.clear();
  }

  void check_finite(const ImageView& image) const {
    if (image.type != PixelType::f32) return;
    PixelSource from(image, false, pad(image.height), pad(image.width), program().kernels().lanes);
    std::vector<float> row(static_cast<std::size_t>(pad(image.width) * 3 * from.lanes()));
    for (std::int64_t y = 0; y < image.height; ++y) from.load(y, row.data(), pad(image.width) * from.lanes());
    if (from.non_finite()) refuse_non_finite();
  }

  [[noreturn]] static void refuse_non_finite() {
    throw ImageError("image.non_finite",
                     "the image holds NaN or infinite pixels; replace them before deblurring");
  }

  // One pass of `passes` over the image, `done` of which were made before. make_sink: of what is kept of a
  // tile, given as a function that crops a view to it.
  template <typename MakeSink>
  void run_pass(const ImageView& image, const RunOptions& run_options, double done, double passes,
                MakeSink make_sink) {
    const tiling::TilePlan plan = plan_for(image.height, image.width);
    const int lanes = program().kernels().lanes;
    Clock::time_point told = Clock::now();
    for (std::size_t i = 0; i < plan.count(); ++i) {
      const auto [rows, columns] = plan[i];
      PixelSource from(cropped(image, rows.origin, rows.origin + plan.tile.height, columns.origin,
                               columns.origin + plan.tile.width),
                       run_options.bgr, plan.tile.height, plan.tile.width, lanes);
      auto kept = make_sink(
          [&](auto view) { return cropped(view, rows.first, rows.end, columns.first, columns.end); });
      KeptSink to(kept, rows.first - rows.origin, columns.first - columns.origin, lanes);
      // Non-finite pixels end the run as soon as a row of them was read.
      const auto progress = [&](double fraction) {
        if (from.non_finite()) return false;
        fraction = (static_cast<double>(i) + fraction) / static_cast<double>(plan.count());
        if (!run_options.progress || (fraction < 1.0 && Clock::now() - told < kBetweenReports)) return true;
        told = Clock::now();
        return run_options.progress((done + fraction) / passes);
      };
      try {
        run(plan.tile.height, plan.tile.width, from, to, progress);
      } catch (const ImageError&) {
        if (from.non_finite()) refuse_non_finite();
        throw;
      }
    }
  }

  // Adds to the times.
  void run(std::int64_t height, std::int64_t width, cpu::RowSource& source, cpu::RowSink& sink,
           const std::function<bool(double)>& progress) {
    const Clock::time_point start = Clock::now();
    if (!executor || executor->height() != height || executor->width() != width) {
      executor.reset();
      const std::int64_t band = band_for(height, width);
      try {
        executor = std::make_unique<cpu::Executor>(program(), pool, height, width, band);
      } catch (const std::bad_alloc&) {
        throw exhausted(bytes_for(height, width, band));
      }
    }
    cpu::Phases phases;
    const bool finished = executor->run(source, sink, progress, phases);
    const std::lock_guard lock(times_mutex);
    times.total += std::chrono::duration<double>(Clock::now() - start).count();
    times.input += phases.input;
    times.compute += phases.compute;
    times.output += phases.output;
    layer_times.resize(phases.nodes.size());
    for (std::size_t n = 0; n < layer_times.size(); ++n) layer_times[n] += phases.nodes[n];
    if (!finished) throw ImageError("image.cancelled", "the run was ended before it was done");
  }
};

Deblurrer::Deblurrer(Engine engine, DeblurrerOptions options)
    : state_(std::make_unique<State>(std::move(engine), options)) {}
Deblurrer::~Deblurrer() = default;
Deblurrer::Deblurrer(Deblurrer&&) noexcept = default;
Deblurrer& Deblurrer::operator=(Deblurrer&&) noexcept = default;

void Deblurrer::run(const ImageView& source, const MutableImageView& destination, const RunOptions& options) {
  check(source, destination);
  if (source.channels != 1 && source.channels != 3 && source.channels != 4) {
    throw ImageError("image.channels",
                     "an image has 1, 3 or 4 channels (grey, colour, colour and alpha), not " +
                         std::to_string(source.channels));
  }
  if (!(options.strength >= 0.0F && options.strength <= 1.5F)) {
    throw ImageError("image.strength", "strength must lie between 0 and 1.5");
  }
  const Graph& graph = state_->program().graph();
  if (graph.values[graph.input].channels != 3 || graph.values[graph.output].channels != 3 ||
      graph.values[graph.output].scale != 0) {
    throw ModelError(
        "model.not_an_image_network",
        "the model does not turn a 3-channel image into one of the same size; use infer for its raw output");
  }
  const std::unique_lock lock = state_->begin();
  state_->forget_times();
  if (options.strength == 0.0F) {
    state_->check_finite(source);
    copy_pixels(source, destination);
    return;
  }
  const int passes = state_->options.ensemble;
  const int lanes = state_->program().kernels().lanes;
  if (passes == 0) {
    state_->run_pass(source, options, 0.0, 1.0, [&](auto crop) {
      return PixelSink(crop(source), crop(destination), options.bgr, options.strength, lanes);
    });
    return;
  }
  EnsembleFrame frame = frame_for(source);
  // Quarter turns first, so that the working memory is laid out anew once only; the untouched image last.
  int done = 0;
  for (const int odd : {1, 0}) {
    for (int kind = passes - 2 + odd; kind > 0; kind -= 2, ++done) {
      state_->run_pass(turned(source, kind), options, done, passes,
                       [&](auto crop) { return AddingSink(crop(frame.view(kind)), lanes); });
    }
  }
  state_->run_pass(source, options, done, passes, [&](auto crop) {
    return MeanSink(
        crop(frame.view(0)), lanes, passes,
        PixelSink(crop(source), crop(destination), options.bgr, options.strength, MeanSink::kLanes));
  });
}

void Deblurrer::infer(const ImageView& source, const MutableImageView& destination) {
  const Graph& graph = state_->program().graph();
  const Value& output = graph.values[graph.output];
  const std::int64_t stride = graph.stride();
  if (source.height < 1 || source.width < 1 || source.height % stride != 0 || source.width % stride != 0) {
    throw ImageError("image.size", "infer takes sides that are multiples of " + std::to_string(stride) +
                                       ", not " + size_text(source.height, source.width) +
                                       "; run pads by itself");
  }
  if (source.type != PixelType::f32 || destination.type != PixelType::f32 ||
      source.channels != graph.values[graph.input].channels || destination.channels != output.channels ||
      destination.height != source.height >> output.scale ||
      destination.width != source.width >> output.scale) {
    throw ImageError("image.shape", "infer takes float32 planes of the network's own channels: " +
                                        std::to_string(graph.values[graph.input].channels) + " in, " +
                                        std::to_string(output.channels) + " out");
  }
  const std::unique_lock lock = state_->begin();
  state_->forget_times();
  PlaneSource from(source, state_->program().kernels().lanes);
  PlaneSink to(destination, state_->program().kernels().lanes);
  state_->run(source.height, source.width, from, to, {});
}

Deblurrer::Tiles Deblurrer::tiles_for(std::int64_t height, std::int64_t width) const {
  if (height < 1 || width < 1) throw ImageError("image.empty", "both sides must be at least 1 pixel");
  const tiling::TilePlan plan = state_->plan_for(height, width);
  return {plan.tile.height, plan.tile.width, plan.count() == 1 ? 0 : state_->halo(),
          static_cast<std::int64_t>(plan.count())};
}

std::size_t Deblurrer::memory_for(std::int64_t height, std::int64_t width) const {
  if (height < 1 || width < 1) throw ImageError("image.empty", "both sides must be at least 1 pixel");
  const std::size_t one = state_->pass_bytes(height, width);
  if (state_->options.ensemble == 0) return one;
  return std::max(one, state_->pass_bytes(width, height)) + EnsembleFrame::bytes_for(height, width);
}

const Engine& Deblurrer::engine() const { return state_->engine; }
int Deblurrer::threads() const { return state_->pool.threads(); }
std::vector<double> Deblurrer::last_layer_times() const {
  const std::lock_guard lock(state_->times_mutex);
  return state_->layer_times;
}

RunTimes Deblurrer::last_times() const {
  const std::lock_guard lock(state_->times_mutex);
  return state_->times;
}

}  // namespace mimo_rt
