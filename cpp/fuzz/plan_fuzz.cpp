// libFuzzer over read_plan. The first byte of the input chooses whether the hashes are made right before
// reading, so that the fuzzer gets past them; what is read without error must be what the writer would have
// written.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "../tests/plan/reseal.hpp"
#include "mimo_rt/error.hpp"
#include "mimo_rt/plan.hpp"
#include "plan/plan_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> input = std::as_bytes(std::span(data, size));
  std::vector<std::byte> file(input.begin() + 1, input.end());
  if (data[0] % 2 == 1) mimo_rt::testing_plans::reseal(file);
  try {
    mimo_rt::read_plan_key(file);
  } catch (const mimo_rt::PlanError&) {
  }
  try {
    if (mimo_rt::write_plan(mimo_rt::read_plan(file)) != file) std::abort();
  } catch (const mimo_rt::PlanError&) {
  }
  return 0;
}
