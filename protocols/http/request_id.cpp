// Ids of requests, taken or made. See request_id.h.
#include <rill/protocols/http/request_id.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>

#include <rill/protocols/http/text.h>
#include <rill/runtime/kernel.h>
#include <rill/runtime/loop.h>

namespace rill::http {
namespace {

constexpr std::string_view field_name = "X-Request-Id";

/// From the kernel's randomness, so that a run under simulation gives the same ids again.
std::string made_id() {
  constexpr std::string_view digits = "0123456789abcdef";
  std::array<std::byte, 16> bytes{};
  loop::current().kernel().random(bytes);
  std::string text;
  for (const std::byte each : bytes) {
    text += digits[std::to_integer<unsigned>(each) >> 4U];
    text += digits[std::to_integer<unsigned>(each) & 15U];
  }
  return text;
}

}  // namespace

bool is_request_id(std::string_view text) noexcept {
  constexpr std::size_t size_max = 128;
  constexpr std::string_view others = "-_.:/+=@";
  return !text.empty() && text.size() <= size_max &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return detail::is_letter(c) || detail::is_digit(c) || others.find(c) != others.npos;
         });
}

middleware request_id() {
  return [](request& asked, const handler& next) -> task<response> {
    const std::string_view given = asked.find(field_name).value_or("");
    const bool is_sane = asked.head().count(field_name) == 1 && is_request_id(given);
    asked.set_id(is_sane ? std::string(given) : made_id());
    response made = co_await next(asked);
    made.set(field_name, asked.id());
    co_return made;
  };
}

}  // namespace rill::http
