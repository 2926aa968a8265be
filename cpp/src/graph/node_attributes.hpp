// Typed access to a node's attributes, with the errors that name the node, the attribute and what is
// supported.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "graph/onnx_proto.hpp"

namespace mimo_rt::onnx {

// "node 'a/b' (Conv)"
std::string described(const NodeView& node);

// Throws ModelError(code) with a sentence that begins with the node's description.
[[noreturn]] void fail(const NodeView& node, const char* code, const std::string& what);

const Attribute* find(const NodeView& node, std::string_view name);
std::int64_t get_int(const NodeView& node, std::string_view name, std::int64_t fallback);
std::string_view get_string(const NodeView& node, std::string_view name, std::string_view fallback);

// Empty if absent.
std::vector<std::int64_t> get_ints(const NodeView& node, std::string_view name);

// Throws where an attribute comes twice or is none of `known`.
void require_known(const NodeView& node, std::initializer_list<std::string_view> known);

}  // namespace mimo_rt::onnx
