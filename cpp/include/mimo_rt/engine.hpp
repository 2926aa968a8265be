// Engine: a loaded plan, ready to run. Immutable; one engine serves many Deblurrers and threads.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mimo_rt/graph.hpp"
#include "mimo_rt/plan.hpp"

namespace mimo_rt {

// Seconds that one way of running a node takes; `label` names node, kernel and block. Tests give their own.
using Timer = std::function<double(std::string_view label, const std::function<void()>& run)>;

struct BuildOptions {
  // "fp32", or "fp16": activations in half precision, weights too where a picture shows no difference,
  // arithmetic in single.
  std::string precision = "fp32";
  std::string target;  // instruction set by name ("AVX2"); empty: the best that this processor has
  // "fixed": the numeric rule. "f4": smaller Winograd tiles, slower, with a third of the rounding error.
  // "direct": direct convolution everywhere, slower, whose rounding reaches no further than the receptive
  // field; for reference and comparison. "search": for each layer the fastest of these by the clock, so that
  // the bits depend on the machine that built the plan.
  std::string tactics = "fixed";
  Timer timer;  // of the neutral tactics; empty: the clock

  // Where plans are cached. Default: the user's cache folder; a folder that cannot be used is passed over in
  // silence (the plan then lives in memory only).
  bool cache = true;
  std::filesystem::path
      cache_folder;  // empty: $MIMO_RT_CACHE, else $XDG_CACHE_HOME/mimo_rt, else ~/.cache/mimo_rt
};

namespace cpu {
class Program;  // packed weights and the schedule (cpp/src/cpu)
}

class Engine {
 public:
  // From an ONNX file or its bytes (then without external data). Throws ModelError, BackendError.
  static Engine build(const std::filesystem::path& onnx, const BuildOptions& options = {});
  static Engine build(std::span<const std::byte> onnx, const BuildOptions& options = {});

  // From a plan file or its bytes. A plan made for an instruction set that this machine lacks: BackendError.
  static Engine load(const std::filesystem::path& plan);
  static Engine load(std::span<const std::byte> plan);

  // Writes the plan: to a temporary name beside `path`, then renamed.
  void save(const std::filesystem::path& path) const;
  std::vector<std::byte> serialize() const;

  const Plan& plan() const;
  const cpu::Program& program() const { return *program_; }
  std::size_t packed_bytes() const;  // of weights packed for the kernels, shared by all Deblurrers

  // Where the plan came from, for people: "cache hit", "built: no cached plan", "built: kernels changed",
  // "plan file".
  const std::string& origin() const { return origin_; }

 private:
  explicit Engine(std::shared_ptr<const cpu::Program> program, std::string origin);
  std::shared_ptr<const cpu::Program> program_;
  std::string origin_;
};

// Instruction sets by name, best first: those that this library holds, and those of them that this processor
// runs.
std::vector<std::string> compiled_targets();
std::vector<std::string> available_targets();

}  // namespace mimo_rt
