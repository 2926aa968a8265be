// Deblurrer: an engine plus working memory and the image-level behaviour (padding, pixel types, grey, alpha,
// strength). It serialises its own runs; make one a thread to run several at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "mimo_rt/engine.hpp"
#include "mimo_rt/image.hpp"

namespace mimo_rt {

// Tiles instead of bands of the whole frame: what a network of fixed size has to do, and what bounds memory
// in very wide images, where even the lowest band is too large.
struct TileOptions {
  enum class Mode : std::uint8_t {
    none,    // the whole frame
    fixed,   // height x width pixels, the halo included; rounded up to the graph's stride
    chosen,  // as large as `memory` allows; the whole frame where it fits
  };
  Mode mode = Mode::none;
  std::int64_t height = 0, width = 0;
  // Pixels beside a tile that are computed and thrown away. kExact: the receptive field, so that tiled equals
  // untiled: bit for bit with tactics "direct", within 2e-5 else. Less is faster and shows in the seams.
  static constexpr std::int64_t kExact = -1;
  std::int64_t halo = kExact;
};

struct DeblurrerOptions {
  int threads = 0;         // 0: all cores that this process may use
  std::size_t memory = 0;  // bytes that a run may allocate; 0: as much as is best
  // 0: one pass. 4: the mean over the four rotations of the image; 8: over the four rotations and their
  // mirror images. Takes as many times as long, and one float32 frame of 12 bytes a pixel beside `memory`.
  int ensemble = 0;
  TileOptions tiles = {};
};

struct RunOptions {
  bool bgr = false;  // channel order of source and destination
  float strength =
      1.0F;  // output = input + strength * (network - input), in [0, 1.5]; 0 copies the input bit for bit
  // Called from the running thread with the fraction done in [0, 1]; returning false ends the run with
  // ImageError("image.cancelled"), the destination then holds nothing of use.
  std::function<bool(double)> progress;
};

struct RunTimes {  // seconds of the last run, wall clock
  double total = 0, input = 0, compute = 0, output = 0;
};

class Deblurrer {
 public:
  explicit Deblurrer(Engine engine, DeblurrerOptions options = {});
  ~Deblurrer();
  Deblurrer(Deblurrer&&) noexcept;
  Deblurrer& operator=(Deblurrer&&) noexcept;

  // source and destination: same height, width, channels (1, 3 or 4: grey, colour, colour + alpha) and type;
  // they must not overlap. Throws ImageError, MemoryLimitError.
  void run(const ImageView& source, const MutableImageView& destination, const RunOptions& options = {});

  // The raw network: float32 [C][H][W] planes in and out by the views' strides, no padding, no clipping.
  // Height and width must be multiples of the graph's stride.
  void infer(const ImageView& source, const MutableImageView& destination);

  // The size of the tiles of a run at this size and how many they are: the padded image and 1 where it is not
  // tiled. Throws ImageError, MemoryLimitError.
  struct Tiles {
    std::int64_t height = 0, width = 0, halo = 0, count = 1;
  };
  Tiles tiles_for(std::int64_t height, std::int64_t width) const;

  // Bytes that a run at this size allocates, packed weights and the ensemble's frame included; known before
  // running.
  std::size_t memory_for(std::int64_t height, std::int64_t width) const;

  const Engine& engine() const;
  int threads() const;
  RunTimes last_times() const;
  // Seconds of each node of the plan's graph in the last run, in running order; empty before the first.
  std::vector<double> last_layer_times() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mimo_rt
