// Fields of a response that middleware adds to. Private: no public header shows it.
#pragma once

#include <string_view>

#include <rill/protocols/http/head.h>
#include <rill/protocols/http/response.h>
#include <rill/protocols/http/values.h>

namespace rill::http::detail {

/// Calls `each(name, value)` for every field.
template <class Function>
void for_each_field(const response& of, Function&& each) {
  for (std::string_view rest = of.fields(); !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find("\r\n"));
    rest.remove_prefix(line.size() + 2);
    const std::size_t colon = line.find(':');
    each(line.substr(0, colon), line.substr(colon + 2));
  }
}

/// The answer depends on this field of the request (RFC 9110 section 12.5.5).
inline void add_vary(response& to, std::string_view name) {
  bool is_there = false;
  for_each_field(to, [&](std::string_view field, std::string_view list) {
    if (!equals_without_case(field, "Vary")) return;
    while (const auto element = next_element(list)) {
      is_there = is_there || *element == "*" || equals_without_case(*element, name);
    }
  });
  if (!is_there) to.add("Vary", name);
}

}  // namespace rill::http::detail
