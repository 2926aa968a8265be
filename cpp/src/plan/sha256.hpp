// SHA-256 (FIPS 180-4): names models and kernels, and seals the sections of a plan file against damage.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mimo_rt {

using Digest = std::array<std::byte, 32>;

// Takes bytes in any number of pieces; finish() ends it.
class Sha256 {
 public:
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  Digest finish();

 private:
  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> block_ = {};
  std::uint64_t length_ = 0;  // bytes taken so far
};

Digest sha256(std::span<const std::byte> bytes);

// 64 lower-case hexadecimal digits.
std::string hex(const Digest& digest);

namespace sha256_detail {

// Takes `count` whole blocks of 64 bytes into the state.
using Compress = void (*)(std::uint32_t state[8], const std::byte* blocks, std::size_t count);

void compress_portable(std::uint32_t state[8], const std::byte* blocks, std::size_t count);

// By the processor's own SHA instructions; null where it or the compiler has none.
Compress compress_native();

// The 64 round constants.
extern const std::uint32_t kRounds[64];

}  // namespace sha256_detail
}  // namespace mimo_rt
