// The secret by which this user's programs know their own plans: 32 random bytes in the folder of settings,
// readable by the user alone, made on first use.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>

namespace mimo_rt {

using Secret = std::array<std::byte, 32>;

// Throws PlanError("plan.secret") where there is no such folder, it cannot be written, the file is damaged,
// or others may read it. Safe among processes and threads: all get the same secret.
Secret plan_secret(const std::filesystem::path& config_folder);

}  // namespace mimo_rt
