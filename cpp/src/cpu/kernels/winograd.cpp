// 3x3 stride-1 convolution by Winograd's minimal filtering, with bias, ReLU, residual adds and the rest of
// the epilogue fused into the output transform: F(6x6, 3x3) with points 0, ±1, ±2, ±1/2 (1.8 multiplications
// an output instead of 9) and F(4x4, 3x3) with points 0, ±1, ±2 (2.25, and a third of the rounding error).
//
// A work item is a run of tiles. The vertical input transform of all of them comes first and makes lines;
// then, line by line, the horizontal input transform, one small matrix product for each point, and the
// horizontal output transform, all within the first-level cache; the vertical output transform and the
// epilogue come last. Every product is one FMA chain over input channels in ascending order, so neither the
// run's length nor the thread changes a bit.
#include "cpu/kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/kernels/winograd.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cpu/kernels/common-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mimo_rt::cpu {
namespace HWY_NAMESPACE {
namespace winograd {

struct F4 {
  static constexpr int kOut = 4, kIn = 6;

  // One dimension of the input transform, B^T d.
  static HWY_INLINE void input(const V (&x)[kIn], V (&out)[kIn]) {
    const D d;
    const V four = hn::Set(d, 4.0F), five = hn::Set(d, 5.0F), two = hn::Set(d, 2.0F);
    const V a = hn::NegMulAdd(four, x[2], x[4]);
    const V b = hn::NegMulAdd(four, x[1], x[3]);
    const V c = hn::Sub(x[4], x[2]);
    const V e = hn::Mul(two, hn::Sub(x[3], x[1]));
    out[0] = hn::NegMulAdd(five, x[2], hn::MulAdd(four, x[0], x[4]));
    out[1] = hn::Add(a, b);
    out[2] = hn::Sub(a, b);
    out[3] = hn::Add(c, e);
    out[4] = hn::Sub(c, e);
    out[5] = hn::NegMulAdd(five, x[3], hn::MulAdd(four, x[1], x[5]));
  }

  // One dimension of the output transform, A^T m.
  static HWY_INLINE void output(const V (&m)[kIn], V (&out)[kOut]) {
    const D d;
    const V s = hn::Add(m[1], m[2]), t = hn::Sub(m[1], m[2]), u = hn::Add(m[3], m[4]),
            w = hn::Sub(m[3], m[4]);
    out[0] = hn::Add(hn::Add(m[0], s), u);
    out[1] = hn::MulAdd(hn::Set(d, 2.0F), w, t);
    out[2] = hn::MulAdd(hn::Set(d, 4.0F), u, s);
    out[3] = hn::Add(hn::MulAdd(hn::Set(d, 8.0F), w, t), m[5]);
  }
};

struct F6 {
  static constexpr int kOut = 6, kIn = 8;

  static HWY_INLINE void input(const V (&x)[kIn], V (&out)[kIn]) {
    const D d;
    const V c21_4 = hn::Set(d, 5.25F), c17_4 = hn::Set(d, 4.25F), c5_2 = hn::Set(d, 2.5F);
    const V c5_4 = hn::Set(d, 1.25F), c5 = hn::Set(d, 5.0F), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V quarter = hn::Set(d, 0.25F), four = hn::Set(d, 4.0F);
    out[0] = hn::MulAdd(c21_4, hn::Sub(x[4], x[2]), hn::Sub(x[0], x[6]));
    out[7] = hn::MulAdd(c21_4, hn::Sub(x[3], x[5]), hn::Sub(x[7], x[1]));
    const V a = hn::NegMulAdd(c17_4, x[4], hn::Add(x[2], x[6]));
    const V b = hn::NegMulAdd(c17_4, x[3], hn::Add(x[1], x[5]));
    out[1] = hn::Add(a, b);
    out[2] = hn::Sub(a, b);
    const V e = hn::NegMulAdd(c5_4, x[4], hn::MulAdd(quarter, x[2], x[6]));
    const V f = hn::MulAdd(two, x[5], hn::NegMulAdd(c5_2, x[3], hn::Mul(half, x[1])));
    out[3] = hn::Add(e, f);
    out[4] = hn::Sub(e, f);
    const V g = hn::NegMulAdd(c5, x[4], hn::MulAdd(four, x[2], x[6]));
    const V h = hn::MulAdd(half, x[5], hn::NegMulAdd(c5_2, x[3], hn::Mul(two, x[1])));
    out[5] = hn::Add(g, h);
    out[6] = hn::Sub(g, h);
  }

