// The plan file: writer and reader. Equal plans give equal bytes. The reader takes a file for hostile: it
// checks every length before it takes memory, accepts only what the writer writes, and lets validate() judge
// the graph.
#include "plan/plan_file.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <utility>

#include "mimo_rt/error.hpp"
#include "plan/byte_stream.hpp"
#include "plan/plan_layout.hpp"
#include "plan/sha256.hpp"

namespace mimo_rt {
namespace {

namespace layout = plan_layout;

// Sizes of the smallest encodings, which bound how many entries the bytes left can hold.
constexpr std::size_t kTextBytes = 4;
constexpr std::size_t kValueBytes = kTextBytes + 4 + 4;
constexpr std::size_t kTensorBytes = 1 + 1 + 8 + 8;
constexpr std::size_t kPartBytes = 4 + 4 + 1;
constexpr std::size_t kEpilogueBytes = 1 + 4 + 4 + 1 + 4;
constexpr std::size_t kNodeBytes = 1 + kTextBytes + 4 + 4 + 5 * 4 + 2 * 4 + 4;
constexpr std::size_t kMetadataBytes = 2 * kTextBytes;
constexpr std::size_t kTacticBytes = kTextBytes + 4;

constexpr const char* kRebuild = "; build it again from the ONNX file";

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

// ---- key ----

std::vector<std::byte> write_key(const Plan& plan) {
  ByteWriter out;
  for (const std::string* text :
       {&plan.key.model_sha256, &plan.key.kernel_hash, &plan.key.target, &plan.key.precision,
        &plan.key.options, &plan.key.machine, &plan.producer}) {
    out.text(*text, layout::kMaxText);
  }
  return out.take();
}

void read_key(std::span<const std::byte> bytes, PlanKey& key, std::string& producer) {
  ByteReader in(bytes, "key");
  for (std::string* text : {&key.model_sha256, &key.kernel_hash, &key.target, &key.precision, &key.options,
                            &key.machine, &producer}) {
    *text = in.text(layout::kMaxText);
  }
  in.expect_end();
}

// ---- graph, with the tensors' places in the section of weights ----

void write_node(ByteWriter& out, const Node& node) {
  out.number(static_cast<std::uint8_t>(node.op));
  out.text(node.name, layout::kMaxText);
  out.count(node.parts.size());
  for (const Part& part : node.parts) {
    out.number(part.value);
    out.number(part.shift);
    out.number(static_cast<std::uint8_t>(part.sampling));
  }
  out.number(node.output);
  for (const std::int32_t number :
       {node.kernel_h, node.kernel_w, node.stride, node.pad_top, node.pad_left, node.weights, node.bias}) {
    out.number(number);
  }
  out.count(node.epilogue.size());
  for (const EpilogueOp& step : node.epilogue) {
    out.number(static_cast<std::uint8_t>(step.kind));
    out.number(step.value);
    out.number(step.up);
    out.number(static_cast<std::uint8_t>(step.sampling));
    out.number(std::bit_cast<std::uint32_t>(step.quantum));
  }
}

Sampling read_sampling(ByteReader& in) {
  const auto sampling = in.number<std::uint8_t>();
  if (sampling > static_cast<std::uint8_t>(Sampling::linear)) {
    in.malformed("the unknown sampling " + std::to_string(sampling));
  }
  return static_cast<Sampling>(sampling);
}

Node read_node(ByteReader& in) {
  Node node;
  const auto op = in.number<std::uint8_t>();
  if (op > static_cast<std::uint8_t>(Op::concat)) in.malformed("the unknown operator " + std::to_string(op));
  node.op = static_cast<Op>(op);
  node.name = in.text(layout::kMaxText);
  node.parts.resize(in.count(kPartBytes));
  for (Part& part : node.parts) {
    part.value = in.number<ValueId>();
    part.shift = in.number<std::int32_t>();
    part.sampling = read_sampling(in);
  }
  node.output = in.number<ValueId>();
  for (std::int32_t* number : {&node.kernel_h, &node.kernel_w, &node.stride, &node.pad_top, &node.pad_left,
                               &node.weights, &node.bias}) {
    *number = in.number<std::int32_t>();
  }
  node.epilogue.resize(in.count(kEpilogueBytes));
  for (EpilogueOp& step : node.epilogue) {
    const auto kind = in.number<std::uint8_t>();
    if (kind > static_cast<std::uint8_t>(EpilogueKind::quantise)) {
      in.malformed("the unknown epilogue step " + std::to_string(kind));
    }
    step.kind = static_cast<EpilogueKind>(kind);
    step.value = in.number<ValueId>();
    step.up = in.number<std::int32_t>();
    step.sampling = read_sampling(in);
    step.quantum = std::bit_cast<float>(in.number<std::uint32_t>());
  }
  return node;
}

std::vector<std::byte> write_graph(const Graph& graph) {
  ByteWriter out;
  out.number(graph.input);
  out.number(graph.output);
  out.count(graph.values.size());
  for (const Value& value : graph.values) {
    out.text(value.name, layout::kMaxText);
    out.number(value.channels);
    out.number(value.scale);
  }
  out.count(graph.tensors.size());
  std::uint64_t offset = 0;
  for (const Tensor& tensor : graph.tensors) {
    out.number(static_cast<std::uint8_t>(tensor.dtype));
    if (tensor.shape.size() > layout::kMaxRank) {
      throw PlanError("plan.too_large", "a tensor of " + std::to_string(tensor.shape.size()) +
                                            " dimensions does not fit into a plan file; simplify the model");
    }
    out.number(static_cast<std::uint8_t>(tensor.shape.size()));
    for (const std::int64_t extent : tensor.shape) out.number(extent);
    out.number(offset);
    out.number(static_cast<std::uint64_t>(tensor.data.size()));
    offset = layout::aligned(offset + tensor.data.size());
  }
  out.count(graph.nodes.size());
  for (const Node& node : graph.nodes) write_node(out, node);
  out.count(graph.metadata.size());
  for (const auto& [name, value] : graph.metadata) {
    out.text(name, layout::kMaxText);
    out.text(value, layout::kMaxText);
  }
  return out.take();
}

std::vector<std::byte> write_weights(const Graph& graph) {
  ByteWriter out;
  std::size_t size = 0;
  for (const Tensor& tensor : graph.tensors) size = layout::aligned(size + tensor.data.size());
  out.reserve(size);
  for (const Tensor& tensor : graph.tensors) {
    out.raw(tensor.data);
    out.zeros_up_to(layout::aligned(out.size()));
  }
  return out.take();
}

// Tensors lie one after another in the weights, so that no byte is used twice: however many tensors a file
// declares, they never take more memory than the section has bytes.
Tensor read_tensor(ByteReader& in, ByteReader& weights, std::size_t weights_size) {
  Tensor tensor;
  const auto dtype = in.number<std::uint8_t>();
  if (dtype > static_cast<std::uint8_t>(DType::i64))
    in.malformed("the unknown type " + std::to_string(dtype));
  tensor.dtype = static_cast<DType>(dtype);
  const auto rank = in.number<std::uint8_t>();
  if (rank > layout::kMaxRank) in.malformed("a tensor of " + std::to_string(rank) + " dimensions");
  tensor.shape.resize(rank);
  for (std::int64_t& extent : tensor.shape) extent = in.number<std::int64_t>();
  const auto offset = in.number<std::uint64_t>();
  const auto length = in.number<std::uint64_t>();
  if (offset != weights_size - weights.left()) in.malformed("a tensor that is not beside the one before it");
  if (length > weights.left()) in.malformed("a tensor longer than the weights");
  const std::span<const std::byte> data = weights.raw(static_cast<std::size_t>(length));
  tensor.data.assign(data.begin(), data.end());
  if (!all_zero(weights.raw(static_cast<std::size_t>(layout::aligned(length) - length)))) {
    weights.malformed("something between two tensors");
  }
  return tensor;
}

Graph read_graph(std::span<const std::byte> bytes, std::span<const std::byte> weight_bytes) {
  ByteReader in(bytes, "graph");
  ByteReader weights(weight_bytes, "weights");
  Graph graph;
  graph.input = in.number<ValueId>();
  graph.output = in.number<ValueId>();
  graph.values.resize(in.count(kValueBytes));
  for (Value& value : graph.values) {
    value.name = in.text(layout::kMaxText);
    value.channels = in.number<std::int32_t>();
    value.scale = in.number<std::int32_t>();
  }
  graph.tensors.resize(in.count(kTensorBytes));
  for (Tensor& tensor : graph.tensors) tensor = read_tensor(in, weights, weight_bytes.size());
  weights.expect_end();
  graph.nodes.resize(in.count(kNodeBytes));
  for (Node& node : graph.nodes) node = read_node(in);
  for (std::uint32_t left = in.count(kMetadataBytes); left > 0; --left) {
    std::string name = in.text(layout::kMaxText);
    if (!graph.metadata.empty() && name <= graph.metadata.rbegin()->first) in.malformed("unsorted metadata");
    std::string value = in.text(layout::kMaxText);
    graph.metadata.emplace_hint(graph.metadata.end(), std::move(name), std::move(value));
  }
  in.expect_end();
  return graph;
}

// ---- tactics ----

std::vector<std::byte> write_tactics(const std::vector<Tactic>& tactics) {
  ByteWriter out;
  out.count(tactics.size());
  for (const Tactic& tactic : tactics) {
    out.text(tactic.kernel, layout::kMaxText);
    out.number(tactic.block);
  }
  return out.take();
}

std::vector<Tactic> read_tactics(std::span<const std::byte> bytes) {
  ByteReader in(bytes, "list of tactics");
  std::vector<Tactic> tactics(in.count(kTacticBytes));
  for (Tactic& tactic : tactics) {
    tactic.kernel = in.text(layout::kMaxText);
    tactic.block = in.number<std::int32_t>();
    if (tactic.block < 0) in.malformed("the block size " + std::to_string(tactic.block));
  }
  in.expect_end();
  return tactics;
}

// ---- header and sections ----

[[noreturn]] void corrupt(const std::string& where) {
  throw PlanError("plan.corrupt", "the plan file is damaged (" + where + ")" + kRebuild);
}
[[noreturn]] void malformed(const std::string& what) {
  throw PlanError("plan.malformed", "the plan file makes no sense (" + what + ")" + kRebuild);
}

bool equals(std::span<const std::byte> stored, const Digest& digest) {
  return std::equal(digest.begin(), digest.end(), stored.begin(), stored.end());
}

// Bytes 0-23 and the section table: what the header's own hash covers.
Digest header_digest(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes.first(layout::kHeaderHashAt));
  hash.update(bytes.subspan(layout::kTableAt, layout::kHeaderBytes - layout::kTableAt));
  return hash.finish();
}

struct SectionBytes {
  std::span<const std::byte> bytes;
  std::span<const std::byte> hash;  // as the table states it
};

class Sections {
 public:
  // Checks everything but the sections' own hashes.
  explicit Sections(std::span<const std::byte> file) {
    const auto magic = std::as_bytes(std::span(layout::kMagic));
    if (!std::equal(file.begin(),
                    file.begin() + static_cast<std::ptrdiff_t>(std::min(file.size(), magic.size())),
                    magic.begin())) {
      throw PlanError(
          "plan.not_a_plan",
          "this is not a plan file of mimo_rt; give a plan that was saved, or build one from an ONNX file");
    }
    if (file.size() < layout::kVersionAt + 4) truncated(file.size());
    const auto version = ByteReader(file.subspan(layout::kVersionAt), "header").number<std::uint32_t>();
    if (version != kPlanFormat) {
      throw PlanError("plan.version", "the plan file has format version " + std::to_string(version) +
                                          ", this mimo_rt reads version " + std::to_string(kPlanFormat) +
                                          kRebuild);
    }
    if (file.size() < layout::kHeaderBytes) truncated(file.size());
    if (!equals(file.subspan(layout::kHeaderHashAt, Digest().size()), header_digest(file)))
      corrupt("in its header");

    ByteReader in(file.subspan(layout::kVersionAt + 4), "header");
    if (in.number<std::uint32_t>() != layout::kSectionCount) malformed("it has another number of sections");
    const auto length = in.number<std::uint64_t>();
    if (file.size() < length) truncated(file.size());
    if (file.size() > length) corrupt("bytes were appended");

    ByteReader table(file.subspan(layout::kTableAt), "section table");
    std::uint64_t end = layout::kHeaderBytes;
    for (std::uint32_t i = 0; i < layout::kSectionCount; ++i) {
      const auto kind = table.number<std::uint32_t>();
      const auto zero = table.number<std::uint32_t>();
      const auto at = table.number<std::uint64_t>();
      const auto size = table.number<std::uint64_t>();
      if (kind != i + 1 || zero != 0) malformed("a section of an unknown kind");
      if (at != layout::aligned(end) || at > length || size > length - at)
        malformed("a section in a wrong place");
      if (!all_zero(file.subspan(end, at - end))) corrupt("between two sections");
      sections_[i] = {file.subspan(at, size), table.raw(Digest().size())};
      end = at + size;
    }
    if (end != length) malformed("bytes outside all sections");
  }

