// Thousands of damaged models: whatever the bytes, the reader gives a valid graph or a typed error, and takes
// no more memory than the file's size allows. A short version of what the libFuzzer target in cpp/fuzz does
// without end.
#include <cstdlib>
#include <new>

#include "graph_testing.hpp"

namespace {

// Bytes allocated now and at most, counted by the replaced operator new of this test program.
thread_local std::size_t allocated = 0, most_allocated = 0;

}  // namespace

void* operator new(std::size_t size) {
  auto* block = static_cast<std::size_t*>(std::malloc(size + 2 * sizeof(std::size_t)));
  if (block == nullptr) throw std::bad_alloc();
  *block = size;
  allocated += size;
  if (allocated > most_allocated) most_allocated = allocated;
  return block + 2;
}

void operator delete(void* pointer) noexcept {
  if (pointer == nullptr) return;
  auto* block = static_cast<std::size_t*>(pointer) - 2;
  allocated -= *block;
  std::free(block);
}

void operator delete(void* pointer, std::size_t) noexcept { operator delete(pointer); }

namespace mimo_rt::testing {
namespace {

// Reads one model; returns its error code, or "" after checking the graph. Counts what the reader allocated.
std::string outcome(const std::string& onnx) {
  const std::size_t before = allocated;
  most_allocated = allocated;
  std::string code;
  try {
    const Graph g = read(onnx);
    validate(g);
    receptive_field(g);
    macs_per_pixel(g);
  } catch (const ModelError& e) {
    code = e.code();
    EXPECT_TRUE(code.starts_with("model.")) << code;
    EXPECT_NE(code, "model.invalid_graph")
        << "the reader made a graph that breaks its own rules: " << e.what();
  }
  // The file itself is one of the two times that its size may take.
  const std::size_t taken = most_allocated - before;
  EXPECT_LE(taken, (code.empty() ? 2 : 1) * onnx.size() + (std::size_t{16} << 20));
  return code;
}

class Mutations : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(Mutations, GiveAGraphOrATypedError) {
  std::mt19937 random(GetParam());
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const ResizeStyle styles[] = {ResizeStyle::scales, ResizeStyle::shape_chain, ResizeStyle::gather};
  const Sampling up = GetParam() % 2 == 0 ? Sampling::nearest : Sampling::linear;
  const std::string model = mimo_unet_onnx(4, {1, 1, 1}, GetParam(), styles[GetParam() % 3], up);
  std::map<std::string, int> codes;
  for (int i = 0; i < 600; ++i) {
    std::string m = model;
    for (std::size_t n = 1 + below(4); n > 0 && !m.empty(); --n) {
      const std::size_t at = below(m.size());
      switch (below(6)) {
        case 0:
          m[at] = static_cast<char>(m[at] ^ (1 << below(8)));
          break;
        case 1:
          m[at] = static_cast<char>(below(256));
          break;
        case 2:
          m[at] = static_cast<char>(below(2) ? 0x7f : 0xff);
          break;
        case 3:
          m.erase(at, 1 + below(8));
          break;
        case 4:
          m.insert(at, m.substr(below(m.size()), 1 + below(40)));
          break;
        default: {
          const std::size_t length = std::min(1 + below(16), m.size() - at);
          m.replace(at, length, m.substr(below(m.size() - length + 1), length));
        }
      }
    }
    ++codes[outcome(m)];
  }
  EXPECT_GT(codes.size(), 6u) << "the mutations reach too few checks";
  EXPECT_GT(codes[""], 20) << "most flips in weights do no harm";
}

INSTANTIATE_TEST_SUITE_P(Seeds, Mutations, ::testing::Range<std::uint32_t>(0, 6));

// Files whose small fields ask for much memory.
TEST(ReaderMemory, StaysNearTheFileSize) {
  const auto shell = [] {
    OnnxModel m;
    m.input("x", {1, 3, -1, -1}).output("y");
    return m;
  };
  OnnxModel nodes = shell();
  for (int i = 0; i < 8191; ++i) nodes.node("Relu", {"x"}, {numbered("v", i)});
  EXPECT_EQ(outcome(nodes.bytes()), "model.missing_tensor");

  OnnxModel constants = shell();
  for (int i = 0; i < 16000; ++i) constants.constant(int_tensor(numbered("c", i), {1}, {1}));
  EXPECT_EQ(outcome(constants.bytes()), "model.missing_tensor");

  // One set of weights, shared by many convolutions over many parts: slices and copies of it must be shared
  // too.
  OnnxModel shared = shell();
  shared.constant(float_tensor("w", {3, 99, 1, 1}, std::vector<float>(297, 0.1f)));
  shared.constant(float_tensor("half", {4}, {1, 1, 0.5f, 0.5f}))
      .constant(float_tensor("twice", {4}, {1, 1, 2, 2}));
  const std::vector<OnnxAttribute> floor = {{"coordinate_transformation_mode", std::string("asymmetric")}};
  std::string at = "x";
  for (int i = 0; i < 1000; ++i) {
    const std::string small = numbered("s", i), large = numbered("l", i), joined = numbered("j", i);
    shared.node("Resize", {at, "", "half"}, {small}, floor)
        .node("Resize", {small, "", "twice"}, {large}, floor);
    std::vector<std::string> parts(33, at);
    parts[5] = parts[7] = large;
    shared.node("Concat", parts, {joined}, {{"axis", std::int64_t{1}}});
    at = i == 999 ? "y" : numbered("v", i);
    shared.node("Conv", {joined, "w"}, {at});
  }
  EXPECT_EQ(outcome(shared.bytes()), "");

  // Concatenations that double: 2^16 parts if they were unfolded.
  OnnxModel doubled = shell();
  at = "x";
  for (int i = 0; i < 14; ++i) {
    const std::string next = numbered("d", i);
    doubled.node("Concat", {at, at}, {next}, {{"axis", std::int64_t{1}}});
    at = next;
  }
  doubled.constant(float_tensor("w", {3, 3 << 14, 1, 1}, std::vector<float>(9 << 14, 0.0f)));
  doubled.node("Conv", {at, "w"}, {"y"});
  EXPECT_EQ(outcome(doubled.bytes()), "");
}

}  // namespace
}  // namespace mimo_rt::testing