  static HWY_INLINE void output(const V (&m)[kIn], V (&out)[kOut]) {
    const D d;
    const V s1 = hn::Add(m[1], m[2]), t1 = hn::Sub(m[1], m[2]);
    const V s2 = hn::Add(m[3], m[4]), t2 = hn::Sub(m[3], m[4]);
    const V s3 = hn::Add(m[5], m[6]), t3 = hn::Sub(m[5], m[6]);
    out[0] = hn::Add(hn::Add(m[0], s1), hn::Add(s2, s3));
    out[1] = hn::MulAdd(hn::Set(d, 0.5F), t3, hn::MulAdd(hn::Set(d, 2.0F), t2, t1));
    out[2] = hn::MulAdd(hn::Set(d, 0.25F), s3, hn::MulAdd(hn::Set(d, 4.0F), s2, s1));
    out[3] = hn::MulAdd(hn::Set(d, 0.125F), t3, hn::MulAdd(hn::Set(d, 8.0F), t2, t1));
    out[4] = hn::MulAdd(hn::Set(d, 0.0625F), s3, hn::MulAdd(hn::Set(d, 16.0F), s2, s1));
    out[5] = hn::Add(hn::MulAdd(hn::Set(d, 0.03125F), t3, hn::MulAdd(hn::Set(d, 32.0F), t2, t1)), m[7]);
  }
};

// out[r][0..1] = sum over k of a[r][k] * w[k][0..1], for kMicroRows rows and two vectors of output channels.
HWY_INLINE void product(const float* HWY_RESTRICT a, std::ptrdiff_t a_stride, const float* HWY_RESTRICT w,
                        int depth, float* HWY_RESTRICT out, std::ptrdiff_t out_stride) {
  const D d;
  V acc[kMicroRows][2];
#pragma GCC unroll 16
  for (int r = 0; r < kMicroRows; ++r) acc[r][0] = acc[r][1] = hn::Zero(d);
#pragma GCC unroll 4
  for (int k = 0; k < depth; ++k) {
    const V w0 = hn::LoadU(d, w), w1 = hn::LoadU(d, w + kLanes);
    w += kPanel;
#pragma GCC unroll 16
    for (int r = 0; r < kMicroRows; ++r) {
      const V x = hn::Set(d, a[r * a_stride + k]);
      acc[r][0] = hn::MulAdd(x, w0, acc[r][0]);
      acc[r][1] = hn::MulAdd(x, w1, acc[r][1]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kMicroRows; ++r) {
    hn::StoreU(acc[r][0], d, out + r * out_stride);
    hn::StoreU(acc[r][1], d, out + r * out_stride + kLanes);
  }
}

// Weights of one panel from half precision: once for all tiles of a run, so that it costs a few percent and
// the products are the same code.
HWY_INLINE const float* widen_panel(const std::uint16_t* from, std::ptrdiff_t count, float* to) {
  const D d;
  const DHalf h;
  const auto* in = reinterpret_cast<const hwy::float16_t*>(from);
  for (std::ptrdiff_t i = 0; i < count; i += kLanes) {
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(h, in + i)), d, to + i);
  }
  return to;
}

// The rows that a run reads and writes lie far apart, in too many streams for the processor to foresee, and
// short of arithmetic the vertical transforms would wait for every one of them. The products leave memory
// idle: beside each of them a few cache lines are asked for that the next vertical transforms will touch.
// Asking for what lies past the end of a row is harmless.
constexpr int kColumnsAhead = 16;   // of the vertical input transform: its rows may not have been asked for
constexpr int kLinesAProduct = 8;   // cache lines
constexpr int kFirstLineAhead = 2;  // of a run, so that what comes is not gone again when it is needed

// Tiles of a run that lie side by side in one row of tiles.
struct Segment {
  int ty = 0, tx = 0, count = 0;
  int index = 0;   // of its first tile within the run
  int column = 0;  // of its first pixel within the run's lines
};

// Steps through the segments of tiles [first, last): `count` is 0 before the first and after the last.
template <typename F>
HWY_INLINE bool next_segment(const WinogradJob& job, int first, int last, Segment& s) {
  s.index += s.count;
  if (s.count > 0) s.column += s.count * F::kOut + 2;
  const int tile = first + s.index;
  s.ty = tile / job.tiles_x;
  s.tx = tile % job.tiles_x;
  s.count = std::min(last - tile, job.tiles_x - s.tx);
  return s.count > 0;
}

// Where a run keeps its lines and its points.
//
// A line holds one row of the half-transformed tiles, [channel block][column][lane]: of the input after the
// vertical transform, later of the products before it. Points are [point][tile][channel] for one line alone,
// so that they stay in the first-level cache.
struct Buffers {
  float* lines = nullptr;
  std::ptrdiff_t line = 0;          // floats from one line to the next
  std::ptrdiff_t block_stride = 0;  // floats from one channel block of a line to the next
  float* points = nullptr;
  std::ptrdiff_t point = 0;   // floats from one point to the next
  std::ptrdiff_t stride = 0;  // floats from one tile of a point to the next
  float* panel = nullptr;     // weights of one panel, where they are kept in half precision
};

// Rows of the source to lines.
template <typename F>
HWY_INLINE void vertical_input(const WinogradJob& job, int first, int last, const Buffers& b) {
  const D d;
  for (Segment s; next_segment<F>(job, first, last, s);) {
    const int columns = s.count * F::kOut + 2;
    float* to = b.lines + static_cast<std::ptrdiff_t>(s.column) * kLanes;
    for (int p = 0; p < job.part_count; ++p) {
      const SourcePart& part = job.parts[p];
      const float* from[F::kIn];
      for (int i = 0; i < F::kIn; ++i) {
        from[i] = part.rows[F::kOut * s.ty + i] + (static_cast<std::ptrdiff_t>(F::kOut) * s.tx - 1) * kLanes;
      }
      for (int block = 0; block * kLanes < part.channels; ++block, to += b.block_stride) {
        const std::ptrdiff_t base = block * part.block_stride;
        for (int c = 0; c < columns; ++c) {
          const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(c) * kLanes;
          if (at % kLine == 0) {
#pragma GCC unroll 8
            for (int i = 0; i < F::kIn; ++i) hwy::Prefetch(from[i] + base + at + kColumnsAhead * kLanes);
          }
          V x[F::kIn], y[F::kIn];
#pragma GCC unroll 8
          for (int i = 0; i < F::kIn; ++i) x[i] = hn::LoadU(d, from[i] + base + at);
          F::input(x, y);
#pragma GCC unroll 8
          for (int i = 0; i < F::kIn; ++i) hn::StoreU(y[i], d, to + i * b.line + at);
        }
      }
    }
  }
}

// One line to points 1 ... kIn.
template <typename F>
HWY_INLINE void horizontal_input(const WinogradJob& job, int first, int last, const Buffers& b,
                                 const float* line) {
  const D d;
  const int blocks = (job.depth + kLanes - 1) / kLanes;
  for (Segment s; next_segment<F>(job, first, last, s);) {
    for (int block = 0; block < blocks; ++block) {
      const float* from = line + block * b.block_stride + static_cast<std::ptrdiff_t>(s.column) * kLanes;
      float* to = b.points + b.point + s.index * b.stride + block * kLanes;
      for (int t = 0; t < s.count; ++t) {
        V x[F::kIn], y[F::kIn];
#pragma GCC unroll 8
        for (int j = 0; j < F::kIn; ++j) x[j] = hn::LoadU(d, from + j * kLanes);
        F::input(x, y);
#pragma GCC unroll 8
        for (int j = 0; j < F::kIn; ++j) hn::StoreU(y[j], d, to + j * b.point);
        from += F::kOut * kLanes;
        to += b.stride;
      }
    }
  }
}

// Points 0 ... kIn - 1 to one line.
template <typename F>
HWY_INLINE void horizontal_output(const WinogradJob& job, int first, int last, const Buffers& b,
                                  float* line) {
  const D d;
  for (Segment s; next_segment<F>(job, first, last, s);) {
    for (int block = 0; block < job.out.blocks; ++block) {
      const float* from = b.points + s.index * b.stride + block * kLanes;
      float* to = line + block * b.block_stride + static_cast<std::ptrdiff_t>(s.column) * kLanes;
      for (int t = 0; t < s.count; ++t) {
        V x[F::kIn], y[F::kOut];
#pragma GCC unroll 8
        for (int j = 0; j < F::kIn; ++j) x[j] = hn::LoadU(d, from + j * b.point);
        F::output(x, y);
#pragma GCC unroll 8
        for (int j = 0; j < F::kOut; ++j) hn::StoreU(y[j], d, to + j * kLanes);
        from += b.stride;
        to += F::kOut * kLanes;
      }
    }
  }
}

// What follows a convolution most often, and all else without and with interpolation.
enum class Ending : std::uint8_t { relu, add, any, linear };

inline Ending general_ending(const Destination& out) { return out.linear ? Ending::linear : Ending::any; }

inline Ending ending_of(const Destination& out) {
  if (out.step_count != 1) return general_ending(out);
  if (out.steps[0].kind == EpilogueKind::relu) return Ending::relu;
  return out.steps[0].kind == EpilogueKind::add && out.steps[0].up == 0 ? Ending::add : general_ending(out);
}

// Not inlined: it would be there for each row of a tile.
HWY_NOINLINE void interpolate_pixel(const EpilogueStep& step, int row, int block, int x, int width, V* v) {
  interpolate<1>(step.rows, step.linear, block * step.block_stride, step.up, width, row, x, 1, 1, v);
}

// Not inlined either: what does not quantise shall not carry it.
template <int kRows>
HWY_NOINLINE void quantise_column(float quantum, V* v) {
  quantise<kRows>(quantum, v);
}

// Bias and epilogue of one column of a tile: destination rows row, row + 1, ... of one channel block.
// kLinear: out.linear.
template <int kRows, bool kLinear>
HWY_INLINE void finish_column(const Destination& out, int row, int block, int x, V* v) {
  const D d;
  const V bias = hn::LoadU(d, out.bias + static_cast<std::ptrdiff_t>(block) * kLanes);
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) v[i] = hn::Add(v[i], bias);
  for (int s = 0; s < out.step_count; ++s) {
    const EpilogueStep& step = out.steps[s];
    if (step.kind == EpilogueKind::quantise) {
      quantise_column<kRows>(step.quantum, v);
      continue;
    }
    const std::ptrdiff_t at = block * step.block_stride + static_cast<std::ptrdiff_t>(x >> step.up) * kLanes;
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      if (step.kind == EpilogueKind::relu) {
        v[i] = hn::Max(v[i], hn::Zero(d));
      } else if (step.rows[row + i] != nullptr) {
        V operand;
        if (kLinear && step.linear.below != nullptr) {
          interpolate_pixel(step, row + i, block, x, out.width, &operand);
        } else {
          operand = hn::LoadU(d, step.rows[row + i] + at);
        }
        v[i] = step.kind == EpilogueKind::add ? hn::Add(v[i], operand) : hn::Mul(v[i], operand);
      }
    }
  }
  if (out.half) round_to_half<kRows>(v);
  const std::ptrdiff_t at = block * out.block_stride + static_cast<std::ptrdiff_t>(x) * kLanes;
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    if (out.rows[row + i] != nullptr) hn::StoreU(v[i], d, out.rows[row + i] + at);
  }
}

