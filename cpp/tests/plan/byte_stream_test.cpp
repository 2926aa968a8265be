// Numbers and texts as bytes: little-endian whatever the machine, signed values kept, nothing read past the
// end.
#include "plan/byte_stream.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace mimo_rt {
namespace {

TEST(ByteStream, NumbersAreLittleEndianAndComeBack) {
  ByteWriter out;
  out.number(std::uint32_t{0x01020304});
  out.number(std::int32_t{-2});
  out.number(std::int64_t{INT64_MIN});
  out.number(std::uint8_t{255});
  const std::vector<std::byte> bytes = out.take();
  ASSERT_EQ(bytes.size(), 17U);
  EXPECT_EQ(bytes[0], std::byte{4});
  EXPECT_EQ(bytes[3], std::byte{1});
  ByteReader in(bytes, "test");
  EXPECT_EQ(in.number<std::uint32_t>(), 0x01020304U);
  EXPECT_EQ(in.number<std::int32_t>(), -2);
  EXPECT_EQ(in.number<std::int64_t>(), INT64_MIN);
  EXPECT_EQ(in.number<std::uint8_t>(), 255);
  in.expect_end();
  EXPECT_THROW(in.number<std::uint8_t>(), PlanError);
}

TEST(ByteStream, TextsAreBoundedOnBothSides) {
  ByteWriter out;
  out.text(std::string("a\0b", 3), 3);
  EXPECT_THROW(out.text("four", 3), PlanError);
  const std::vector<std::byte> bytes = out.take();
  EXPECT_EQ(ByteReader(bytes, "test").text(3), std::string("a\0b", 3));
  EXPECT_THROW(ByteReader(bytes, "test").text(2), PlanError);
  EXPECT_THROW(ByteReader(std::span(bytes).first(6), "test").text(3), PlanError);
}

TEST(ByteStream, CountsFitTheBytesLeft) {
  ByteWriter out;
  out.count(3);
  out.zeros_up_to(4 + 3 * 8);
  const std::vector<std::byte> bytes = out.take();
  EXPECT_EQ(ByteReader(bytes, "test").count(8), 3U);
  EXPECT_THROW(ByteReader(bytes, "test").count(9), PlanError);
}

TEST(ByteStream, LeftoverBytesAreNamed) {
  const std::vector<std::byte> bytes(5);
  try {
    ByteReader(bytes, "list of tests").expect_end();
    ADD_FAILURE() << "took five bytes for none";
  } catch (const PlanError& error) {
    EXPECT_EQ(error.code(), "plan.malformed");
    EXPECT_NE(std::string(error.what()).find("its list of tests holds 5 bytes too many"), std::string::npos);
  }
}

}  // namespace
}  // namespace mimo_rt
