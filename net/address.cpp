// Text forms and classification of addresses. Reading goes through inet_pton(3), which is strict
// and pure; writing is ours, because inet_ntop(3) departs from RFC 5952 (it prints ::102:304 as
// ::1.2.3.4).
// Read next: endpoint.cpp.
#include <rill/net/address.h>

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <charconv>
#include <ostream>

namespace rill {
namespace {

tl::unexpected<std::error_code> malformed() {
  return tl::make_unexpected(std::make_error_code(std::errc::invalid_argument));
}

/// `text` as a C string in `buffer`; false when it does not fit or holds a NUL, behind which
/// inet_pton would not look.
template <std::size_t Size>
bool copy_terminated(std::string_view text, std::array<char, Size>& buffer) {
  if (text.size() >= Size || text.find('\0') != std::string_view::npos) return false;
  *std::copy(text.begin(), text.end(), buffer.begin()) = '\0';
  return true;
}

tl::expected<std::uint32_t, std::error_code> parse_scope(std::string_view text,
                                                         interface_index_function lookup) {
  if (text.empty()) return malformed();
  const bool all_digits =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (all_digits) {
    // A leading zero is refused, and with it index 0, which means "no scope".
    std::uint32_t index = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    if (text.front() == '0' || error != std::errc{}) return malformed();
    return index;
  }
  std::array<char, IF_NAMESIZE> name{};
  if (!copy_terminated(text, name)) return malformed();
  const std::uint32_t index = lookup(name.data());
  if (index == 0) {
    return tl::make_unexpected(std::make_error_code(std::errc::no_such_device));
  }
  return index;
}

void append_number(std::string& text, std::uint32_t number, int base) {
  std::array<char, 10> digits;  // 4294967295 is the longest
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, base).ptr;
  text.append(digits.data(), end);
}

void append_dotted(std::string& text, std::span<const std::uint8_t> four) {
  for (std::size_t i = 0; i < 4; ++i) {
    if (i > 0) text += '.';
    append_number(text, four[i], 10);
  }
}

/// RFC 5952 section 4: hexadecimal groups without leading zeros, and the longest run of at least
/// two zero groups, the first of equals, as "::".
void append_groups(std::string& text, std::span<const std::uint8_t> bytes) {
  constexpr std::size_t group_count = 8;
  std::array<std::uint32_t, group_count> groups{};
  for (std::size_t i = 0; i < group_count; ++i) {
    groups[i] = static_cast<std::uint32_t>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
  }
  std::size_t run_begin = group_count;
  std::size_t run_size = 1;  // a single zero group is not shortened (section 4.2.2)
  for (std::size_t i = 0; i < group_count; ++i) {
    std::size_t end = i;
    while (end < group_count && groups[end] == 0) ++end;
    if (end - i > run_size) {
      run_begin = i;
      run_size = end - i;
    }
    if (end > i) i = end - 1;
  }
  for (std::size_t i = 0; i < group_count; ++i) {
    if (i == run_begin) {
      text += "::";
      i += run_size - 1;
      continue;
    }
    if (i > 0 && text.back() != ':') text += ':';
    append_number(text, groups[i], 16);
  }
}

}  // namespace

std::uint32_t system_interface_index(const char* name) noexcept { return ::if_nametoindex(name); }

tl::expected<address, std::error_code> address::parse(std::string_view text,
                                                      interface_index_function interface_index) {
  const std::size_t percent = text.find('%');
  const std::string_view digits = text.substr(0, percent);
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  if (!copy_terminated(digits, buffer)) return malformed();

  if (digits.find(':') == std::string_view::npos) {
    v4_bytes bytes{};
    if (percent != std::string_view::npos) return malformed();
    if (::inet_pton(AF_INET, buffer.data(), bytes.data()) != 1) return malformed();
    return v4(bytes);
  }
  v6_bytes bytes{};
  if (::inet_pton(AF_INET6, buffer.data(), bytes.data()) != 1) return malformed();
  if (percent == std::string_view::npos) return v6(bytes);

  // Linux ignores a scope elsewhere, and the address that it reports afterwards would no longer be
  // equal to the one that was asked for.
  const address unscoped = v6(bytes);
  const bool takes_scope =
      !unscoped.is_v4_mapped() && (unscoped.is_link_local() || unscoped.is_multicast());
  if (!takes_scope) return malformed();
  const auto scope = parse_scope(text.substr(percent + 1), interface_index);
  if (!scope) return tl::make_unexpected(scope.error());
  return v6(bytes, *scope);
}

bool address::is_any() const noexcept {
  const auto plain = unmapped();
  const auto octets = plain.bytes();
  return std::all_of(octets.begin(), octets.end(), [](std::uint8_t byte) { return byte == 0; });
}

bool address::is_loopback() const noexcept {
  const auto plain = unmapped();
  if (plain.is_v4()) return plain.bytes_[0] == 127;
  return plain.bytes_ == loopback_v6().bytes_;
}

bool address::is_multicast() const noexcept {
  const auto plain = unmapped();
  if (plain.is_v4()) return (plain.bytes_[0] & 0xf0U) == 0xe0U;
  return plain.bytes_[0] == 0xff;
}

bool address::is_link_local() const noexcept {
  const auto plain = unmapped();
  if (plain.is_v4()) return plain.bytes_[0] == 169 && plain.bytes_[1] == 254;
  return plain.bytes_[0] == 0xfe && (plain.bytes_[1] & 0xc0U) == 0x80U;
}

std::string address::to_string() const {
  std::string text;
  if (is_v4()) {
    append_dotted(text, bytes());
  } else if (is_v4_mapped()) {
    text = "::ffff:";  // section 5: decimal behind a well-known prefix
    append_dotted(text, bytes().subspan(12));
  } else {
    append_groups(text, bytes());
  }
  if (scope_id_ != 0) {
    text += '%';
    append_number(text, scope_id_, 10);
  }
  return text;
}

std::ostream& operator<<(std::ostream& out, const address& printed) {
  return out << printed.to_string();
}

}  // namespace rill

std::size_t std::hash<rill::address>::operator()(const rill::address& hashed) const noexcept {
  const auto octets = hashed.bytes();
  std::array<char, 20> key{};
  std::copy(octets.begin(), octets.end(), key.begin());
  for (std::size_t i = 0; i < 4; ++i) {
    key[16 + i] = static_cast<char>(hashed.scope_id() >> (8 * i));
  }
  // The length tells 1.2.3.4 from the IPv6 address that begins with the same bytes.
  const std::size_t size = hashed.is_v4() ? octets.size() : key.size();
  return std::hash<std::string_view>{}(std::string_view(key.data(), size));
}
