// Whole files in and out: bounded reading, and writing that leaves either the old file or the new one, never
// a half.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "mimo_rt/error.hpp"

namespace mimo_rt {

inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{4} << 30;

// The bytes of a regular file of at most `limit` bytes. Throws the error class of `kind` (ModelError,
// PlanError, ...) with the code "<kind>.not_found", "<kind>.not_a_file", "<kind>.too_large" or
// "<kind>.read_failed".
std::vector<std::byte> read_file(const std::filesystem::path& path, ErrorKind kind,
                                 std::uint64_t limit = kMaxFileBytes);

// Writes to a new temporary file beside `path`, then renames it over `path`; what a link points to is
// replaced, not the link. `durable`: ask the system to bring the bytes to the disk before the rename. Several
// processes and threads may write the same path at once: one of them wins whole. Throws
// PlanError("plan.write_failed") with the system's reason; the temporary file is then gone and `path`
// untouched.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes,
                           bool durable = true);

// True for the name of a temporary file of write_file_atomically, so that what a killed process left can be
// swept.
bool is_temporary_name(const std::filesystem::path& path);

}  // namespace mimo_rt
