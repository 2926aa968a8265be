// Bounds on what a network may hold, far above any real one: they keep sums and allocations small for hostile
// files.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mimo_rt {

inline constexpr std::size_t kMaxNodes = 8192;
inline constexpr std::size_t kMaxParts = 256;      // operands of one node
inline constexpr std::size_t kMaxEpilogue = 4096;  // steps after one convolution
inline constexpr std::int32_t kMaxChannels = 65536;
inline constexpr std::int32_t kMaxScale = 8;  // level 1/256
inline constexpr std::int32_t kMaxKernel = 63;

}  // namespace mimo_rt
