// SHA-256 against published vectors, in pieces of every length, portable against the processor's own
// instructions.
#include "plan/sha256.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mimo_rt {
namespace {

std::string hash_of(std::string_view text) { return hex(sha256(std::as_bytes(std::span(text)))); }

TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(hash_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(
      hash_of(
          "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrs"
          "mnopqrstnopqrstu"),
      "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(hash_of(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesOfAnyLengthGiveTheSameHash) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7);
  for (std::size_t length = 0; length <= text.size(); length += 1 + length / 40) {
    const std::string_view whole = std::string_view(text).substr(0, length);
    const std::string expected = hash_of(whole);
    for (const std::size_t piece : {1, 3, 55, 56, 63, 64, 65, 128}) {
      Sha256 hash;
      for (std::size_t at = 0; at < whole.size(); at += piece) hash.update(whole.substr(at, piece));
      EXPECT_EQ(hex(hash.finish()), expected) << "length " << length << ", piece " << piece;
    }
  }
}

TEST(Sha256, NativeInstructionsEqualThePortableCode) {
  const sha256_detail::Compress native = sha256_detail::compress_native();
  if (native == nullptr) GTEST_SKIP() << "this processor or compiler has no SHA instructions";
  std::vector<std::byte> blocks(64 * 9);
  std::uint32_t random = 1;
  for (std::byte& byte : blocks)
    byte = static_cast<std::byte>((random = random * 1664525 + 1013904223) >> 24);
  for (std::size_t count = 0; count <= 9; ++count) {
    std::uint32_t a[8] = {1, 2, 3, 4, 0xfffffff5, 6, 7, 8};
    std::uint32_t b[8] = {1, 2, 3, 4, 0xfffffff5, 6, 7, 8};
    sha256_detail::compress_portable(a, blocks.data(), count);
    native(b, blocks.data(), count);
    EXPECT_TRUE(std::equal(a, a + 8, b)) << count << " blocks";
  }
}

}  // namespace
}  // namespace mimo_rt
