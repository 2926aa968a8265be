#include "plan/sha256.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace mimo_rt {
namespace sha256_detail {

alignas(16) const std::uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void compress_portable(std::uint32_t state[8], const std::byte* blocks, std::size_t count) {
  for (; count > 0; --count, blocks += 64) {
    std::uint32_t schedule[64];
    for (int t = 0; t < 16; ++t) {
      schedule[t] = 0;
      for (int i = 0; i < 4; ++i)
        schedule[t] = schedule[t] << 8 | std::to_integer<std::uint32_t>(blocks[4 * t + i]);
    }
    for (int t = 16; t < 64; ++t) {
      const std::uint32_t x = schedule[t - 15];
      const std::uint32_t y = schedule[t - 2];
      schedule[t] = schedule[t - 16] + (std::rotr(x, 7) ^ std::rotr(x, 18) ^ x >> 3) + schedule[t - 7] +
                    (std::rotr(y, 17) ^ std::rotr(y, 19) ^ y >> 10);
    }
    std::uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    std::uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; ++t) {
      const std::uint32_t first = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                                  ((e & f) ^ (~e & g)) + kRounds[t] + schedule[t];
      const std::uint32_t second =
          (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + first;
      d = c, c = b, b = a, a = first + second;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
  }
}

}  // namespace sha256_detail

namespace {

void compress(std::array<std::uint32_t, 8>& state, const std::byte* blocks, std::size_t count) {
  static const sha256_detail::Compress native = sha256_detail::compress_native();
  (native != nullptr ? native : sha256_detail::compress_portable)(state.data(), blocks, count);
}

}  // namespace

void Sha256::update(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const std::size_t held = length_ % block_.size();
  length_ += bytes.size();
  if (held > 0) {
    const std::size_t taken = std::min(block_.size() - held, bytes.size());
    std::memcpy(block_.data() + held, bytes.data(), taken);
    bytes = bytes.subspan(taken);
    if (held + taken < block_.size()) return;
    compress(state_, block_.data(), 1);
  }
  const std::size_t blocks = bytes.size() / block_.size();
  if (blocks > 0) compress(state_, bytes.data(), blocks);
  bytes = bytes.subspan(blocks * block_.size());
  std::copy(bytes.begin(), bytes.end(), block_.begin());
}

Digest Sha256::finish() {
  const std::uint64_t bits = length_ * 8;
  const std::size_t held = length_ % block_.size();
  std::array<std::byte, 72> tail = {std::byte{0x80}};
  const std::size_t zeros = (held < 56 ? 56 : 120) - held;  // the 0x80 counts among them
  for (std::size_t i = 0; i < 8; ++i) tail[zeros + i] = static_cast<std::byte>(bits >> (56 - 8 * i));
  update(std::span(tail).first(zeros + 8));
  Digest digest;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<std::byte>(state_[i / 4] >> (24 - 8 * (i % 4)));
  }
  return digest;
}

Digest sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string hex(const Digest& digest) {
  std::string text;
  text.reserve(2 * digest.size());
  for (const std::byte byte : digest) {
    text += "0123456789abcdef"[std::to_integer<unsigned>(byte) >> 4];
    text += "0123456789abcdef"[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

}  // namespace mimo_rt
