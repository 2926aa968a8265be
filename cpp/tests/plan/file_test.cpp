// Whole files: written whole or not at all, read within bounds, errors with the caller's kind.
#include "core/file.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "plan/scratch.hpp"

#ifndef _WIN32
#include <sys/stat.h>
#endif

namespace mimo_rt {
namespace {

namespace fs = std::filesystem;
using testing_plans::ScratchFolder;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text_in(const fs::path& path) {
  const std::vector<std::byte> bytes = read_file(path, ErrorKind::plan);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::string code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()), "");
    return error.code();
  }
  return "";
}

TEST(File, ComesBackAsWritten) {
  const ScratchFolder folder;
  const fs::path path = folder.path() / fs::path(u8"mod\u00e8le.plan");
  for (const bool durable : {false, true}) {
    write_file_atomically(path, bytes_of("first"), durable);
    EXPECT_EQ(text_in(path), "first");
    write_file_atomically(path, bytes_of("second, longer"), durable);
    EXPECT_EQ(text_in(path), "second, longer");
    write_file_atomically(path, {}, durable);
    EXPECT_EQ(text_in(path), "");
  }
  EXPECT_EQ(folder.entries(), 1U);
}

TEST(File, ReadErrorsCarryTheCallersKind) {
  const ScratchFolder folder;
  const fs::path path = folder.path() / "file";
  EXPECT_EQ(code_of([&] { read_file(path, ErrorKind::plan); }), "plan.not_found");
  EXPECT_THROW(read_file(path, ErrorKind::plan), PlanError);
  EXPECT_THROW(read_file(path, ErrorKind::model), ModelError);
  EXPECT_EQ(code_of([&] { read_file(folder.path(), ErrorKind::model); }), "model.not_a_file");
  write_file_atomically(path, bytes_of("12345"));
  EXPECT_EQ(code_of([&] { read_file(path, ErrorKind::model, 4); }), "model.too_large");
  EXPECT_EQ(read_file(path, ErrorKind::model, 5).size(), 5U);
}

#ifndef _WIN32
TEST(File, PipesAndDevicesAreNotReadOrReplaced) {
  const ScratchFolder folder;
  const fs::path pipe = folder.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(code_of([&] { read_file(pipe, ErrorKind::plan); }), "plan.not_a_file");
  EXPECT_EQ(code_of([&] { write_file_atomically(pipe, bytes_of("x")); }), "plan.write_failed");
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(code_of([&] { read_file("/dev/zero", ErrorKind::plan); }), "plan.not_a_file");
}

TEST(File, ALinkStaysALink) {
  const ScratchFolder folder;
  const fs::path target = folder.path() / "target";
  const fs::path link = folder.path() / "link";
  write_file_atomically(target, bytes_of("old"));
  fs::create_symlink("target", link);
  write_file_atomically(link, bytes_of("new"));
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(text_in(target), "new");
  EXPECT_EQ(folder.entries(), 2U);
}

TEST(File, AFailedWriteLeavesTheOldFileAndNothingElse) {
  const ScratchFolder folder;
  const fs::path path = folder.path() / "kept";
  write_file_atomically(path, bytes_of("old"));
  fs::permissions(folder.path(), fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read |
                                     fs::perms::others_exec);
  {
    const testing_plans::WithoutRoot user;
    if (!user.ok()) GTEST_SKIP() << "cannot give up the rights of root";
    try {
      write_file_atomically(path, bytes_of("new"));
      ADD_FAILURE() << "wrote into a read-only folder";
    } catch (const PlanError& error) {
      EXPECT_EQ(error.code(), "plan.write_failed");
      EXPECT_NE(std::string(error.what()).find("Permission denied"), std::string::npos) << error.what();
    }
  }
  fs::permissions(folder.path(), fs::perms::owner_all);
  EXPECT_EQ(text_in(path), "old");
  EXPECT_EQ(folder.entries(), 1U);
}
#endif

TEST(File, WritingWhereThereIsNoFolderSaysWhy) {
  const ScratchFolder folder;
  EXPECT_EQ(code_of([&] { write_file_atomically(folder.path() / "none" / "file", bytes_of("x")); }),
            "plan.write_failed");
  EXPECT_EQ(code_of([&] { write_file_atomically(folder.path(), bytes_of("x")); }), "plan.write_failed");
  EXPECT_EQ(code_of([&] { write_file_atomically("", bytes_of("x")); }), "plan.write_failed");
  EXPECT_EQ(folder.entries(), 0U);
}

TEST(File, TemporaryNamesAreKnown) {
  EXPECT_TRUE(is_temporary_name("folder/.0123.mimo_rt-tmp"));
  EXPECT_FALSE(is_temporary_name("folder/.mimo_rt-tmp"));
  EXPECT_FALSE(is_temporary_name("folder/model.plan"));
  EXPECT_FALSE(is_temporary_name(""));
}

}  // namespace
}  // namespace mimo_rt
