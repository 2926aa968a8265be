#include "graph_reference.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace mimo_rt::reference {
namespace {

struct Plane {
  int channels = 0, rows = 0, columns = 0;
  std::vector<double> data;

  Plane() = default;
  Plane(int c, int h, int w) : channels(c), rows(h), columns(w), data(std::size_t(c) * h * w) {}
  double* row(int c, int y) { return data.data() + (std::size_t(c) * rows + y) * columns; }
  const double* row(int c, int y) const { return data.data() + (std::size_t(c) * rows + y) * columns; }
};

std::vector<float> floats(const Tensor& t) {
  if (t.dtype != DType::f32) throw std::invalid_argument("the reference evaluates float32 weights only");
  std::vector<float> out(t.data.size() / sizeof(float));
  std::memcpy(out.data(), t.data.data(), out.size() * sizeof(float));
  return out;
}

int source(int y, int shift) { return shift >= 0 ? y << shift : y >> -shift; }

// The formula of ONNX's Resize: mode linear, coordinate_transformation_mode asymmetric.
Plane interpolate(const Plane& in, int factor) {
  Plane out(in.channels, in.rows * factor, in.columns * factor);
  for (int c = 0; c < out.channels; ++c)
    for (int y = 0; y < out.rows; ++y)
      for (int x = 0; x < out.columns; ++x) {
        const double at_y = double(y) / factor, at_x = double(x) / factor;
        const int y0 = int(at_y), x0 = int(at_x);
        const int y1 = std::min(y0 + 1, in.rows - 1), x1 = std::min(x0 + 1, in.columns - 1);
        const double fy = at_y - y0, fx = at_x - x0;
        out.row(c, y)[x] = (1 - fy) * (1 - fx) * in.row(c, y0)[x0] + (1 - fy) * fx * in.row(c, y0)[x1] +
                           fy * (1 - fx) * in.row(c, y1)[x0] + fy * fx * in.row(c, y1)[x1];
      }
  return out;
}

Plane resample(const Plane& in, int shift, Sampling sampling) {
  if (sampling == Sampling::linear) return interpolate(in, 1 << -shift);
  Plane out(in.channels, shift >= 0 ? in.rows >> shift : in.rows << -shift,
            shift >= 0 ? in.columns >> shift : in.columns << -shift);
  for (int c = 0; c < out.channels; ++c)
    for (int y = 0; y < out.rows; ++y)
      for (int x = 0; x < out.columns; ++x) out.row(c, y)[x] = in.row(c, source(y, shift))[source(x, shift)];
  return out;
}

Plane join(const std::vector<Plane>& parts) {
  int channels = 0;
  for (const Plane& p : parts) channels += p.channels;
  Plane out(channels, parts.at(0).rows, parts.at(0).columns);
  auto at = out.data.begin();
  for (const Plane& p : parts) {
    if (p.rows != out.rows || p.columns != out.columns)
      throw std::invalid_argument("parts of different sizes");
    at = std::copy(p.data.begin(), p.data.end(), at);
  }
  return out;
}

void add_bias(Plane& out, const Graph& g, const Node& n) {
  if (n.bias == kNone) return;
  const std::vector<float> bias = floats(g.tensors.at(n.bias));
  for (int c = 0; c < out.channels; ++c)
    for (int y = 0; y < out.rows; ++y)
      for (int x = 0; x < out.columns; ++x) out.row(c, y)[x] += bias.at(c);
}

Plane convolve(const Graph& g, const Node& n, const Plane& in) {
  const std::vector<float> weights = floats(g.tensors.at(n.weights));
  Plane out(g.values.at(n.output).channels, in.rows / n.stride, in.columns / n.stride);
  if (weights.size() != std::size_t(out.channels) * in.channels * n.kernel_h * n.kernel_w)
    throw std::invalid_argument("weights of another size than the channels and kernel");
  for (int o = 0; o < out.channels; ++o)
    for (int i = 0; i < in.channels; ++i)
      for (int ky = 0; ky < n.kernel_h; ++ky)
        for (int kx = 0; kx < n.kernel_w; ++kx) {
          const double weight =
              weights[((std::size_t(o) * in.channels + i) * n.kernel_h + ky) * n.kernel_w + kx];
          for (int y = 0; y < out.rows; ++y) {
            const int sy = y * n.stride + ky - n.pad_top;
            if (sy < 0 || sy >= in.rows) continue;
            const double* from = in.row(i, sy);
            double* to = out.row(o, y);
            for (int x = 0; x < out.columns; ++x) {
              const int sx = x * n.stride + kx - n.pad_left;
              if (sx >= 0 && sx < in.columns) to[x] += weight * from[sx];
            }
          }
        }
  return out;
}

Plane convolve_transposed(const Graph& g, const Node& n, const Plane& in) {
  const std::vector<float> weights = floats(g.tensors.at(n.weights));
  Plane out(g.values.at(n.output).channels, in.rows * n.stride, in.columns * n.stride);
  if (weights.size() != std::size_t(out.channels) * in.channels * n.kernel_h * n.kernel_w)
    throw std::invalid_argument("weights of another size than the channels and kernel");
  for (int i = 0; i < in.channels; ++i)
    for (int o = 0; o < out.channels; ++o)
      for (int ky = 0; ky < n.kernel_h; ++ky)
        for (int kx = 0; kx < n.kernel_w; ++kx) {
          const double weight =
              weights[((std::size_t(i) * out.channels + o) * n.kernel_h + ky) * n.kernel_w + kx];
          for (int y = 0; y < in.rows; ++y) {
            const int ty = y * n.stride + ky - n.pad_top;
            if (ty < 0 || ty >= out.rows) continue;
            for (int x = 0; x < in.columns; ++x) {
              const int tx = x * n.stride + kx - n.pad_left;
              if (tx >= 0 && tx < out.columns) out.row(o, ty)[tx] += weight * in.row(i, y)[x];
            }
          }
        }
  return out;
}

void apply(const EpilogueOp& step, const std::vector<Plane>& values, Plane& out) {
  if (step.kind == EpilogueKind::relu) {
    for (double& v : out.data) v = std::max(v, 0.0);
    return;
  }
  if (step.kind == EpilogueKind::quantise) {
    for (double& v : out.data) {
      const float steps = std::nearbyint(static_cast<float>(v) / step.quantum);
      v = std::isnan(steps) ? 0.0F : std::clamp(steps, -128.0F, 127.0F) * step.quantum;
    }
    return;
  }
  const Plane other = resample(values.at(step.value), -step.up, step.sampling);
  if (other.data.size() != out.data.size() || other.rows != out.rows)
    throw std::invalid_argument("epilogue operand of another size");
  for (std::size_t i = 0; i < out.data.size(); ++i)
    out.data[i] = step.kind == EpilogueKind::add ? out.data[i] + other.data[i] : out.data[i] * other.data[i];
}

}  // namespace

