// Engine: ONNX to plan, plan to program, by way of the cache.
#include "mimo_rt/engine.hpp"

#include <optional>
#include <utility>

#include "core/file.hpp"
#include "core/folders.hpp"
#include "cpu/half_weights.hpp"
#include "cpu/program.hpp"
#include "cpu/search.hpp"
#include "cpu/tactics.hpp"
#include "graph/onnx_reader.hpp"
#include "mimo_rt/error.hpp"
#include "plan/plan_cache.hpp"
#include "plan/plan_key.hpp"

namespace mimo_rt {
namespace {

std::string choose_target(const std::string& wanted) {
  const std::vector<std::string> available = available_targets();
  if (wanted.empty()) return available.front();
  for (const std::string& name : available) {
    if (name == wanted) return name;
  }
  std::string list;
  for (const std::string& name : available) list += (list.empty() ? "" : ", ") + name;
  throw BackendError("backend.target", "the instruction set '" + wanted.substr(0, 40) +
                                           "' does not run here; available: " + list);
}

struct Built {
  std::shared_ptr<const cpu::Program> program;
  std::string origin;
};

// Rounding to half precision moves values off the 8-bit grid that the model asks for.
void refuse_quantised(const Graph& graph) {
  for (const Node& node : graph.nodes)
    for (const EpilogueOp& step : node.epilogue)
      if (step.kind == EpilogueKind::quantise)
        throw BackendError(
            "backend.precision",
            "the model quantises its values to 8 bits, which precision 'fp16' would round anew; "
            "use 'fp32'");
}

Built build_program(std::span<const std::byte> onnx, const std::filesystem::path& folder,
                    const BuildOptions& options) {
  if (options.precision != "fp32" && options.precision != "fp16") {
    throw BackendError("backend.precision",
                       "the precision '" + options.precision.substr(0, 40) +
                           "' is not supported by the CPU backend; use 'fp32' or 'fp16'");
  }
  const bool search = options.tactics == "search";
  if (!search && options.tactics != "fixed" && options.tactics != "f4" && options.tactics != "direct") {
    throw BackendError("backend.tactics", "tactics are 'fixed', 'f4', 'direct' or 'search', not '" +
                                              options.tactics.substr(0, 40) + "'");
  }
  const std::string target = choose_target(options.target);
  // What identifies the model: the ONNX bytes, and the weights as read where they lie in other files.
  std::optional<Graph> graph;
  std::vector<std::span<const std::byte>> files{onnx};
  if (has_external_data(onnx)) {
    graph = read_onnx(onnx, folder);
    for (const Tensor& tensor : graph->tensors) files.emplace_back(tensor.data);
  }
  const PlanKey key = make_plan_key(files, target, options.precision,
                                    options.tactics == "fixed" ? "" : "tactics=" + options.tactics);

  // Timings that a caller gives are not this machine's: such a plan is neither looked up nor kept.
  std::filesystem::path cache;
  if (options.cache && !options.timer)
    cache = options.cache_folder.empty() ? default_cache_folder() : options.cache_folder;
  std::string reason = options.timer ? "timings were given" : "no cache";
  if (!cache.empty()) {
    if (std::optional<Plan> plan = lookup(cache, key, reason)) {
      try {
        return {std::make_shared<const cpu::Program>(*std::move(plan)), "cache hit"};
      } catch (const PlanError&) {
        reason = "cached plan does not fit";
      }
    }
  }
  Plan plan;
  plan.key = key;
  plan.producer = "mimo_rt " MIMO_RT_VERSION;
  plan.graph = graph ? *std::move(graph) : read_onnx(onnx, folder);
  if (options.precision == "fp16") refuse_quantised(plan.graph);
  plan.tactics = cpu::tactics_for(plan.graph, search ? "fixed" : options.tactics);
  if (search) cpu::search_tactics(plan);
  if (options.precision == "fp16") cpu::take_half_weights(plan);
  auto program = std::make_shared<cpu::Program>(std::move(plan));
  program->tune(options.timer);
  if (!cache.empty()) store(cache, program->plan());
  return {std::move(program), "built: " + reason};
}

}  // namespace

Engine::Engine(std::shared_ptr<const cpu::Program> program, std::string origin)
    : program_(std::move(program)), origin_(std::move(origin)) {}

Engine Engine::build(const std::filesystem::path& onnx, const BuildOptions& options) {
  const std::vector<std::byte> bytes = read_file(onnx, ErrorKind::model);
  std::filesystem::path folder = onnx.parent_path();
  if (folder.empty()) folder = ".";
  Built built = build_program(bytes, folder, options);
  return Engine(std::move(built.program), std::move(built.origin));
}

Engine Engine::build(std::span<const std::byte> onnx, const BuildOptions& options) {
  Built built = build_program(onnx, {}, options);
  return Engine(std::move(built.program), std::move(built.origin));
}

Engine Engine::load(const std::filesystem::path& plan) { return load(read_file(plan, ErrorKind::plan)); }

Engine Engine::load(std::span<const std::byte> plan) {
  Plan read = read_plan(plan);
  if (read.key.kernel_hash != kernel_hash()) {
    throw PlanError("plan.other_kernels",
                    "the plan was made by " + read.producer.substr(0, 80) +
                        ", whose kernels differ from this version's; build it again from the ONNX");
  }
  return Engine(std::make_shared<const cpu::Program>(std::move(read)), "plan file");
}

void Engine::save(const std::filesystem::path& path) const { write_file_atomically(path, serialize()); }

std::vector<std::byte> Engine::serialize() const { return write_plan(plan()); }

const Plan& Engine::plan() const { return program_->plan(); }

std::size_t Engine::packed_bytes() const { return program_->packed_bytes(); }

std::vector<std::string> available_targets() {
  std::vector<std::string> names;
  const cpu::TargetList compiled = cpu::compiled_targets();
  for (std::size_t i = 0; i < compiled.count; ++i) {
    if (cpu::target_runs_here(compiled.names[i])) names.emplace_back(compiled.names[i]);
  }
  return names;
}

std::vector<std::string> compiled_targets() {
  const cpu::TargetList compiled = cpu::compiled_targets();
  return {compiled.names, compiled.names + compiled.count};
}

}  // namespace mimo_rt
