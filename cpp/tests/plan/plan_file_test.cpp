// The plan file: what is written comes back whole; what is cut, flipped, foreign or forged gives PlanError,
// never a crash and never much memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mimo_rt/error.hpp"
#include "mimo_rt/plan.hpp"
#include "plan/allocation_meter.hpp"
#include "plan/plan_file.hpp"
#include "plan/plan_layout.hpp"
#include "plan/reseal.hpp"
#include "plan/sample_plans.hpp"
#include "plan/sha256.hpp"

namespace mimo_rt {
namespace {

using testing_plans::every_kind_plan;
using testing_plans::load64;
using testing_plans::reseal;
using testing_plans::tiny_plan;
using Bytes = std::vector<std::byte>;

// The code of the PlanError that read_plan throws, "" if it reads the file; any other exception fails the
// test.
std::string code_of(std::span<const std::byte> bytes) {
  try {
    read_plan(bytes);
    return "";
  } catch (const PlanError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::plan);
    return error.code();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not a PlanError: " << error.what();
    return "other";
  }
}

std::string message_of(std::span<const std::byte> bytes) {
  try {
    read_plan(bytes);
  } catch (const PlanError& error) {
    return error.what();
  }
  return "";
}

void expect_equal(const Plan& a, const Plan& b) {
  EXPECT_EQ(a.key.model_sha256, b.key.model_sha256);
  EXPECT_EQ(a.key.kernel_hash, b.key.kernel_hash);
  EXPECT_EQ(a.key.target, b.key.target);
  EXPECT_EQ(a.key.precision, b.key.precision);
  EXPECT_EQ(a.key.options, b.key.options);
  EXPECT_EQ(a.key.machine, b.key.machine);
  EXPECT_EQ(a.producer, b.producer);
  EXPECT_EQ(a.graph.input, b.graph.input);
  EXPECT_EQ(a.graph.output, b.graph.output);
  EXPECT_EQ(a.graph.metadata, b.graph.metadata);
  ASSERT_EQ(a.graph.values.size(), b.graph.values.size());
  for (std::size_t i = 0; i < a.graph.values.size(); ++i) {
    EXPECT_EQ(a.graph.values[i].name, b.graph.values[i].name);
    EXPECT_EQ(a.graph.values[i].channels, b.graph.values[i].channels);
    EXPECT_EQ(a.graph.values[i].scale, b.graph.values[i].scale);
  }
  ASSERT_EQ(a.graph.tensors.size(), b.graph.tensors.size());
  for (std::size_t i = 0; i < a.graph.tensors.size(); ++i) {
    EXPECT_EQ(a.graph.tensors[i].dtype, b.graph.tensors[i].dtype);
    EXPECT_EQ(a.graph.tensors[i].shape, b.graph.tensors[i].shape);
    EXPECT_EQ(a.graph.tensors[i].data, b.graph.tensors[i].data);
  }
  ASSERT_EQ(a.graph.nodes.size(), b.graph.nodes.size());
  for (std::size_t i = 0; i < a.graph.nodes.size(); ++i) {
    const Node& m = a.graph.nodes[i];
    const Node& n = b.graph.nodes[i];
    EXPECT_EQ(m.op, n.op);
    EXPECT_EQ(m.name, n.name);
    EXPECT_EQ(m.output, n.output);
    EXPECT_EQ(m.kernel_h, n.kernel_h);
    EXPECT_EQ(m.kernel_w, n.kernel_w);
    EXPECT_EQ(m.stride, n.stride);
    EXPECT_EQ(m.pad_top, n.pad_top);
    EXPECT_EQ(m.pad_left, n.pad_left);
    EXPECT_EQ(m.weights, n.weights);
    EXPECT_EQ(m.bias, n.bias);
    ASSERT_EQ(m.parts.size(), n.parts.size());
    for (std::size_t j = 0; j < m.parts.size(); ++j) {
      EXPECT_EQ(m.parts[j].value, n.parts[j].value);
      EXPECT_EQ(m.parts[j].shift, n.parts[j].shift);
      EXPECT_EQ(m.parts[j].sampling, n.parts[j].sampling);
    }
    ASSERT_EQ(m.epilogue.size(), n.epilogue.size());
    for (std::size_t j = 0; j < m.epilogue.size(); ++j) {
      EXPECT_EQ(m.epilogue[j].kind, n.epilogue[j].kind);
      EXPECT_EQ(m.epilogue[j].value, n.epilogue[j].value);
      EXPECT_EQ(m.epilogue[j].up, n.epilogue[j].up);
      EXPECT_EQ(m.epilogue[j].sampling, n.epilogue[j].sampling);
      EXPECT_EQ(m.epilogue[j].quantum, n.epilogue[j].quantum);
    }
  }
  ASSERT_EQ(a.tactics.size(), b.tactics.size());
  for (std::size_t i = 0; i < a.tactics.size(); ++i) {
    EXPECT_EQ(a.tactics[i].kernel, b.tactics[i].kernel);
    EXPECT_EQ(a.tactics[i].block, b.tactics[i].block);
  }
}

TEST(PlanFile, ComesBackWhole) {
  for (const Plan& plan : {tiny_plan(), every_kind_plan()}) {
    const Bytes bytes = write_plan(plan);
    EXPECT_TRUE(is_plan(bytes));
    expect_equal(read_plan(bytes), plan);
    EXPECT_EQ(read_plan_key(bytes).machine, plan.key.machine);
    EXPECT_EQ(write_plan(read_plan(bytes)), bytes);
  }
}

// If this fails, the format changed: raise kPlanFormat, then put the new hash here.
TEST(PlanFile, TheFormatOfVersion3IsFixed) {
  ASSERT_EQ(kPlanFormat, 3U);
  EXPECT_EQ(hex(sha256(write_plan(tiny_plan()))),
            "dd8f1e3c7cd7d8af4f38dae1425dd94bd2d595e78e2b6e77273f6d7bf81fd207");
}

TEST(PlanFile, SectionsAndTensorsAreAligned) {
  const Plan plan = every_kind_plan();
  const Bytes bytes = write_plan(plan);
  for (std::size_t i = 0; i < plan_layout::kSectionCount; ++i) {
    const std::size_t row = plan_layout::kTableAt + i * plan_layout::kRowBytes;
    EXPECT_EQ(load64(bytes, row + plan_layout::kRowOffsetAt) % 64, 0U);
  }
  const std::size_t weights_row = plan_layout::kTableAt + 2 * plan_layout::kRowBytes;
  std::size_t at = load64(bytes, weights_row + plan_layout::kRowOffsetAt);
  for (const Tensor& tensor : plan.graph.tensors) {
    EXPECT_TRUE(
        std::equal(tensor.data.begin(), tensor.data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at)));
    at += (tensor.data.size() + 63) / 64 * 64;
  }
}

