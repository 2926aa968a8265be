#include "plan/sealed_plan.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/file.hpp"
#include "mimo_rt/error.hpp"
#include "plan/byte_stream.hpp"
#include "plan/hmac.hpp"

namespace mimo_rt {
namespace {

constexpr std::string_view kMagic("MIMO_RT SEALED\0\1", 16);
constexpr std::size_t kHead = kMagic.size() + sizeof(Digest);
constexpr std::uint32_t kLongestText = 1U << 16;

PlanFields together(const PlanFields& identity, const PlanFields& conditions) {
  PlanFields all = identity;
  all.insert(conditions.begin(), conditions.end());
  return all;
}

std::string difference(const PlanFields& found, const PlanFields& wanted) {
  for (const auto& [name, value] : wanted) {
    const auto other = found.find(name);
    if (other == found.end()) return name + " unknown, not " + value;
    if (other->second != value) return name + " " + other->second + ", not " + value;
  }
  return found.size() == wanted.size() ? "" : "made by another version";
}

}  // namespace

std::vector<std::byte> seal(const SealedPlan& plan, const Secret& secret) {
  ByteWriter writer;
  writer.reserve(kHead + plan.payload.size() + 4096);
  writer.raw(std::as_bytes(std::span(kMagic)));
  writer.zeros_up_to(kHead);
  writer.count(plan.fields.size());
  for (const auto& [name, value] : plan.fields) {
    writer.text(name, kLongestText);
    writer.text(value, kLongestText);
  }
  writer.number(static_cast<std::uint64_t>(plan.payload.size()));
  writer.raw(plan.payload);
  std::vector<std::byte> file = writer.take();
  const Digest digest = hmac_sha256(secret, std::span(file).subspan(kHead));
  std::copy(digest.begin(), digest.end(), file.begin() + static_cast<std::ptrdiff_t>(kMagic.size()));
  return file;
}

bool is_sealed(std::span<const std::byte> file) {
  const auto magic = std::as_bytes(std::span(kMagic));
  return file.size() >= magic.size() && std::equal(magic.begin(), magic.end(), file.begin());
}

SealedPlan unseal(std::span<const std::byte> file, const Secret& secret) {
  if (!is_sealed(file)) throw PlanError("plan.not_sealed", "the file is no sealed plan of mimo_rt");
  Digest found{};
  const bool whole = file.size() >= kHead;
  if (whole)
    std::copy_n(file.begin() + static_cast<std::ptrdiff_t>(kMagic.size()), found.size(), found.begin());
  if (!whole || !same_digest(found, hmac_sha256(secret, file.subspan(kHead)))) {
    throw PlanError("plan.seal",
                    "the plan's seal is wrong: it is damaged, or was built by another user or on another "
                    "machine; build it here, from the ONNX file");
  }
  ByteReader reader(file.subspan(kHead), "sealed part");
  SealedPlan plan;
  for (std::uint32_t left = reader.count(8); left > 0; --left) {
    std::string name = reader.text(kLongestText);
    plan.fields[std::move(name)] = reader.text(kLongestText);
  }
  const auto length = reader.number<std::uint64_t>();
  if (length != reader.left()) reader.malformed("a payload of another length than it says");
  const std::span<const std::byte> payload = reader.raw(reader.left());
  plan.payload.assign(payload.begin(), payload.end());
  return plan;
}

std::filesystem::path SealedCache::path_of(const PlanFields& identity) const {
  Sha256 hash;
  for (const auto& [name, value] : identity) {  // hashes of fixed length, so that no byte can move over
    hash.update(sha256(std::as_bytes(std::span(name))));
    hash.update(sha256(std::as_bytes(std::span(value))));
  }
  return folder_ / ("sealed-" + hex(hash.finish()).substr(0, 32) + ".plan");
}

std::optional<std::vector<std::byte>> SealedCache::lookup(const PlanFields& identity,
                                                          const PlanFields& conditions,
                                                          std::string& reason) const {
  reason.clear();
  std::error_code error;
  const std::filesystem::path path = path_of(identity);
  if (folder_.empty() || !std::filesystem::exists(path, error)) {
    reason = "no cached plan";
    return std::nullopt;
  }
  try {
    SealedPlan plan = unseal(read_file(path, ErrorKind::plan), secret_);
    reason = difference(plan.fields, together(identity, conditions));
    if (reason.empty()) return std::move(plan.payload);
  } catch (const PlanError& failure) {
    reason = failure.code() == "plan.seal"         ? "cached plan is damaged or of another user"
             : failure.code() == "plan.not_sealed" ? "cached plan is damaged"
                                                   : "cached plan cannot be read";
  }
  return std::nullopt;
}

bool SealedCache::store(const PlanFields& identity, const PlanFields& conditions,
                        std::span<const std::byte> payload) const {
  if (folder_.empty()) return false;
  std::error_code error;
  std::filesystem::create_directories(folder_, error);  // where that fails, writing does
  try {
    const SealedPlan plan{together(identity, conditions), {payload.begin(), payload.end()}};
    write_file_atomically(path_of(identity), seal(plan, secret_), false);
  } catch (const PlanError&) {
    return false;
  }
  return true;
}

}  // namespace mimo_rt
