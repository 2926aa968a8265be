// HMAC-SHA256 (RFC 2104): tells a file that this user's own programs wrote from one that anybody else did.
#pragma once

#include <cstddef>
#include <span>

#include "plan/sha256.hpp"

namespace mimo_rt {

Digest hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> message);

// Takes as long whether the digests differ early or late.
bool same_digest(const Digest& a, const Digest& b);

}  // namespace mimo_rt
