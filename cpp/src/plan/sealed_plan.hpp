// Plans that another library made, such as TensorRT's: executable code for that library's loader, which does
// not defend itself against what it is given. So each is sealed with this user's secret, together with what
// it was made from and for, and opened only where the seal is right: the buffer that was checked is the one
// that is handed on, never a path.
//
// File: 16 bytes of magic, 32 bytes HMAC-SHA256 of all that follows, then the fields (counted texts) and the
// payload (u64 length, bytes).
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plan/plan_secret.hpp"

namespace mimo_rt {

// Names and values, such as {"precision", "fp16"}.
using PlanFields = std::map<std::string, std::string>;

struct SealedPlan {
  PlanFields fields;
  std::vector<std::byte> payload;
};

std::vector<std::byte> seal(const SealedPlan& plan, const Secret& secret);

// Throws PlanError: "plan.not_sealed" (no such file), "plan.seal" (damaged, altered, or sealed by another
// user or machine). Nothing of the file is looked at before its seal was found right.
SealedPlan unseal(std::span<const std::byte> file, const Secret& secret);

// Whether a file begins as a sealed plan does; says nothing of the seal.
bool is_sealed(std::span<const std::byte> file);

// A folder of sealed plans. As with the cache of CPU plans, whatever goes wrong in it means that a plan is
// built again.
class SealedCache {
 public:
  // identity: what tells one plan from the next (model, precision, shapes): the file's name. conditions: what
  // must be as it was when the plan was made (library version, GPU...).
  SealedCache(std::filesystem::path folder, Secret secret) : folder_(std::move(folder)), secret_(secret) {}

  // The payload; or nothing, and `reason` says why in a few words for people: "no cached plan", "cached plan
  // is damaged", "library 10.8, not 10.16".
  std::optional<std::vector<std::byte>> lookup(const PlanFields& identity, const PlanFields& conditions,
                                               std::string& reason) const;
  // False where it cannot be written.
  bool store(const PlanFields& identity, const PlanFields& conditions,
             std::span<const std::byte> payload) const;
  std::filesystem::path path_of(const PlanFields& identity) const;

 private:
  std::filesystem::path folder_;
  Secret secret_;
};

}  // namespace mimo_rt
