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

struct DeblurrerOptions {
  int threads = 0;         // 0: all cores that this process may use
  std::size_t memory = 0;  // bytes that a run may allocate; 0: as much as is best
  // 0: one pass. 4: the mean over the four rotations of the image; 8: over the four rotations and their
  // mirror images. Takes as many times as long, and one float32 frame of 12 bytes a pixel beside `memory`.
  int ensemble = 0;
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
