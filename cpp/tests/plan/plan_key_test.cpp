// Keys: what goes into them and how their differences read.
#include "plan/plan_key.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "plan/sha256.hpp"

namespace mimo_rt {
namespace {

std::string hash_of(const std::vector<std::string_view>& texts) {
  std::vector<std::span<const std::byte>> files;
  for (const std::string_view text : texts) files.push_back(std::as_bytes(std::span(text)));
  return model_sha256(files);
}

TEST(PlanKey, OneFileIsHashedAsItIs) {
  EXPECT_EQ(hash_of({"abc"}), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(PlanKey, ExternalDataCounts) {
  EXPECT_NE(hash_of({"abc", "x"}), hash_of({"abc"}));
  EXPECT_NE(hash_of({"abc", "x"}), hash_of({"abc", "y"}));
  EXPECT_NE(hash_of({"abc", "x"}), hash_of({"ab", "cx"}));
  EXPECT_NE(hash_of({"abc", "x", "y"}), hash_of({"abc", "y", "x"}));
}

TEST(PlanKey, HoldsWhatItIsMadeFrom) {
  const std::string_view model = "abc";
  const std::array<std::span<const std::byte>, 1> files = {std::as_bytes(std::span(model))};
  const PlanKey key = make_plan_key(files, "AVX2", "fp32", "tactics=search");
  EXPECT_EQ(key.model_sha256, hash_of({"abc"}));
  EXPECT_EQ(key.kernel_hash, kernel_hash());
  EXPECT_NE(key.kernel_hash, "");
  EXPECT_EQ(key.target, "AVX2");
  EXPECT_EQ(key.precision, "fp32");
  EXPECT_EQ(key.options, "tactics=search");
  EXPECT_EQ(key.machine, machine_description());
  EXPECT_EQ(difference(key, make_plan_key(files, "AVX2", "fp32", "tactics=search")), "");
}

TEST(PlanKey, TheMachineIsNamed) {
  const std::string machine = machine_description();
  EXPECT_NE(machine.find(" core"), std::string::npos) << machine;
  EXPECT_LT(machine.size(), 1000U);
  for (const char c : machine) EXPECT_TRUE(c >= ' ' && c < '\x7f') << machine;
#if defined(__linux__) && defined(__x86_64__)
  EXPECT_EQ(machine.find("unknown processor"), std::string::npos) << machine;
#endif
}

TEST(PlanKey, DifferencesReadAsWords) {
  const PlanKey wanted = {"model", "kernels", "AVX2", "fp32", "", "machine"};
  EXPECT_EQ(difference(wanted, wanted), "");
  PlanKey found = wanted;
  found.kernel_hash = "older";
  EXPECT_EQ(difference(found, wanted), "kernels changed");
  found.target = "SSE4";
  EXPECT_EQ(difference(found, wanted), "kernels changed; instruction set SSE4, not AVX2");
  found = wanted;
  found.machine = "other";
  EXPECT_EQ(difference(found, wanted), "another machine");
  found = wanted;
  found.precision = "bf16";
  EXPECT_EQ(difference(found, wanted), "precision bf16, not fp32");
  found = wanted;
  found.options = "tactics=search";
  EXPECT_EQ(difference(found, wanted), "options 'tactics=search', not none");
  found = wanted;
  found.model_sha256 = "other";
  EXPECT_EQ(difference(found, wanted), "another model");
}

}  // namespace
}  // namespace mimo_rt
