#include "graph/node_attributes.hpp"

#include <algorithm>

#include "mimo_rt/error.hpp"

namespace mimo_rt::onnx {
namespace {

const Attribute* typed(const NodeView& node, std::string_view name, std::int32_t type) {
  const Attribute* a = find(node, name);
  if (a != nullptr && a->type != type)
    fail(node, "model.unsupported_attribute",
         "attribute " + quoted(name) + " has another type than ONNX gives it");
  return a;
}

}  // namespace

std::string described(const NodeView& node) {
  std::string_view name = node.name;
  if (name.empty() && !node.outputs.empty()) name = node.outputs[0];
  const std::string op = quoted(node.op_type);
  return "node " + quoted(name) + " (" + op.substr(1, op.size() - 2) + ")";
}

void fail(const NodeView& node, const char* code, const std::string& what) {
  throw ModelError(code, described(node) + ": " + what);
}

const Attribute* find(const NodeView& node, std::string_view name) {
  const auto at = std::find_if(node.attributes.begin(), node.attributes.end(),
                               [&](const Attribute& a) { return a.name == name; });
  return at == node.attributes.end() ? nullptr : &*at;
}

std::int64_t get_int(const NodeView& node, std::string_view name, std::int64_t fallback) {
  const Attribute* a = typed(node, name, 2);
  return a ? a->i : fallback;
}

std::string_view get_string(const NodeView& node, std::string_view name, std::string_view fallback) {
  const Attribute* a = typed(node, name, 3);
  return a ? a->s : fallback;
}

std::vector<std::int64_t> get_ints(const NodeView& node, std::string_view name) {
  const Attribute* a = typed(node, name, 7);
  return a ? a->ints : std::vector<std::int64_t>{};
}

void require_known(const NodeView& node, std::initializer_list<std::string_view> known) {
  for (const Attribute& a : node.attributes) {
    if (find(node, a.name) != &a)
      fail(node, "model.duplicate_name", "attribute " + quoted(a.name) + " comes twice");
    if (std::find(known.begin(), known.end(), a.name) == known.end())
      fail(node, "model.unsupported_attribute",
           "attribute " + quoted(a.name) + " is not supported; export without it");
  }
}

}  // namespace mimo_rt::onnx
