#include "plan/plan_key.hpp"

#include <utility>

#include "plan/sha256.hpp"

#ifndef MIMO_RT_KERNEL_HASH
#error "MIMO_RT_KERNEL_HASH, the hash of the kernel sources, must be defined by the build"
#endif

namespace mimo_rt {

std::string model_sha256(std::span<const std::span<const std::byte>> files) {
  if (files.size() == 1) return hex(sha256(files.front()));
  Sha256 all;
  for (const std::span<const std::byte> file : files) all.update(sha256(file));
  return hex(all.finish());
}

std::string kernel_hash() { return MIMO_RT_KERNEL_HASH; }

PlanKey make_plan_key(std::span<const std::span<const std::byte>> model_files, std::string target,
                      std::string precision, std::string options) {
  PlanKey key;
  key.model_sha256 = model_sha256(model_files);
  key.kernel_hash = kernel_hash();
  key.target = std::move(target);
  key.precision = std::move(precision);
  key.options = std::move(options);
  key.machine = machine_description();
  return key;
}

std::string difference(const PlanKey& found, const PlanKey& wanted) {
  std::string text;
  const auto say = [&text](const std::string& what) { text += (text.empty() ? "" : "; ") + what; };
  const auto quoted = [](const std::string& options) {
    return options.empty() ? "none" : "'" + options + "'";
  };
  if (found.model_sha256 != wanted.model_sha256) say("another model");
  if (found.kernel_hash != wanted.kernel_hash) say("kernels changed");
  if (found.target != wanted.target) say("instruction set " + found.target + ", not " + wanted.target);
  if (found.precision != wanted.precision) say("precision " + found.precision + ", not " + wanted.precision);
  if (found.options != wanted.options)
    say("options " + quoted(found.options) + ", not " + quoted(wanted.options));
  if (found.machine != wanted.machine) say("another machine");
  return text;
}

}  // namespace mimo_rt
