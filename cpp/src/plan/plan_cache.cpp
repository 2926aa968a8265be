#include "plan/plan_cache.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "core/file.hpp"
#include "mimo_rt/error.hpp"
#include "plan/plan_file.hpp"
#include "plan/plan_key.hpp"
#include "plan/sha256.hpp"

namespace mimo_rt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExtension = ".plan";

// Up to `length` letters, digits, '+' and '_' of the text: safe in a file name on every system.
std::string name_part(const std::string& text, std::size_t length) {
  std::string part;
  for (const char c : text.substr(0, length)) {
    const bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+';
    part += safe ? c : '_';
  }
  return part;
}

// What the file names of one model for one target and precision begin with, on all machines and with all
// options.
std::string name_prefix(const PlanKey& key) {
  return name_part(key.model_sha256, 16) + "-" + name_part(key.target, 32) + "-" +
         name_part(key.precision, 16) + "-";
}

std::optional<std::vector<std::byte>> read_or_nothing(const fs::path& path) {
  try {
    return read_file(path, ErrorKind::plan);
  } catch (const PlanError&) {
    return std::nullopt;
  }
}

// Why a file beside the one looked for does not do: a plan of the same model, target and precision for
// another machine or with other options. Empty where there is none. A folder of caches holds few files;
// looking stops after some hundred.
std::string reason_from_neighbours(const fs::path& folder, const PlanKey& key) {
  const std::string prefix = name_prefix(key);
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (int seen = 0; !error && entry != fs::directory_iterator() && seen < 500;
       ++seen, entry.increment(error)) {
    const std::u8string name = entry->path().filename().u8string();
    if (std::string(name.begin(), name.end()).rfind(prefix, 0) != 0 ||
        entry->path().extension() != kExtension)
      continue;
    const std::optional<std::vector<std::byte>> bytes = read_or_nothing(entry->path());
    if (!bytes) continue;
    try {
      return difference(read_plan_key(*bytes), key);
    } catch (const PlanError&) {
      continue;  // damaged, but not what was looked for
    }
  }
  return {};
}

// Temporary files that a killed process left, once nobody can still be writing them.
void sweep(const fs::path& folder) {
  std::error_code error;
  const fs::file_time_type old = fs::file_time_type::clock::now() - std::chrono::hours(24);
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    std::error_code ignored;
    if (!is_temporary_name(entry->path())) continue;
    const fs::file_time_type written = entry->last_write_time(ignored);
    if (!ignored && written < old) fs::remove(entry->path(), ignored);
  }
}

}  // namespace

fs::path cached_plan_path(const fs::path& folder, const PlanKey& key) {
  Sha256 hash;
  hash.update(sha256(std::as_bytes(std::span(key.options))));
  hash.update(sha256(std::as_bytes(std::span(key.machine))));
  return folder / (name_prefix(key) + hex(hash.finish()).substr(0, 8) + kExtension);
}

std::optional<Plan> lookup(const fs::path& folder, const PlanKey& key, std::string& reason) {
  reason.clear();
  if (folder.empty()) {
    reason = "no cache folder";
    return std::nullopt;
  }
  const fs::path path = cached_plan_path(folder, key);
  std::error_code error;
  if (!fs::exists(path, error)) {
    reason = reason_from_neighbours(folder, key);
    if (reason.empty()) reason = "no cached plan";
    return std::nullopt;
  }
  const std::optional<std::vector<std::byte>> bytes = read_or_nothing(path);
  if (!bytes) {
    reason = "cached plan cannot be read";
    return std::nullopt;
  }
  try {
    Plan plan = read_plan(*bytes);
    reason = difference(plan.key, key);
    if (reason.empty()) return plan;
  } catch (const PlanError& failure) {
    reason = failure.code() == "plan.version" ? "plan format changed" : "cached plan is damaged";
  }
  return std::nullopt;
}

bool store(const fs::path& folder, const Plan& plan) {
  if (folder.empty()) return false;
  std::error_code error;
  fs::create_directories(folder, error);  // where that fails, writing does
  try {
    // Not durable: after a power failure a damaged plan is found out and built again.
    write_file_atomically(cached_plan_path(folder, plan.key), write_plan(plan), false);
  } catch (const PlanError&) {
    return false;
  }
  sweep(folder);
  return true;
}

}  // namespace mimo_rt
