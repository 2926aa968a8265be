// Counts the bytes that this thread asks operator new for, so that tests can bound what a hostile file makes
// us take.
#pragma once

#include <cstddef>

namespace mimo_rt::testing_plans {

// Bytes requested by this thread since it began; what was freed meanwhile is not taken off.
std::size_t bytes_requested();

}  // namespace mimo_rt::testing_plans
