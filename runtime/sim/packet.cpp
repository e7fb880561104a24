// Addresses as text and as sockaddr. See packet.h.
#include <rill/runtime/sim/packet.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <rill/runtime/sim/network.h>

namespace rill::sim::detail {
namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
// The length of sockaddr_in6 before it had a scope id; Linux still takes it (SIN6_LEN_RFC2133).
constexpr unsigned short_v6_size = 24;

}  // namespace

bool address::is_loopback() const noexcept {
  return v6 ? *this == loopback(true) : bytes[0] == 127;
}

bool address::is_multicast() const noexcept {
  return v6 ? bytes[0] == 0xff : (bytes[0] & 0xf0) == 0xe0;
}

address address::any(bool v6) noexcept {
  address made;
  made.v6 = v6;
  return made;
}

address address::loopback(bool v6) noexcept {
  address made = any(v6);
  if (v6) {
    made.bytes[15] = 1;
  } else {
    made.bytes[0] = 127;
    made.bytes[3] = 1;
  }
  return made;
}

address address::parse(std::string_view text) {
  const std::string terminated(text);
  address made;
  if (::inet_pton(AF_INET, terminated.c_str(), made.bytes.data()) == 1) return made;
  made.v6 = true;
  if (::inet_pton(AF_INET6, terminated.c_str(), made.bytes.data()) == 1) return made;
  throw std::invalid_argument("'" + terminated + "' is not an IPv4 or IPv6 address");
}

std::string address::to_string() const {
  char text[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), text, sizeof(text));
  return text;
}

std::string endpoint::to_string() const {
  const std::string number = std::to_string(port);
  return ip.v6 ? '[' + ip.to_string() + "]:" + number : ip.to_string() + ':' + number;
}

std::uint64_t endpoint::hash() const noexcept {
  std::uint64_t words[2];
  std::memcpy(words, ip.bytes.data(), sizeof(words));
  std::uint64_t sum = (words[0] * 0x9e3779b97f4a7c15U) ^ (words[1] + port);
  sum ^= sum >> 29;
  return sum * 0xbf58476d1ce4e5b9U;
}

int decode(const void* from, unsigned size, int family, endpoint& to) noexcept {
  sa_family_t given = 0;
  if (from == nullptr || size < sizeof(given)) return -EINVAL;
  std::memcpy(&given, from, sizeof(given));
  to = endpoint();
  if (family == AF_INET) {
    sockaddr_in name{};
    if (size < sizeof(name)) return -EINVAL;
    std::memcpy(&name, from, sizeof(name));
    if (given != AF_INET) return -EAFNOSUPPORT;
    std::memcpy(to.ip.bytes.data(), &name.sin_addr, sizeof(name.sin_addr));
    to.port = ntohs(name.sin_port);
    return 0;
  }
  sockaddr_in6 name{};
  if (size < short_v6_size) return -EINVAL;
  if (given != AF_INET6) return -EAFNOSUPPORT;
  std::memcpy(&name, from, std::min<std::size_t>(size, sizeof(name)));
  to.port = ntohs(name.sin6_port);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&name.sin6_addr);
  if (std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes)) {
    std::copy(bytes + mapped_prefix.size(), bytes + to.ip.bytes.size(), to.ip.bytes.begin());
  } else {
    to.ip.v6 = true;
    std::copy(bytes, bytes + to.ip.bytes.size(), to.ip.bytes.begin());
  }
  return 0;
}

void encode(const endpoint& from, int family, void* to, unsigned& size) noexcept {
  const unsigned room = size;
  if (family == AF_INET) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(from.port);
    std::memcpy(&name.sin_addr, from.ip.bytes.data(), sizeof(name.sin_addr));
    size = sizeof(name);
    if (to != nullptr) std::memcpy(to, &name, std::min(room, size));
    return;
  }
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  name.sin6_port = htons(from.port);
  auto* bytes = reinterpret_cast<std::uint8_t*>(&name.sin6_addr);
  if (from.ip.v6) {
    std::copy(from.ip.bytes.begin(), from.ip.bytes.end(), bytes);
  } else if (!from.ip.is_any()) {
    std::copy(mapped_prefix.begin(), mapped_prefix.end(), bytes);
    std::copy(from.ip.bytes.begin(), from.ip.bytes.begin() + 4, bytes + mapped_prefix.size());
  }
  size = sizeof(name);
  if (to != nullptr) std::memcpy(to, &name, std::min(room, size));
}

void packet::expired() noexcept { network_->arrived(*this); }

}  // namespace rill::sim::detail
