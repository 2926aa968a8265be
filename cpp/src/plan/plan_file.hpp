// What the cache needs of plan files beyond the public write_plan and read_plan.
#pragma once

#include <cstddef>
#include <span>

#include "mimo_rt/plan.hpp"

namespace mimo_rt {

// The key of a plan file alone, after checking the header and the section of the key; the rest is not looked
// at.
PlanKey read_plan_key(std::span<const std::byte> bytes);

}  // namespace mimo_rt