TEST(PlanFile, EveryTruncationIsFound) {
  const Bytes bytes = write_plan(tiny_plan());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_EQ(code_of(std::span(bytes).first(length)), "plan.truncated") << "first " << length << " bytes";
  }
}

TEST(PlanFile, EveryAlterationOfOneByteIsFound) {
  const Bytes bytes = write_plan(tiny_plan());
  ASSERT_LT(bytes.size(), 1000U);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (unsigned flip = 1; flip < 256; ++flip) {
      Bytes altered = bytes;
      altered[at] ^= static_cast<std::byte>(flip);
      const std::string code = code_of(altered);
      const char* expected = at < 8 ? "plan.not_a_plan" : at < 12 ? "plan.version" : "plan.corrupt";
      ASSERT_EQ(code, expected) << "byte " << at << " xor " << flip;
    }
  }
}

TEST(PlanFile, AppendedBytesAreFound) {
  Bytes bytes = write_plan(tiny_plan());
  for (const std::size_t more : {1, 2, 64, 1000}) {
    Bytes longer = bytes;
    longer.resize(bytes.size() + more);
    EXPECT_EQ(code_of(longer), "plan.corrupt");
  }
  Bytes twice = bytes;
  twice.insert(twice.end(), bytes.begin(), bytes.end());
  EXPECT_EQ(code_of(twice), "plan.corrupt");
}

