// SHA-256 by the SHA extensions of x86, about six times the portable code: every cached start hashes the
// model and the plan, tens of megabytes each. Other processors take the portable code.
#include "plan/sha256.hpp"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define MIMO_RT_SHA_X86 1
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace mimo_rt::sha256_detail {

#ifdef MIMO_RT_SHA_X86
namespace {

// The instructions hold the state as the words (a b e f) and (c d g h), highest word first. Each step of the
// loop makes four rounds; from the fourth step on it also makes the next four words of the schedule from the
// last sixteen.
__attribute__((target("sha,ssse3,sse4.1"))) void compress_x86(std::uint32_t state[8], const std::byte* blocks,
                                                              std::size_t count) {
  const __m128i to_big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
  const auto load = [](const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); };

  const __m128i badc = _mm_shuffle_epi32(load(state), 0xb1);
  const __m128i hgfe = _mm_shuffle_epi32(load(state + 4), 0x1b);
  __m128i abef = _mm_alignr_epi8(badc, hgfe, 8);
  __m128i cdgh = _mm_blend_epi16(hgfe, badc, 0xf0);

  for (; count > 0; --count, blocks += 64) {
    const __m128i abef_before = abef;
    const __m128i cdgh_before = cdgh;
    __m128i words[4];
    for (int i = 0; i < 4; ++i) words[i] = _mm_shuffle_epi8(load(blocks + 16 * i), to_big_endian);
#ifdef __clang__
#pragma unroll
#else
#pragma GCC unroll 16
#endif
    for (int step = 0; step < 16; ++step) {
      if (step >= 4) {
        const __m128i w16 = words[step % 4];        // words t-16 .. t-13
        const __m128i w12 = words[(step + 1) % 4];  // t-12 .. t-9
        const __m128i w8 = words[(step + 2) % 4];   // t-8 .. t-5
        const __m128i w4 = words[(step + 3) % 4];   // t-4 .. t-1
        const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w16, w12), _mm_alignr_epi8(w4, w8, 4));
        words[step % 4] = _mm_sha256msg2_epu32(sum, w4);
      }
      const __m128i keyed = _mm_add_epi32(words[step % 4], load(kRounds + 4 * step));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, keyed);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(keyed, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }

  const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

bool processor_has_sha() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return false;
  const bool ssse3 = (ecx >> 9 & 1) != 0;
  const bool sse41 = (ecx >> 19 & 1) != 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  return ssse3 && sse41 && (ebx >> 29 & 1) != 0;
}

}  // namespace

Compress compress_native() { return processor_has_sha() ? compress_x86 : nullptr; }
#else
Compress compress_native() { return nullptr; }
#endif

}  // namespace mimo_rt::sha256_detail
