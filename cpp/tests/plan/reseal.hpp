// Makes the hashes of an altered plan file right again, as somebody would who means harm: what the hashes
// cannot catch, the reader's own checks must.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "plan/plan_layout.hpp"
#include "plan/sha256.hpp"

namespace mimo_rt::testing_plans {

inline std::uint64_t load64(std::span<const std::byte> bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value |= std::to_integer<std::uint64_t>(bytes[at + i]) << (8 * i);
  return value;
}

inline void reseal(std::span<std::byte> file) {
  namespace layout = plan_layout;
  if (file.size() < layout::kHeaderBytes) return;
  for (std::size_t i = 0; i < layout::kSectionCount; ++i) {
    const std::size_t row = layout::kTableAt + i * layout::kRowBytes;
    const std::uint64_t at = load64(file, row + layout::kRowOffsetAt);
    const std::uint64_t length = load64(file, row + layout::kRowLengthAt);
    if (at > file.size() || length > file.size() - at) continue;
    const Digest digest = sha256(file.subspan(at, length));
    std::copy(digest.begin(), digest.end(), file.subspan(row + layout::kRowHashAt).begin());
  }
  Sha256 hash;
  hash.update(file.first(layout::kHeaderHashAt));
  hash.update(file.subspan(layout::kTableAt, layout::kHeaderBytes - layout::kTableAt));
  const Digest digest = hash.finish();
  std::copy(digest.begin(), digest.end(), file.subspan(layout::kHeaderHashAt).begin());
}

}  // namespace mimo_rt::testing_plans
