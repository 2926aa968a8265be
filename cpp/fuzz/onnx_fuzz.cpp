// libFuzzer over read_onnx: whatever the bytes, a valid graph or a ModelError. Small exported models make
// good seeds.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "graph/onnx_reader.hpp"
#include "mimo_rt/error.hpp"
#include "mimo_rt/graph.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  try {
    const mimo_rt::Graph plain = mimo_rt::read_onnx_unfused(bytes, {});
    const mimo_rt::Graph fused = mimo_rt::read_onnx(bytes, {});  // validated by the passes
    // Fusing changes neither the interface nor, beyond dropping dead code, what the output looks at.
    const auto &a = plain.values[plain.output], &b = fused.values[fused.output];
    if (a.channels != b.channels || a.scale != b.scale) std::abort();
    const mimo_rt::ReceptiveField f = receptive_field(plain), g = receptive_field(fused);
    if (g.before > f.before || g.after > f.after) std::abort();
    if (!(macs_per_pixel(fused) <= macs_per_pixel(plain))) std::abort();
  } catch (const mimo_rt::ModelError& e) {
    // What the reader and the passes make keeps the rules of graph.hpp, always.
    if (e.code() == "model.invalid_graph") std::abort();
  }
  return 0;
}
