// The cache: hit, miss with a reason, and every way in which a folder can be unusable without anybody
// noticing.
#include "plan/plan_cache.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "core/file.hpp"
#include "core/folders.hpp"
#include "mimo_rt/plan.hpp"
#include "plan/plan_layout.hpp"
#include "plan/sample_plans.hpp"
#include "plan/scratch.hpp"

namespace mimo_rt {
namespace {

namespace fs = std::filesystem;
using testing_plans::ScopedVariable;
using testing_plans::ScratchFolder;
using testing_plans::tiny_plan;

// The reason for a miss, "hit" for a hit.
std::string outcome(const fs::path& folder, const PlanKey& key) {
  std::string reason = "left from before";
  const std::optional<Plan> plan = lookup(folder, key, reason);
  if (!plan) return reason;
  EXPECT_EQ(reason, "");
  return "hit";
}

TEST(PlanCache, StoredPlansAreFound) {
  const ScratchFolder folder;
  const fs::path deep = folder.path() / "a" / "b";
  const Plan plan = testing_plans::every_kind_plan();
  EXPECT_EQ(outcome(deep, plan.key), "no cached plan");
  ASSERT_TRUE(store(deep, plan));
  std::string reason;
  const std::optional<Plan> found = lookup(deep, plan.key, reason);
  ASSERT_TRUE(found) << reason;
  EXPECT_EQ(write_plan(*found), write_plan(plan));
  EXPECT_TRUE(store(deep, plan));
  EXPECT_EQ(outcome(deep, plan.key), "hit");
}

TEST(PlanCache, AMissSaysWhy) {
  const ScratchFolder folder;
  const Plan plan = tiny_plan();
  ASSERT_TRUE(store(folder.path(), plan));
  PlanKey key = plan.key;
  key.kernel_hash = "other";
  EXPECT_EQ(outcome(folder.path(), key), "kernels changed");
  key = plan.key;
  key.machine = "other";
  EXPECT_EQ(outcome(folder.path(), key), "another machine");
  key = plan.key;
  key.options = "x";
  EXPECT_EQ(outcome(folder.path(), key), "options none, not 'x'");
  for (std::string PlanKey::*field : {&PlanKey::model_sha256, &PlanKey::target, &PlanKey::precision}) {
    key = plan.key;
    key.*field = "Other";
    EXPECT_EQ(outcome(folder.path(), key), "no cached plan");
  }
}

TEST(PlanCache, ANewVersionReplacesTheOldPlan) {
  const ScratchFolder folder;
  Plan plan = tiny_plan();
  ASSERT_TRUE(store(folder.path(), plan));
  const PlanKey old = plan.key;
  plan.key.kernel_hash = "newer";
  ASSERT_TRUE(store(folder.path(), plan));
  EXPECT_EQ(outcome(folder.path(), plan.key), "hit");
  EXPECT_EQ(outcome(folder.path(), old), "kernels changed");
  EXPECT_EQ(folder.entries(), 1U);
}

TEST(PlanCache, MachinesThatShareAHomeKeepTheirPlans) {
  const ScratchFolder folder;
  Plan plan = tiny_plan();
  ASSERT_TRUE(store(folder.path(), plan));
  const PlanKey first = plan.key;
  plan.key.machine = "other";
  ASSERT_TRUE(store(folder.path(), plan));
  EXPECT_EQ(outcome(folder.path(), plan.key), "hit");
  EXPECT_EQ(outcome(folder.path(), first), "hit");
}

// The file's name holds a part of the model's hash only; the key inside decides.
TEST(PlanCache, ModelsWithSimilarHashesAreToldApart) {
  const ScratchFolder folder;
  Plan plan = tiny_plan();
  plan.key.model_sha256 = std::string(63, 'a') + "1";
  ASSERT_TRUE(store(folder.path(), plan));
  plan.key.model_sha256 = std::string(63, 'a') + "2";
  EXPECT_EQ(outcome(folder.path(), plan.key), "another model");
}

TEST(PlanCache, DamagedPlansAreReplaced) {
  const ScratchFolder folder;
  const Plan plan = tiny_plan();
  const fs::path path = cached_plan_path(folder.path(), plan.key);
  const std::vector<std::byte> good = write_plan(plan);
  std::vector<std::byte> flipped = good;
  flipped[good.size() / 2] ^= std::byte{4};
  const std::vector<std::byte> cut(good.begin(), good.end() - 9);
  for (const std::vector<std::byte>& bad :
       {flipped, cut, std::vector<std::byte>(), std::vector<std::byte>(5000)}) {
    write_file_atomically(path, bad);
    EXPECT_EQ(outcome(folder.path(), plan.key), "cached plan is damaged");
    EXPECT_TRUE(store(folder.path(), plan));
    EXPECT_EQ(outcome(folder.path(), plan.key), "hit");
  }
  std::vector<std::byte> newer = good;
  newer[plan_layout::kVersionAt] = std::byte{9};
  write_file_atomically(path, newer);
  EXPECT_EQ(outcome(folder.path(), plan.key), "plan format changed");
  EXPECT_EQ(folder.entries(), 1U);
}

TEST(PlanCache, ADamagedNeighbourIsPassedOver) {
  const ScratchFolder folder;
  PlanKey other = tiny_plan().key;
  other.machine = "other";
  write_file_atomically(cached_plan_path(folder.path(), other), std::vector<std::byte>(100));
  EXPECT_EQ(outcome(folder.path(), tiny_plan().key), "no cached plan");
}

TEST(PlanCache, UnusableFoldersArePassedOver) {
  const ScratchFolder folder;
  const Plan plan = tiny_plan();
  EXPECT_FALSE(store({}, plan));
  EXPECT_EQ(outcome({}, plan.key), "no cache folder");

  const fs::path file = folder.path() / "file";
  write_file_atomically(file, {});
  for (const fs::path& bad : {file, file / "below"}) {
    EXPECT_FALSE(store(bad, plan));
    EXPECT_EQ(outcome(bad, plan.key), "no cached plan");
  }

  fs::create_directories(cached_plan_path(folder.path() / "taken", plan.key));
  EXPECT_FALSE(store(folder.path() / "taken", plan));
  EXPECT_EQ(outcome(folder.path() / "taken", plan.key), "cached plan cannot be read");
}

#ifndef _WIN32
TEST(PlanCache, AReadOnlyFolderIsPassedOver) {
  const ScratchFolder folder;
  const Plan plan = tiny_plan();
  const fs::path readable = folder.path() / "readable";
  const fs::path closed = folder.path() / "closed";
  ASSERT_TRUE(store(readable, plan));
  ASSERT_TRUE(store(closed, plan));
  fs::permissions(folder.path(), fs::perms(0755));
  fs::permissions(readable, fs::perms(0555));
  fs::permissions(closed, fs::perms(0));
  {
    const testing_plans::WithoutRoot user;
    if (!user.ok()) GTEST_SKIP() << "cannot give up the rights of root";
    EXPECT_FALSE(store(readable, plan));
    EXPECT_EQ(outcome(readable, plan.key), "hit");
    EXPECT_FALSE(store(closed, plan));
    EXPECT_EQ(outcome(closed, plan.key), "no cached plan");
  }
  fs::permissions(readable, fs::perms(0755));
  fs::permissions(closed, fs::perms(0755));
}

TEST(PlanCache, TheFolderFollowsTheEnvironment) {
  const ScopedVariable own("MIMO_RT_CACHE", nullptr);
  const ScopedVariable xdg("XDG_CACHE_HOME", nullptr);
  const ScopedVariable home("HOME", "/home/somebody");
#ifdef __APPLE__
  const fs::path in_home = "/home/somebody/Library/Caches/mimo_rt";
#else
  const fs::path in_home = "/home/somebody/.cache/mimo_rt";
#endif
  EXPECT_EQ(default_cache_folder(), in_home);
  {
    const ScopedVariable relative("XDG_CACHE_HOME", "relative");
    EXPECT_EQ(default_cache_folder(), in_home);
  }
  const ScopedVariable absolute("XDG_CACHE_HOME", "/xdg");
  EXPECT_EQ(default_cache_folder(), "/xdg/mimo_rt");
  const ScopedVariable named("MIMO_RT_CACHE", "/own");
  EXPECT_EQ(default_cache_folder(), "/own");
}

TEST(PlanCache, WithoutAHomeThereIsNoFolder) {
  const ScopedVariable own("MIMO_RT_CACHE", nullptr);
  const ScopedVariable xdg("XDG_CACHE_HOME", nullptr);
  for (const char* value : {static_cast<const char*>(nullptr), "", "relative"}) {
    const ScopedVariable home("HOME", value);
    EXPECT_TRUE(default_cache_folder().empty());
  }
  const ScopedVariable home("HOME", "/dev/null/nobody");
  EXPECT_FALSE(store(default_cache_folder(), tiny_plan()));
  EXPECT_EQ(outcome(default_cache_folder(), tiny_plan().key), "no cached plan");
}
#endif

TEST(PlanCache, WhatKilledWritersLeftIsSwept) {
  const ScratchFolder folder;
  const fs::path old = folder.path() / ".00112233.mimo_rt-tmp";
  const fs::path fresh = folder.path() / ".44556677.mimo_rt-tmp";
  const fs::path foreign = folder.path() / "notes";
  for (const fs::path& path : {old, fresh, foreign}) write_file_atomically(path, {});
  for (const fs::path& path : {old, foreign}) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(48));
  }
  EXPECT_TRUE(store(folder.path(), tiny_plan()));
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(fresh));  // somebody may be writing it
  EXPECT_TRUE(fs::exists(foreign));
}

// Four writers of two plans with one file name while others read: whoever reads sees one of the two, whole.
TEST(PlanCache, ConcurrentWritersAndReadersSeeWholePlans) {
  const ScratchFolder folder;
  Plan plans[] = {testing_plans::every_kind_plan(), testing_plans::every_kind_plan()};
  plans[1].key.kernel_hash = "other";
  ASSERT_EQ(cached_plan_path(folder.path(), plans[0].key), cached_plan_path(folder.path(), plans[1].key));
  ASSERT_TRUE(store(folder.path(), plans[0]));
  std::atomic<int> failed_stores = 0, wrong_reads = 0;
  std::vector<std::thread> threads;
  for (int writer = 0; writer < 4; ++writer) {
    threads.emplace_back([&, writer] {
      for (int i = 0; i < 25; ++i) failed_stores += !store(folder.path(), plans[writer % 2]);
    });
  }
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        std::string reason;
        if (!lookup(folder.path(), plans[0].key, reason) && reason != "kernels changed") ++wrong_reads;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed_stores, 0);
  EXPECT_EQ(wrong_reads, 0);
  EXPECT_EQ(folder.entries(), 1U);
}

}  // namespace
}  // namespace mimo_rt