// Columns [x, end) of one channel block of a row of tiles, one by one so that all of a column stays in
// registers. kEnding: but for `any` and `linear`, no row hangs over the image. kHalf: out.half, elsewhere
// than there.
template <typename F, Ending kEnding, bool kHalf = false>
HWY_INLINE void output_columns(const Destination& out, int row, int block, int x, int end, const float* from,
                               std::ptrdiff_t line) {
  const D d;
  constexpr bool kGeneral = kEnding == Ending::any || kEnding == Ending::linear;
  const V bias = hn::LoadU(d, out.bias + static_cast<std::ptrdiff_t>(block) * kLanes);
  float* to[F::kOut];
  const float* operand[F::kOut];
  for (int i = 0; i < F::kOut; ++i) {
    if constexpr (!kGeneral) to[i] = out.rows[row + i] + block * out.block_stride;
    if constexpr (kEnding == Ending::add) {
      operand[i] = out.steps[0].rows[row + i] + block * out.steps[0].block_stride;
    }
  }
  for (; x < end; ++x, from += kLanes) {
    V lines[F::kIn], made[F::kOut];
#pragma GCC unroll 8
    for (int i = 0; i < F::kIn; ++i) lines[i] = hn::LoadU(d, from + i * line);
    F::output(lines, made);
    if constexpr (kGeneral) {
      finish_column<F::kOut, kEnding == Ending::linear>(out, row, block, x, made);
    } else {
      const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(x) * kLanes;
#pragma GCC unroll 8
      for (int i = 0; i < F::kOut; ++i) {
        made[i] = hn::Add(made[i], bias);
        if constexpr (kEnding == Ending::relu) {
          made[i] = hn::Max(made[i], hn::Zero(d));
        } else {
          made[i] = hn::Add(made[i], hn::LoadU(d, operand[i] + at));
        }
        if constexpr (kHalf) round_to_half<1>(made + i);
        hn::StoreU(made[i], d, to[i] + at);
      }
    }
  }
}

