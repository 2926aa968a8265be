// Program: a plan made ready for the kernels of one instruction set. Weights are transformed and packed here,
// when an engine is made; nothing of this is stored. Immutable, shared by all runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/arena.hpp"
#include "cpu/kernels/kernel_table.hpp"
#include "cpu/schedule.hpp"
#include "mimo_rt/engine.hpp"
#include "mimo_rt/plan.hpp"

namespace mimo_rt::cpu {

enum class Kernel : std::uint8_t { input, winograd, direct, copy, concat };

// A kernel position of a direct convolution: destination row y, column j read source row y * row_step + dy,
// column j * column_step + dx of a part.
struct PackedTap {
  int part = 0;
  int row_step = 1, dy = 0;
  int column_step = 1, dx = 0;
};

// One (row parity, column parity) of a transposed convolution's output, or the only phase of any other.
struct PackedPhase {
  std::vector<PackedTap> taps;
  std::size_t weights = 0;  // offset into Program's weights
  std::int64_t depth = 0;
};

struct PackedNode {
  Kernel kernel = Kernel::copy;
  bool shared = false;  // its weights are packed already, for an earlier node
  int block = 1;
  int tile = 0;                     // rows of a tile (winograd); 0: none
  int depth = 0;                    // of the transformed pixel (winograd)
  bool half_weights = false;        // transformed weights are kept in half precision (winograd)
  std::size_t weights = 0;          // offset into Program's weights (winograd)
  std::size_t bias = 0;             // offset into Program's weights; whole panels, zeros where there is none
  int phases = 1;                   // per axis (direct): 2 for a stride-2 transposed convolution
  std::vector<PackedPhase> direct;  // [row phase * phases + column phase]
};

class Program {
 public:
  // Checks that the plan's target runs here and that its tactics name kernels that fit. Throws BackendError,
  // PlanError.
  explicit Program(Plan plan);

  const Plan& plan() const noexcept { return plan_; }
  const Graph& graph() const noexcept { return plan_.graph; }
  const KernelTable& kernels() const noexcept { return *table_; }
  const Anchors& anchors() const noexcept { return anchors_; }
  const std::vector<PackedNode>& nodes() const noexcept { return nodes_; }
  const float* weights(std::size_t offset) const noexcept { return weights_.data() + offset; }
  void set_weights(const PackedNode& packed, WinogradJob& job) const;
  using WinogradKernel = void (*)(const WinogradJob& job, int first, int last);
  WinogradKernel winograd(int tile) const;
  bool half() const noexcept { return plan_.key.precision == "fp16"; }
  std::size_t packed_bytes() const noexcept { return weights_.floats() * sizeof(float); }

  // Chooses the neutral tactics by timing, once for each layer shape. Changes no bit of any result.
  void tune(const Timer& timer);

 private:
  std::size_t lay_out_node(std::size_t index, std::size_t at);
  bool packs_alike(std::size_t first, std::size_t second) const;
  void pack_node(std::size_t index);

  Plan plan_;
  const KernelTable* table_ = nullptr;
  Anchors anchors_;
  std::vector<PackedNode> nodes_;
  Arena weights_;
};

}  // namespace mimo_rt::cpu
