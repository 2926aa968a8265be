// Sealed plans: the HMAC against RFC 4231, a seal that no change survives, a secret that is the user's alone,
// and a cache that only saves time.
#include "plan/sealed_plan.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "core/file.hpp"
#include "core/folders.hpp"
#include "mimo_rt/error.hpp"
#include "plan/hmac.hpp"
#include "plan/scratch.hpp"

namespace mimo_rt {
namespace {

namespace fs = std::filesystem;
using testing_plans::ScopedVariable;
using testing_plans::ScratchFolder;

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

std::string hmac_of(const std::string& key, const std::string& text) {
  return hex(hmac_sha256(bytes_of(key), bytes_of(text)));
}

std::string code_of(const std::vector<std::byte>& file, const Secret& secret) {
  try {
    unseal(file, secret);
  } catch (const PlanError& error) {
    return error.code();
  }
  return "opened";
}

constexpr Secret kSecret = {std::byte{1}, std::byte{2}};
constexpr Secret kOther = {std::byte{1}, std::byte{3}};

const SealedPlan& sample() {
  static const SealedPlan plan{{{"precision", "fp16"}, {"model", ""}}, bytes_of("code for a loader")};
  return plan;
}

TEST(Hmac, PublishedVectors) {  // RFC 4231, cases 1, 2, 3, 6
  EXPECT_EQ(hmac_of(std::string(20, '\x0b'), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hmac_of("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hmac_of(std::string(20, '\xaa'), std::string(50, '\xdd')),
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  EXPECT_EQ(hmac_of(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(SealedPlan, ComesBack) {
  const SealedPlan opened = unseal(seal(sample(), kSecret), kSecret);
  EXPECT_EQ(opened.fields, sample().fields);
  EXPECT_EQ(opened.payload, sample().payload);
  EXPECT_TRUE(unseal(seal({}, kSecret), kSecret).payload.empty());
}

TEST(SealedPlan, NoChangeAndNoOtherSecretOpensIt) {
  const std::vector<std::byte> file = seal(sample(), kSecret);
  EXPECT_EQ(code_of(file, kOther), "plan.seal");
  for (std::size_t at = 0; at < file.size(); ++at) {
    std::vector<std::byte> changed = file;
    changed[at] ^= std::byte{0x10};
    EXPECT_EQ(code_of(changed, kSecret), at < 16 ? "plan.not_sealed" : "plan.seal") << at;
    const std::vector<std::byte> cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(at));
    EXPECT_EQ(code_of(cut, kSecret), at < 16 ? "plan.not_sealed" : "plan.seal") << at;
  }
  std::vector<std::byte> longer = file;
  longer.push_back(std::byte{});
  EXPECT_EQ(code_of(longer, kSecret), "plan.seal");
}

TEST(PlanSecret, IsMadeOnceForTheUserAlone) {
  const ScratchFolder folder;
  const fs::path config = folder.path() / "a" / "b";
  const Secret secret = plan_secret(config);
  EXPECT_NE(secret, Secret{});
  EXPECT_EQ(plan_secret(config), secret);
  EXPECT_NE(plan_secret(folder.path() / "c"), secret);
#ifndef _WIN32
  EXPECT_EQ(fs::status(config / "plan.key").permissions(), fs::perms::owner_read | fs::perms::owner_write);
#endif
  EXPECT_EQ(std::distance(fs::directory_iterator(config), fs::directory_iterator()), 1);
}

TEST(PlanSecret, ThreadsAgree) {
  const ScratchFolder folder;
  std::vector<Secret> found(8);
  std::vector<std::thread> threads;
  for (Secret& secret : found) threads.emplace_back([&] { secret = plan_secret(folder.path()); });
  for (std::thread& thread : threads) thread.join();
  for (const Secret& secret : found) EXPECT_EQ(secret, found[0]);
  EXPECT_EQ(folder.entries(), 1U);
}

std::string problem(const fs::path& config) {
  try {
    plan_secret(config);
  } catch (const PlanError& error) {
    EXPECT_EQ(error.code(), "plan.secret");
    return error.what();
  }
  return "";
}

TEST(PlanSecret, IsRefusedWhereItIsNoSecret) {
  const ScratchFolder folder;
  EXPECT_NE(problem({}).find("MIMO_RT_CONFIG"), std::string::npos);
  EXPECT_NE(problem("/dev/null/none").find("cannot be made"), std::string::npos);
  plan_secret(folder.path());
  const fs::path file = folder.path() / "plan.key";
#ifndef _WIN32
  fs::permissions(file, fs::perms(0644));
  EXPECT_NE(problem(folder.path()).find("others"), std::string::npos);
  fs::permissions(file, fs::perms(0600));
#endif
  fs::resize_file(file, 31);
  EXPECT_NE(problem(folder.path()).find("damaged"), std::string::npos);
  fs::remove(file);
  EXPECT_EQ(problem(folder.path()), "");
}

#if !defined(_WIN32)
TEST(PlanSecret, ItsFolderFollowsTheEnvironment) {
  const ScopedVariable own("MIMO_RT_CONFIG", nullptr);
  const ScopedVariable xdg("XDG_CONFIG_HOME", "/xdg");
  EXPECT_EQ(default_config_folder(), "/xdg/mimo_rt");
  const ScopedVariable named("MIMO_RT_CONFIG", "/own");
  EXPECT_EQ(default_config_folder(), "/own");
}
#endif

std::string outcome(const SealedCache& cache, const PlanFields& identity, const PlanFields& conditions) {
  std::string reason;
  const auto payload = cache.lookup(identity, conditions, reason);
  if (!payload) return reason;
  EXPECT_EQ(*payload, sample().payload);
  return "hit";
}

TEST(SealedCache, HitsMissesAndReasons) {
  const ScratchFolder folder;
  const SealedCache cache(folder.path() / "deep" / "er", kSecret);
  const PlanFields identity{{"model", "1234"}, {"precision", "fp16"}};
  const PlanFields conditions{{"GPU", "one"}, {"TensorRT", "10.8"}};
  EXPECT_EQ(outcome(cache, identity, conditions), "no cached plan");
  ASSERT_TRUE(cache.store(identity, conditions, sample().payload));
  EXPECT_EQ(outcome(cache, identity, conditions), "hit");
  EXPECT_EQ(outcome(cache, identity, {{"GPU", "one"}, {"TensorRT", "10.16"}}), "TensorRT 10.8, not 10.16");
  EXPECT_EQ(outcome(cache, identity, {{"GPU", "one"}, {"driver", "5"}}), "driver unknown, not 5");
  EXPECT_EQ(outcome(cache, identity, {{"GPU", "one"}}), "made by another version");
  EXPECT_EQ(outcome(cache, {{"model", "1234"}, {"precision", "fp32"}}, conditions), "no cached plan");
  // What moves between a name and a value is another plan.
  EXPECT_NE(cache.path_of({{"a", "bc"}}), cache.path_of({{"ab", "c"}}));

  const fs::path file = cache.path_of(identity);
  EXPECT_EQ(outcome(SealedCache(file.parent_path(), kOther), identity, conditions),
            "cached plan is damaged or of another user");
  fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_EQ(outcome(cache, identity, conditions), "cached plan is damaged or of another user");
  fs::resize_file(file, 3);
  EXPECT_EQ(outcome(cache, identity, conditions), "cached plan is damaged");
  ASSERT_TRUE(cache.store(identity, conditions, sample().payload));
  EXPECT_EQ(outcome(cache, identity, conditions), "hit");
  fs::remove(file);
  fs::create_directory(file);
  EXPECT_EQ(outcome(cache, identity, conditions), "cached plan cannot be read");
  EXPECT_FALSE(cache.store(identity, conditions, sample().payload));
  EXPECT_FALSE(SealedCache({}, kSecret).store(identity, conditions, sample().payload));
}

// A plan sealed for one key and put in another's place keeps its own key.
TEST(SealedCache, PlansCannotBeSwapped) {
  const ScratchFolder folder;
  const SealedCache cache(folder.path(), kSecret);
  const PlanFields fp16{{"precision", "fp16"}}, fp32{{"precision", "fp32"}};
  ASSERT_TRUE(cache.store(fp16, {}, sample().payload));
  fs::rename(cache.path_of(fp16), cache.path_of(fp32));
  EXPECT_EQ(outcome(cache, fp32, {}), "precision fp16, not fp32");
}

}  // namespace
}  // namespace mimo_rt