template <typename F>
HWY_INLINE void output_columns(Ending ending, const Destination& out, int row, int block, int x, int end,
                               const float* from, std::ptrdiff_t line) {
  if (ending == Ending::any) return output_columns<F, Ending::any>(out, row, block, x, end, from, line);
  if (ending == Ending::linear) return output_columns<F, Ending::linear>(out, row, block, x, end, from, line);
  if (ending == Ending::relu) {
    if (out.half) return output_columns<F, Ending::relu, true>(out, row, block, x, end, from, line);
    return output_columns<F, Ending::relu>(out, row, block, x, end, from, line);
  }
  if (out.half) return output_columns<F, Ending::add, true>(out, row, block, x, end, from, line);
  output_columns<F, Ending::add>(out, row, block, x, end, from, line);
}

// Lines to the rows of the destination.
template <typename F>
HWY_INLINE void vertical_output(const WinogradJob& job, int first, int last, const Buffers& b) {
  for (Segment s; next_segment<F>(job, first, last, s);) {
    const int row = F::kOut * s.ty, x = F::kOut * s.tx, end = std::min(x + F::kOut * s.count, job.out.width);
    Ending ending = ending_of(job.out);
    for (int i = 0; i < F::kOut; ++i) {
      if (job.out.rows[row + i] == nullptr) ending = general_ending(job.out);
    }
    for (int block = 0; block < job.out.blocks; ++block) {
      const float* from = b.lines + block * b.block_stride + static_cast<std::ptrdiff_t>(s.column) * kLanes;
      output_columns<F>(ending, job.out, row, block, x, end, from, b.line);
      for (int i = 0; i < F::kOut; ++i) {
        if (job.out.rows[row + i] == nullptr) continue;
        if (x == 0) clear_left(job.out, row + i, block);
        if (end == job.out.width) clear_right(job.out, row + i, block);
      }
    }
  }
}

