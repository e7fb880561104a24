// Endpoints to and from text and the kernel's socket addresses (ip(7), ipv6(7), unix(7)).
// Read next: address.cpp, which reads the addresses.
#include <rill/net/endpoint.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <ostream>

#include <rill/net/text.h>

namespace rill {
namespace {

constexpr std::size_t family_size = sizeof(sa_family_t);
constexpr std::string_view unix_prefix = "unix:";

static_assert(sizeof(sockaddr_un) == endpoint::native_size_max);
static_assert(offsetof(sockaddr_un, sun_path) == family_size);
static_assert(sizeof(sockaddr_un::sun_path) == endpoint::unix_name_size_max + 1);

tl::unexpected<std::error_code> failure(std::errc code) {
  return tl::make_unexpected(std::make_error_code(code));
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* const text_end = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), text_end, port);
  if (error != std::errc{} || end != text_end) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return port;
}

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

/// Undoes `append_escaped`.
std::optional<std::string> unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      plain += text[i];
      continue;
    }
    if (text.size() - i < 4 || text[i + 1] != 'x') return std::nullopt;
    const int high = hex_value(text[i + 2]);
    const int low = hex_value(text[i + 3]);
    if (high < 0 || low < 0) return std::nullopt;
    plain += static_cast<char>(high * 16 + low);
    i += 3;
  }
  return plain;
}

void append_printable(std::string& text, std::string_view name) {
  for (const char byte : name) {
    const bool printable = byte >= ' ' && byte <= '~' && byte != '\\';
    if (printable) {
      text += byte;
    } else {
      detail::append_escaped(text, byte);
    }
  }
}

}  // namespace

tl::expected<ip_endpoint, std::error_code> ip_endpoint::parse(
    std::string_view text, interface_index_function interface_index) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return failure(std::errc::invalid_argument);
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return failure(std::errc::invalid_argument);

  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto ip = rill::address::parse(host, interface_index);
  if (!ip) return tl::make_unexpected(ip.error());
  if (ip->is_v6() != bracketed) return failure(std::errc::invalid_argument);
  return ip_endpoint(*ip, *port);
}

std::string ip_endpoint::to_string() const {
  std::string text = address_.to_string();
  if (address_.is_v6()) text = '[' + text + ']';
  return text + ':' + std::to_string(port_);
}

std::ostream& operator<<(std::ostream& out, const ip_endpoint& printed) {
  return out << printed.to_string();
}

endpoint::endpoint() noexcept : size_(family_size) {
  const sa_family_t family = AF_UNIX;
  std::memcpy(bytes_.data(), &family, sizeof family);
}

endpoint::endpoint(const ip_endpoint& ip_and_port) noexcept {
  const address& ip = ip_and_port.address();
  if (ip.is_v4()) {
    sockaddr_in native{};
    native.sin_family = AF_INET;
    native.sin_port = htons(ip_and_port.port());
    std::memcpy(&native.sin_addr, ip.bytes().data(), sizeof native.sin_addr);
    std::memcpy(bytes_.data(), &native, sizeof native);
    size_ = sizeof native;
    kind_ = endpoint_kind::ipv4;
  } else {
    sockaddr_in6 native{};
    native.sin6_family = AF_INET6;
    native.sin6_port = htons(ip_and_port.port());
    native.sin6_scope_id = ip.scope_id();
    std::memcpy(&native.sin6_addr, ip.bytes().data(), sizeof native.sin6_addr);
    std::memcpy(bytes_.data(), &native, sizeof native);
    size_ = sizeof native;
    kind_ = endpoint_kind::ipv6;
  }
}

endpoint::endpoint(const address& ip, std::uint16_t port_number) noexcept
    : endpoint(ip_endpoint(ip, port_number)) {}

/// A path is followed by a NUL, an abstract name has one before it (unix(7), "Address format").
tl::expected<endpoint, std::error_code> endpoint::named(endpoint_kind made_kind,
                                                        std::string_view name) {
  if (name.empty()) return failure(std::errc::invalid_argument);
  if (name.size() > unix_name_size_max) return failure(std::errc::filename_too_long);
  endpoint made;
  const std::size_t name_begin = family_size + (made_kind == endpoint_kind::unix_abstract ? 1 : 0);
  std::memcpy(made.bytes_.data() + name_begin, name.data(), name.size());
  made.size_ = static_cast<std::uint8_t>(family_size + 1 + name.size());
  made.kind_ = made_kind;
  return made;
}

tl::expected<endpoint, std::error_code> endpoint::unix_path(std::string_view path) {
  if (path.find('\0') != std::string_view::npos) return failure(std::errc::invalid_argument);
  return named(endpoint_kind::unix_path, path);
}

tl::expected<endpoint, std::error_code> endpoint::unix_abstract(std::string_view name) {
  return named(endpoint_kind::unix_abstract, name);
}

tl::expected<endpoint, std::error_code> endpoint::parse(std::string_view text,
                                                        interface_index_function interface_index) {
  if (!text.starts_with(unix_prefix)) {
    const auto parsed = ip_endpoint::parse(text, interface_index);
    if (!parsed) return tl::make_unexpected(parsed.error());
    return endpoint(*parsed);
  }
  std::string_view name = text.substr(unix_prefix.size());
  const bool abstract = name.starts_with('@');
  if (abstract) name.remove_prefix(1);
  const auto plain = unescape(name);
  if (!plain) return failure(std::errc::invalid_argument);
  return abstract ? unix_abstract(*plain) : unix_path(*plain);
}