TEST(PlanFile, ForeignFilesAreNamedSo) {
  for (const std::string text : {"x", "\x89PNG\r\n\x1a\n", "\x08\x07\x12\x07pytorch", "MIMOrt plan"}) {
    const auto bytes = std::as_bytes(std::span(text));
    EXPECT_EQ(code_of(bytes), "plan.not_a_plan");
    EXPECT_FALSE(is_plan(bytes));
  }
  EXPECT_FALSE(is_plan({}));
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    Bytes garbage(random() % 600);
    for (std::byte& byte : garbage) byte = static_cast<std::byte>(random());
    EXPECT_NE(code_of(garbage), "");
    const Bytes start = write_plan(tiny_plan());
    std::copy_n(start.begin(), std::min<std::size_t>(garbage.size(), 12 + random() % 300), garbage.begin());
    EXPECT_NE(code_of(garbage), "");
  }
}

TEST(PlanFile, ErrorsSayWhatToDo) {
  const Bytes bytes = write_plan(tiny_plan());
  Bytes newer = bytes;
  newer[plan_layout::kVersionAt] = std::byte{4};
  EXPECT_NE(message_of(newer).find("format version 4, this mimo_rt reads version 3"), std::string::npos);
  Bytes older = bytes;
  older[plan_layout::kVersionAt] = std::byte{2};
  EXPECT_NE(message_of(older).find("format version 2, this mimo_rt reads version 3"), std::string::npos);
  Bytes damaged = bytes;
  damaged.back() ^= std::byte{1};
  Plan broken = tiny_plan();
  broken.graph.output = 7;
  for (const Bytes& bad :
       {newer, older, damaged, Bytes(bytes.begin(), bytes.end() - 1), write_plan(broken)}) {
    const std::string message = message_of(bad);
    EXPECT_NE(message.find("build it again from the ONNX file"), std::string::npos) << message;
  }
}

// Well sealed, but not as our writer writes.
TEST(PlanFile, ForgedContentIsRefused) {
  const auto altered = [](const std::function<void(Plan&)>& change) {
    Plan plan = tiny_plan();
    change(plan);
    return code_of(write_plan(plan));
  };
  EXPECT_EQ(altered([](Plan&) {}), "");
  EXPECT_EQ(altered([](Plan& p) { p.tactics.pop_back(); }), "plan.malformed");
  EXPECT_EQ(altered([](Plan& p) { p.tactics.push_back({"direct", 1}); }), "plan.malformed");
  EXPECT_EQ(altered([](Plan& p) { p.tactics[1].block = -1; }), "plan.malformed");
  EXPECT_EQ(altered([](Plan& p) { p.graph.nodes[1].op = static_cast<Op>(5); }), "plan.malformed");
  EXPECT_EQ(altered([](Plan& p) { p.graph.tensors[0].dtype = static_cast<DType>(6); }), "plan.malformed");
  EXPECT_EQ(altered([](Plan& p) { p.graph.nodes[1].epilogue[0].kind = static_cast<EpilogueKind>(4); }),
            "plan.malformed");
  EXPECT_EQ(altered([](Plan& p) { p.graph.nodes[1].parts[0].sampling = static_cast<Sampling>(2); }),
            "plan.malformed");
  EXPECT_EQ(altered([](Plan& p) { p.graph.nodes[1].epilogue[0].sampling = static_cast<Sampling>(255); }),
            "plan.malformed");
  EXPECT_EQ(altered([](Plan& p) { p.graph.nodes[1].parts[0].sampling = Sampling::linear; }),
            "plan.invalid_graph");
  EXPECT_EQ(altered([](Plan& p) { p.graph.nodes.clear(), p.tactics.clear(); }), "plan.invalid_graph");
  EXPECT_EQ(altered([](Plan& p) { p.graph.nodes[1].parts[0].value = 9; }), "plan.invalid_graph");
  EXPECT_EQ(altered([](Plan& p) { p.graph.nodes[1].weights = 2; }), "plan.invalid_graph");
  EXPECT_EQ(altered([](Plan& p) { p.graph.tensors[0].data.pop_back(); }), "plan.invalid_graph");
  EXPECT_EQ(altered([](Plan& p) {
              p.graph.tensors[0].shape = {INT64_MAX, INT64_MAX};
            }),
            "plan.invalid_graph");
  EXPECT_EQ(altered([](Plan& p) { p.graph.nodes[1].stride = 0; }), "plan.invalid_graph");
}

