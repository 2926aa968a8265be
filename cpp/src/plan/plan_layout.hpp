// Where things lie in a plan file. All numbers are little-endian, whatever the machine.
//
//     0   magic, 8 bytes            high bit and line end show a transfer as text
//     8   u32 format version        kPlanFormat
//    12   u32 number of sections    kSectionCount
//    16   u64 length of the file
//    24   SHA-256 of bytes 0-23 and of the section table
//    56   section table: a row of 56 bytes each: u32 kind, u32 zero, u64 offset, u64 length, SHA-256 of the
//    section
//    ...  the sections in the order of their kinds, each at the next multiple of kAlignment, zeros between
//
// So every byte of a file is either under one of the hashes, or one of the hashes, or a zero that the reader
// checks. The magic and the version are where they are in every version to come.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mimo_rt::plan_layout {

inline constexpr std::array<unsigned char, 8> kMagic = {0x89, 'M', 'I', 'M', 'O', 'r', 't', '\n'};

enum Section : std::uint32_t { key = 1, graph = 2, weights = 3, tactics = 4 };
inline constexpr std::uint32_t kSectionCount = 4;

inline constexpr std::size_t kVersionAt = 8;
inline constexpr std::size_t kLengthAt = 16;
inline constexpr std::size_t kHeaderHashAt = 24;
inline constexpr std::size_t kTableAt = 56;
inline constexpr std::size_t kRowBytes = 56;
inline constexpr std::size_t kRowOffsetAt = 8, kRowLengthAt = 16, kRowHashAt = 24;
inline constexpr std::size_t kHeaderBytes = kTableAt + kSectionCount * kRowBytes;

// Of sections in the file and of tensors in the section of weights: a mapped file could be used in place.
inline constexpr std::size_t kAlignment = 64;
constexpr std::uint64_t aligned(std::uint64_t at) {
  return (at + (kAlignment - 1)) / kAlignment * kAlignment;
}

// Longer texts and shapes of more dimensions are refused by writer and reader.
inline constexpr std::uint32_t kMaxText = 1U << 20;
inline constexpr std::uint32_t kMaxRank = 8;

}  // namespace mimo_rt::plan_layout