// Stretches of the rows that `vertical_output` touches for tiles [first, last), in about its order.
template <typename F>
class OutputRows {
 public:
  OutputRows(const WinogradJob& job, int first, int last) : job_(job), first_(first), last_(last) {
    next_segment<F>(job_, first_, last_, s_);
  }
  // False after the last.
  bool next(const float*& from, const float*& end) {
    for (; s_.count > 0; advance()) {
      const int row = F::kOut * s_.ty + row_;
      const EpilogueStep own{EpilogueKind::add, job_.out.rows, job_.out.block_stride, 0, 0, {}};
      const EpilogueStep& step = step_ < 0 ? own : job_.out.steps[step_];
      if (!has_operand(step.kind) || step.rows[row] == nullptr) continue;
      const float* block = step.rows[row] + block_ * step.block_stride;
      from = block + static_cast<std::ptrdiff_t>((F::kOut * s_.tx) >> step.up) * kLanes;
      end = block + static_cast<std::ptrdiff_t>((F::kOut * (s_.tx + s_.count)) >> step.up) * kLanes;
      advance();
      return true;
    }
    return false;
  }

 private:
  void advance() {
    if (++step_ < job_.out.step_count) return;
    step_ = -1;
    if (++row_ < F::kOut) return;
    row_ = 0;
    if (++block_ < job_.out.blocks) return;
    block_ = 0;
    next_segment<F>(job_, first_, last_, s_);
  }
  const WinogradJob& job_;
  int first_, last_;
  Segment s_;
  int block_ = 0, row_ = 0, step_ = -1;  // step -1: the destination itself
};