TEST(PlanFile, ForgedSectionsAreRefused) {
  const Bytes bytes = write_plan(tiny_plan());
  const auto with = [&](std::size_t at, std::uint8_t value) {
    Bytes forged = bytes;
    forged[at] = static_cast<std::byte>(value);
    reseal(forged);
    return code_of(forged);
  };
  const std::size_t row = plan_layout::kTableAt + plan_layout::kRowBytes;  // the graph's
  EXPECT_EQ(with(12, 5), "plan.malformed");                                // number of sections
  EXPECT_EQ(with(row, 3), "plan.malformed");                               // kind
  EXPECT_EQ(with(row + 4, 1), "plan.malformed");                           // the zero
  EXPECT_EQ(with(row + plan_layout::kRowOffsetAt, 0), "plan.malformed");
  EXPECT_EQ(with(row + plan_layout::kRowLengthAt + 7, 255), "plan.malformed");
  EXPECT_EQ(with(plan_layout::kLengthAt + 4, 1), "plan.truncated");
  const std::size_t graph_end = load64(bytes, row + 8) + load64(bytes, row + 16);
  ASSERT_NE(graph_end % 64, 0U);
  EXPECT_EQ(with(graph_end, 1), "plan.corrupt");  // between two sections, under no hash
}

// The place of some bytes that occur once in the file.
std::size_t place_of(const Bytes& file, const Bytes& pattern) {
  const auto found = std::search(file.begin(), file.end(), pattern.begin(), pattern.end());
  EXPECT_TRUE(found != file.end());
  return static_cast<std::size_t>(found - file.begin());
}

TEST(PlanFile, ForgedTensorsAndMetadataAreRefused) {
  Plan plan = tiny_plan();
  plan.graph.metadata = {{"name-1", "x"}, {"name-2", "y"}};
  const Bytes bytes = write_plan(plan);
  const auto text = [](std::string_view characters) {
    const auto view = std::as_bytes(std::span(characters));
    return Bytes(view.begin(), view.end());
  };
  Bytes forged = bytes;
  forged[place_of(bytes, text("name-2")) + 5] = std::byte{'1'};  // the same name twice
  reseal(forged);
  EXPECT_EQ(code_of(forged), "plan.malformed");

  Bytes place(16);  // of the second tensor: offset 64, length 8
  place[0] = std::byte{64};
  place[8] = std::byte{8};
  const std::size_t at = place_of(bytes, place);
  for (const auto& [offset, length] :
       {std::pair(0, 8), std::pair(65, 8), std::pair(64, 65), std::pair(64, 0)}) {
    forged = bytes;
    forged[at] = static_cast<std::byte>(offset);
    forged[at + 8] = static_cast<std::byte>(length);
    reseal(forged);
    EXPECT_EQ(code_of(forged), "plan.malformed") << offset << ", " << length;
  }
  const std::size_t weights = load64(bytes, plan_layout::kTableAt + 2 * plan_layout::kRowBytes + 8);
  forged = bytes;
  forged[weights + 63] = std::byte{1};  // between two tensors
  reseal(forged);
  EXPECT_EQ(code_of(forged), "plan.malformed");
}