tl::expected<endpoint, std::error_code> endpoint::from_native(std::span<const std::byte> bytes) {
  if (bytes.empty()) return endpoint();
  sa_family_t family = 0;
  if (bytes.size() < sizeof family) return failure(std::errc::invalid_argument);
  std::memcpy(&family, bytes.data(), sizeof family);

  if (family == AF_INET) {
    sockaddr_in native{};
    if (bytes.size() < sizeof native) return failure(std::errc::invalid_argument);
    std::memcpy(&native, bytes.data(), sizeof native);
    address::v4_bytes ip{};
    std::memcpy(ip.data(), &native.sin_addr, ip.size());
    return endpoint(address::v4(ip), ntohs(native.sin_port));
  }
  if (family == AF_INET6) {
    sockaddr_in6 native{};
    if (bytes.size() < sizeof native) return failure(std::errc::invalid_argument);
    std::memcpy(&native, bytes.data(), sizeof native);
    address::v6_bytes ip{};
    std::memcpy(ip.data(), &native.sin6_addr, ip.size());
    return endpoint(address::v6(ip, native.sin6_scope_id), ntohs(native.sin6_port));
  }
  if (family != AF_UNIX) return failure(std::errc::address_family_not_supported);

  // A path that fills sun_path is reported with a length of 111, one more than the structure has
  // (unix(7), "Pathname sockets"). Such a path is kept whole; it just has no terminator.
  endpoint made;
  const auto name =
      bytes.subspan(family_size, std::min(bytes.size(), native_size_max) - family_size);
  if (name.empty()) return made;
  std::size_t name_size = name.size();
  if (name.front() != std::byte{0}) {
    made.kind_ = endpoint_kind::unix_path;
    name_size =
        static_cast<std::size_t>(std::find(name.begin(), name.end(), std::byte{0}) - name.begin());
    made.size_ = static_cast<std::uint8_t>(std::min(family_size + name_size + 1, native_size_max));
  } else {
    made.kind_ = endpoint_kind::unix_abstract;
    made.size_ = static_cast<std::uint8_t>(family_size + name_size);
  }
  std::copy_n(name.begin(), name_size, made.bytes_.begin() + family_size);
  return made;
}

std::optional<ip_endpoint> endpoint::ip() const noexcept {
  if (kind_ == endpoint_kind::ipv4) {
    sockaddr_in native{};
    std::memcpy(&native, bytes_.data(), sizeof native);
    address::v4_bytes octets{};
    std::memcpy(octets.data(), &native.sin_addr, octets.size());
    return ip_endpoint(address::v4(octets), ntohs(native.sin_port));
  }
  if (kind_ == endpoint_kind::ipv6) {
    sockaddr_in6 native{};
    std::memcpy(&native, bytes_.data(), sizeof native);
    address::v6_bytes octets{};
    std::memcpy(octets.data(), &native.sin6_addr, octets.size());
    return ip_endpoint(address::v6(octets, native.sin6_scope_id), ntohs(native.sin6_port));
  }
  return std::nullopt;
}

std::uint16_t endpoint::port() const noexcept {
  const auto ip_and_port = ip();
  return ip_and_port ? ip_and_port->port() : std::uint16_t{0};
}

std::string_view endpoint::unix_name() const noexcept {
  if (is_ip() || kind_ == endpoint_kind::unnamed) return {};
  const char* const name = reinterpret_cast<const char*>(bytes_.data()) + family_size;
  const std::size_t room = size_ - family_size;
  if (kind_ == endpoint_kind::unix_abstract) return {name + 1, room - 1};
  return {name, ::strnlen(name, room)};
}

std::string endpoint::to_string() const {
  if (const auto ip_and_port = ip()) return ip_and_port->to_string();
  if (kind_ == endpoint_kind::unnamed) return "unnamed";
  std::string text(unix_prefix);
  std::string_view name = unix_name();
  if (kind_ == endpoint_kind::unix_abstract) {
    text += '@';
  } else if (name.starts_with('@')) {
    detail::append_escaped(text, '@');  // a file of that name, not an abstract one
    name.remove_prefix(1);
  }
  append_printable(text, name);
  return text;
}

bool operator==(const endpoint& a, const endpoint& b) noexcept { return (a <=> b) == 0; }

std::strong_ordering operator<=>(const endpoint& a, const endpoint& b) noexcept {
  if (a.kind_ != b.kind_) return a.kind_ <=> b.kind_;
  if (const auto a_ip = a.ip(), b_ip = b.ip(); a_ip && b_ip) return *a_ip <=> *b_ip;
  return a.unix_name() <=> b.unix_name();
}

std::ostream& operator<<(std::ostream& out, const endpoint& printed) {
  return out << printed.to_string();
}

}  // namespace rill

std::size_t std::hash<rill::ip_endpoint>::operator()(
    const rill::ip_endpoint& hashed) const noexcept {
  // Multiplying by an odd constant (2^64 divided by the golden ratio) spreads neighbouring ports
  // over all bits before they meet the hash of the address.
  return std::hash<rill::address>{}(hashed.address()) ^
         (std::size_t{hashed.port()} + 1) * 0x9e3779b97f4a7c15U;
}

std::size_t std::hash<rill::endpoint>::operator()(const rill::endpoint& hashed) const noexcept {
  if (const auto ip_and_port = hashed.ip()) return std::hash<rill::ip_endpoint>{}(*ip_and_port);
  return std::hash<std::string_view>{}(hashed.unix_name());
}