  // The bytes of one section, after checking their hash.
  std::span<const std::byte> checked(layout::Section kind) const {
    static constexpr std::array<const char*, layout::kSectionCount> kNames = {"key", "graph", "weights",
                                                                              "tactics"};
    const SectionBytes& section = sections_[kind - 1];
    if (!equals(section.hash, sha256(section.bytes)))
      corrupt(std::string("in the section '") + kNames[kind - 1] + "'");
    return section.bytes;
  }

 private:
  [[noreturn]] static void truncated(std::size_t size) {
    throw PlanError("plan.truncated", "the plan file is cut short, after " + std::to_string(size) + " bytes" +
                                          std::string(kRebuild));
  }

  std::array<SectionBytes, layout::kSectionCount> sections_;
};

}  // namespace

bool is_plan(std::span<const std::byte> bytes) {
  const auto magic = std::as_bytes(std::span(layout::kMagic));
  return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

std::vector<std::byte> write_plan(const Plan& plan) {
  const std::array<std::vector<std::byte>, layout::kSectionCount> sections = {
      write_key(plan), write_graph(plan.graph), write_weights(plan.graph), write_tactics(plan.tactics)};

  ByteWriter table;
  std::uint64_t end = layout::kHeaderBytes;
  for (std::uint32_t i = 0; i < layout::kSectionCount; ++i) {
    const std::uint64_t at = layout::aligned(end);
    table.number(i + 1);
    table.number(std::uint32_t{0});
    table.number(at);
    table.number(static_cast<std::uint64_t>(sections[i].size()));
    table.raw(sha256(sections[i]));
    end = at + sections[i].size();
  }

  ByteWriter out;
  out.reserve(static_cast<std::size_t>(end));
  out.raw(std::as_bytes(std::span(layout::kMagic)));
  out.number(kPlanFormat);
  out.number(layout::kSectionCount);
  out.number(end);
  out.zeros_up_to(layout::kTableAt);  // the place of the header's hash
  out.raw(table.take());
  for (const std::vector<std::byte>& section : sections) {
    out.zeros_up_to(static_cast<std::size_t>(layout::aligned(out.size())));
    out.raw(section);
  }
  std::vector<std::byte> file = out.take();
  const Digest digest = header_digest(file);
  std::copy(digest.begin(), digest.end(), file.begin() + layout::kHeaderHashAt);
  return file;
}

Plan read_plan(std::span<const std::byte> bytes) {
  const Sections sections(bytes);
  Plan plan;
  read_key(sections.checked(layout::key), plan.key, plan.producer);
  plan.graph = read_graph(sections.checked(layout::graph), sections.checked(layout::weights));
  plan.tactics = read_tactics(sections.checked(layout::tactics));
  if (plan.tactics.size() != plan.graph.nodes.size()) {
    malformed(std::to_string(plan.tactics.size()) + " tactics for " +
              std::to_string(plan.graph.nodes.size()) + " nodes");
  }
  try {
    validate(plan.graph);
  } catch (const ModelError& error) {  // its sentence says to build again
    throw PlanError("plan.invalid_graph",
                    "the plan file holds a graph that cannot be run: " + std::string(error.what()));
  }
  return plan;
}

PlanKey read_plan_key(std::span<const std::byte> bytes) {
  PlanKey key;
  std::string producer;
  read_key(Sections(bytes).checked(layout::key), key, producer);
  return key;
}

}  // namespace mimo_rt
