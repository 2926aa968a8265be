#include "plan/hmac.hpp"

#include <algorithm>
#include <array>

namespace mimo_rt {

Digest hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> message) {
  std::array<std::byte, 64> block{};
  if (key.size() > block.size()) {
    const Digest shorter = sha256(key);
    std::copy(shorter.begin(), shorter.end(), block.begin());
  } else {
    std::copy(key.begin(), key.end(), block.begin());
  }
  const auto keyed = [&](std::byte pad, std::span<const std::byte> text) {
    std::array<std::byte, 64> padded = block;
    for (std::byte& b : padded) b ^= pad;
    Sha256 hash;
    hash.update(padded);
    hash.update(text);
    return hash.finish();
  };
  return keyed(std::byte{0x5c}, keyed(std::byte{0x36}, message));
}

bool same_digest(const Digest& a, const Digest& b) {
  std::byte difference{};
  for (std::size_t i = 0; i < a.size(); ++i) difference |= a[i] ^ b[i];
  return difference == std::byte{};
}

}  // namespace mimo_rt
