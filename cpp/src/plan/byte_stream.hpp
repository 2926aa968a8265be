// Little-endian numbers and counted texts, to bytes and back; the reader never looks past its end and never
// lets a count through that the bytes left could not hold.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "mimo_rt/error.hpp"

namespace mimo_rt {

class ByteWriter {
 public:
  template <std::integral T>
  void number(T value) {
    const auto bits = static_cast<std::make_unsigned_t<T>>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(bits) >> (8 * i)));
    }
  }
  // u32 length, then the characters. Throws PlanError("plan.too_large") above `limit`.
  void text(std::string_view value, std::uint32_t limit) {
    count(value.size(), limit);
    raw(std::as_bytes(std::span(value)));
  }
  // A number of things to follow, as u32.
  void count(std::size_t value, std::uint32_t limit = UINT32_MAX) {
    if (value > limit) {
      throw PlanError("plan.too_large", "a text or list of " + std::to_string(value) +
                                            " entries does not fit into a plan file, which allows " +
                                            std::to_string(limit) + "; simplify the model");
    }
    number(static_cast<std::uint32_t>(value));
  }
  void raw(std::span<const std::byte> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void zeros_up_to(std::size_t size) {
    if (size > bytes_.size()) bytes_.resize(size);
  }
  void reserve(std::size_t size) { bytes_.reserve(size); }

  std::size_t size() const { return bytes_.size(); }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class ByteReader {
 public:
  // `what` names the bytes in errors. The bytes must outlive the reader.
  ByteReader(std::span<const std::byte> bytes, std::string_view what) : left_(bytes), what_(what) {}

  template <std::integral T>
  T number() {
    std::uint64_t bits = 0;
    const std::span<const std::byte> bytes = raw(sizeof(T));
    for (std::size_t i = 0; i < sizeof(T); ++i) bits |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
    return static_cast<T>(static_cast<std::make_unsigned_t<T>>(bits));
  }
  std::string text(std::uint32_t limit) {
    const std::uint32_t length = number<std::uint32_t>();
    if (length > limit) malformed("a text of " + std::to_string(length) + " bytes");
    const std::span<const std::byte> bytes = raw(length);
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  // A number of things to follow, each of at least `smallest` bytes: memory may be taken for so many.
  std::uint32_t count(std::size_t smallest) {
    const std::uint32_t value = number<std::uint32_t>();
    if (value > left_.size() / smallest) {
      malformed("a list of " + std::to_string(value) + " entries in " + std::to_string(left_.size()) +
                " bytes");
    }
    return value;
  }
  std::span<const std::byte> raw(std::size_t length) {
    if (length > left_.size()) malformed("an end in the middle of an entry");
    const std::span<const std::byte> bytes = left_.first(length);
    left_ = left_.subspan(length);
    return bytes;
  }
  std::size_t left() const { return left_.size(); }
  void expect_end() const {
    if (!left_.empty()) malformed(std::to_string(left_.size()) + " bytes too many");
  }
  // Throws PlanError("plan.malformed"): the bytes are as somebody wrote them, but no writer of ours writes
  // such.
  [[noreturn]] void malformed(const std::string& finding) const {
    throw PlanError("plan.malformed", "the plan file makes no sense (its " + std::string(what_) + " holds " +
                                          finding + "); build it again from the ONNX file");
  }

 private:
  std::span<const std::byte> left_;
  std::string_view what_;
};

}  // namespace mimo_rt