// Bytes behind the last section, with the length of the file set so that it takes them in.
TEST(PlanFile, BytesOutsideAllSectionsAreRefused) {
  Bytes forged = write_plan(tiny_plan());
  ASSERT_LT(std::to_integer<int>(forged[plan_layout::kLengthAt]), 255);
  forged[plan_layout::kLengthAt] =
      static_cast<std::byte>(std::to_integer<int>(forged[plan_layout::kLengthAt]) + 1);
  forged.push_back(std::byte{0});
  reseal(forged);
  EXPECT_EQ(code_of(forged), "plan.malformed");
}

TEST(PlanFile, WriterRefusesWhatTheReaderWould) {
  Plan plan = tiny_plan();
  plan.graph.nodes[0].name.assign(plan_layout::kMaxText + 1, 'n');
  EXPECT_THROW(write_plan(plan), PlanError);
  plan = tiny_plan();
  plan.graph.tensors[0].shape.assign(9, 1);
  EXPECT_THROW(write_plan(plan), PlanError);
}

// Every number of the file, one after another, made huge under right hashes: whether it is a count, a length,
// an index or a flag, the reader refuses or reads it and takes no more memory than a small multiple of the
// file.
TEST(PlanFile, HugeNumbersTakeNoMemory) {
  for (const Plan& plan : {tiny_plan(), every_kind_plan()}) {
    const Bytes bytes = write_plan(plan);
    const std::size_t weights_row = plan_layout::kTableAt + 2 * plan_layout::kRowBytes;
    const std::size_t weights_at = load64(bytes, weights_row + plan_layout::kRowOffsetAt);
    const std::size_t weights_end = weights_at + load64(bytes, weights_row + plan_layout::kRowLengthAt);
    for (std::size_t at = 12; at < bytes.size(); ++at) {
      if (at >= weights_at && at < weights_end) continue;
      for (const std::size_t width : {4, 8}) {
        for (const int top : {0xff, 0x7f, 0x10, 0x00}) {
          Bytes forged = bytes;
          for (std::size_t i = 0; i < width && at + i < forged.size(); ++i) {
            forged[at + i] = static_cast<std::byte>(i + 1 == width ? top : top == 0x10 ? 0x00 : 0xff);
          }
          reseal(forged);
          const std::size_t before = testing_plans::bytes_requested();
          const std::string code = code_of(forged);
          ASSERT_LT(testing_plans::bytes_requested() - before, 20 * bytes.size() + 4096)
              << "byte " << at << ", code " << code;
          ASSERT_NE(code, "other") << "byte " << at;
        }
      }
    }
  }
}

// What is read is what would be written: random damage under right hashes either gives PlanError or another
// good file.
TEST(PlanFile, ReaderAcceptsOnlyWhatTheWriterWrites) {
  std::mt19937 random(11);
  const Bytes originals[] = {write_plan(tiny_plan()), write_plan(every_kind_plan())};
  int accepted = 0;
  for (int round = 0; round < 6000; ++round) {
    Bytes forged = originals[round % 2];
    for (unsigned changes = 1 + random() % 3; changes > 0; --changes) {
      forged[12 + random() % (forged.size() - 12)] =
          static_cast<std::byte>(random() % 3 == 0 ? random() : random() % 4);
    }
    if (random() % 8 == 0) forged.resize(random() % forged.size());
    reseal(forged);
    try {
      EXPECT_EQ(write_plan(read_plan(forged)), forged);
      ++accepted;
    } catch (const PlanError&) {
    }
  }
  EXPECT_GT(accepted, 100);
}

}  // namespace
}  // namespace mimo_rt
