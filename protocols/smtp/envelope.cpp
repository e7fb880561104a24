// See envelope.h.
#include <rill/protocols/smtp/envelope.h>

#include <algorithm>
#include <stdexcept>

#include <rill/protocols/smtp/address.h>

namespace rill::smtp {
namespace {

void require_address(std::string_view text) {
  if (!mail::is_address(text)) throw std::invalid_argument("not an address of mail");
}

}  // namespace

envelope::envelope(std::string_view from) : from_(from) {
  if (!from.empty()) require_address(from);
}

envelope& envelope::add(std::string_view address, notify tell) {
  require_address(address);
  for (const recipient& each : to_) {
    if (each.address == address) return *this;
  }
  to_.emplace_back(address, tell);
  return *this;
}

envelope& envelope::identified_as(std::string_view id) {
  constexpr std::size_t id_size_max = 100;
  const bool is_visible =
      std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (id.empty() || id.size() > id_size_max || !is_visible) {
    throw std::invalid_argument("not an envelope id");
  }
  id_ = id;
  return *this;
}

bool envelope::needs_utf8() const noexcept {
  return mail::has_high_bytes(from_) || std::any_of(to_.begin(), to_.end(), [](const auto& each) {
           return mail::has_high_bytes(each.address);
         });
}

}  // namespace rill::smtp
