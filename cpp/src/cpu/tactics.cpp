// The numeric rule and the neutral candidates.
#include "cpu/tactics.hpp"

#include <string>

namespace mimo_rt::cpu {

std::string_view kernel_for(const Graph& graph, const Node& node, std::string_view tactics) {
  switch (node.op) {
    case Op::input:
      return kInput;
    case Op::copy:
      return kCopy;
    case Op::concat:
      return kConcat;
    case Op::conv_transpose:
      return kDirect;
    case Op::conv:
      break;
  }
  const bool three_by_three =
      node.kernel_h == 3 && node.kernel_w == 3 && node.stride == 1 && node.pad_top == 1 && node.pad_left == 1;
  if (!three_by_three || tactics == "direct") return kDirect;
  int channels = 0;
  for (const Part& part : node.parts) channels += graph.values[part.value].channels;
  // Below some eight input channels the transforms cost more than the multiplications they save. Output
  // channels do not enter: even the three of an image pay, since the input transform is all that is left.
  if (channels < 8) return kDirect;
  return tactics == "f4" ? kWinogradF4 : kWinogradF6;
}

std::string_view with_half_weights(std::string_view kernel) {
  if (kernel == kWinogradF4) return kWinogradF4Half;
  if (kernel == kWinogradF6) return kWinogradF6Half;
  return kernel;
}

std::span<const int> block_candidates(std::string_view kernel) {
  static constexpr int kTiles[] = {24, 12, 48};
  static constexpr int kPixels[] = {96, 48, 384};
  static constexpr int kRow[] = {1};
  if (kernel.starts_with("winograd")) return kTiles;
  if (kernel == kDirect) return kPixels;
  return kRow;
}

std::vector<Tactic> tactics_for(const Graph& graph, std::string_view tactics) {
  std::vector<Tactic> chosen;
  for (const Node& node : graph.nodes) {
    const std::string_view kernel = kernel_for(graph, node, tactics);
    chosen.push_back({std::string(kernel), block_candidates(kernel).front()});
  }
  return chosen;
}

}  // namespace mimo_rt::cpu
