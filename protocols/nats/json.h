// JSON as peers send it: read with limits, and without exceptions for what is missing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace rill::nats::detail {

/// Arrays and objects within each other; what JetStream sends has five.
inline constexpr std::size_t json_depth_max = 32;

/// An object, or a discarded value for what is none, or too deep.
inline nlohmann::json read_object(std::string_view text) {
  bool is_too_deep = false;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    is_too_deep = is_too_deep || depth > static_cast<int>(json_depth_max);
    return !is_too_deep;
  };
  nlohmann::json read = nlohmann::json::parse(text, watch, false);
  if (is_too_deep || !read.is_object()) return nlohmann::json(nlohmann::json::value_t::discarded);
  return read;
}

// The members of an object: `otherwise` where there is none, or one of another type.
inline std::string text_of(const nlohmann::json& object, const char* name,
                           std::string_view otherwise = {}) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return std::string(otherwise);
  return found->get<std::string>();
}
inline bool flag_of(const nlohmann::json& object, const char* name, bool otherwise = false) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}
inline std::uint64_t number_of(const nlohmann::json& object, const char* name,
                               std::uint64_t otherwise = 0) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_integer()) return otherwise;
  if (found->is_number_unsigned()) return found->get<std::uint64_t>();
  const auto value = found->get<std::int64_t>();
  return value < 0 ? otherwise : static_cast<std::uint64_t>(value);
}

/// Text that is not UTF-8 is written with U+FFFD in place of the wrong bytes.
inline std::string write(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace rill::nats::detail
