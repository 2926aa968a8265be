// The folder of cached plans. It only ever saves time: whatever goes wrong in it (no home, no rights, full
// disk, damaged files) means that a plan is built again and lives in memory.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "mimo_rt/plan.hpp"

namespace mimo_rt {

// The file in `folder` that holds the plan for `key`. The name follows from model, target, precision, options
// and machine; kernels are left out, so that the plans of a new version replace those of the old.
std::filesystem::path cached_plan_path(const std::filesystem::path& folder, const PlanKey& key);

// The cached plan whose key equals `key`. Otherwise nothing, and `reason` says why in a few words for people:
// "no cached plan", "kernels changed", "cached plan is damaged" ... Never throws for what is in the folder.
std::optional<Plan> lookup(const std::filesystem::path& folder, const PlanKey& key, std::string& reason);

// Caches the plan, makes the folder where needed, replaces what was cached for the same key. Safe among
// processes and threads. False where that cannot be done; never throws for input or output.
bool store(const std::filesystem::path& folder, const Plan& plan);

}  // namespace mimo_rt