std::vector<std::vector<double>> evaluate_all(const Graph& g, const std::vector<float>& chw, int h, int w) {
  const int channels = g.values.at(g.input).channels;
  if (h < 1 || w < 1 || h % g.stride() || w % g.stride())
    throw std::invalid_argument("height and width must be positive multiples of the graph's stride");
  if (chw.size() != std::size_t(channels) * h * w) throw std::invalid_argument("input of another size");
  std::vector<Plane> values(g.values.size());
  for (const Node& n : g.nodes) {
    Plane out;
    if (n.op == Op::input) {
      out = Plane(channels, h, w);
      std::copy(chw.begin(), chw.end(), out.data.begin());
    } else {
      std::vector<Plane> parts;
      for (const Part& p : n.parts) parts.push_back(resample(values.at(p.value), p.shift, p.sampling));
      const Plane in = join(parts);
      switch (n.op) {
        case Op::conv:
          out = convolve(g, n, in);
          add_bias(out, g, n);
          break;
        case Op::conv_transpose:
          out = convolve_transposed(g, n, in);
          add_bias(out, g, n);
          break;
        default:
          out = in;
      }
      for (const EpilogueOp& step : n.epilogue) apply(step, values, out);
    }
    values.at(n.output) = std::move(out);
  }
  std::vector<std::vector<double>> all;
  for (Plane& p : values) all.push_back(std::move(p.data));
  return all;
}

std::vector<float> evaluate(const Graph& g, const std::vector<float>& chw, int h, int w) {
  const std::vector<double> out = evaluate_all(g, chw, h, w).at(g.output);
  return {out.begin(), out.end()};
}

}  // namespace mimo_rt::reference