// Stretches of the rows that `vertical_input` reads for tiles [first, last), in its order.
template <typename F>
class InputRows {
 public:
  InputRows(const WinogradJob& job, int first, int last) : job_(job), first_(first), last_(last) {
    next_segment<F>(job_, first_, last_, s_);
  }
  // False after the last.
  bool next(const float*& from, const float*& end) {
    if (s_.count <= 0) return false;
    const SourcePart& part = job_.parts[part_];
    from = part.rows[F::kOut * s_.ty + row_] + block_ * part.block_stride +
           static_cast<std::ptrdiff_t>(F::kOut) * s_.tx * kLanes;
    end = from + static_cast<std::ptrdiff_t>(F::kOut) * s_.count * kLanes;
    advance();
    return true;
  }

 private:
  void advance() {
    if (++row_ < F::kIn) return;
    row_ = 0;
    if (++block_ * kLanes < job_.parts[part_].channels) return;
    block_ = 0;
    if (++part_ < job_.part_count) return;
    part_ = 0;
    next_segment<F>(job_, first_, last_, s_);
  }
  const WinogradJob& job_;
  int first_, last_;
  Segment s_;
  int part_ = 0, block_ = 0, row_ = 0;
};

HWY_INLINE void prefetch_to_second_level(const float* from) {
#if HWY_COMPILER_MSVC
  hwy::Prefetch(from);
#else
  __builtin_prefetch(from, 0, 2);
#endif
}

// Asks for the cache lines of such stretches, a few at a time; the first-level cache is the products'.
template <typename Rows>
class Ahead {
 public:
  explicit Ahead(const Rows& rows) : rows_(rows) {}
  // False when there is nothing left to ask for.
  HWY_INLINE bool ask(int lines) {
    for (; lines > 0; --lines, at_ += kLine) {
      if (at_ >= end_ && !rows_.next(at_, end_)) return false;
      prefetch_to_second_level(at_);
    }
    return true;
  }

 private:
  Rows rows_;
  const float *at_ = nullptr, *end_ = nullptr;
};

// Line by line of the transformed tiles: its points, their products, and back. The products of a point are
// written where the inputs of the point before it were.
template <typename F>
void run(const WinogradJob& job, int first, int last) {
  const int tiles = (last - first + kMicroRows - 1) / kMicroRows * kMicroRows;
  const int panels = (job.out.blocks + 1) / 2;
  const std::ptrdiff_t weights = static_cast<std::ptrdiff_t>(job.depth) * kPanel;
  int columns = 0;
  for (Segment s; next_segment<F>(job, first, last, s);) columns = s.column + s.count * F::kOut + 2;
  const WinogradBuffers size = winograd_buffers(tiles, columns, job.depth, panels * kPanel, kLanes);
  Buffers b;
  b.lines = job.scratch;
  b.line = size.line;
  b.block_stride = static_cast<std::ptrdiff_t>(columns) * kLanes;
  b.points = b.lines + F::kIn * b.line;
  b.point = size.point;
  b.stride = size.stride;
  b.panel = b.points + (F::kIn + 1) * b.point;
  vertical_input<F>(job, first, last, b);
  Ahead output{OutputRows<F>(job, first, last)};
  Ahead input{InputRows<F>(job, job.next_first, job.next_last)};
  std::ptrdiff_t at = 0;
  for (int i = 0; i < F::kIn; ++i) {
    float* line = b.lines + i * b.line;
    horizontal_input<F>(job, first, last, b, line);
    for (int j = 0; j < F::kIn; ++j) {
      float* made = b.points + j * b.point;
      for (int panel = 0; panel < panels; ++panel, at += weights) {
        const float* w = job.half_weights == nullptr ? job.weights + at
                                                     : widen_panel(job.half_weights + at, weights, b.panel);
        for (int t = 0; t < tiles; t += kMicroRows) {
          if (i >= kFirstLineAhead && !output.ask(kLinesAProduct)) input.ask(kLinesAProduct);
          product(made + b.point + t * b.stride, b.stride, w, job.depth, made + t * b.stride + panel * kPanel,
                  b.stride);
        }
      }
    }
    horizontal_output<F>(job, first, last, b, line);
  }
  vertical_output<F>(job, first, last, b);
}

}  // namespace winograd

void fill_winograd(KernelTable& table) {
  table.winograd[0] = {winograd::F4::kOut, winograd::run<winograd::F4>};
  table.winograd[1] = {winograd::F6::kOut, winograd::run<winograd::F6>};
}

}  // namespace HWY_NAMESPACE
}  // namespace mimo_rt::cpu
HWY_AFTER_NAMESPACE();
