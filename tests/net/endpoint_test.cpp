// What rill::endpoint and rill::ip_endpoint read and write, as text and as the kernel's bytes.
#include <rill/net/endpoint.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

#include <gtest/gtest.h>

namespace rill {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

endpoint parsed(std::string_view text) {
  const auto result = endpoint::parse(text);
  EXPECT_TRUE(result.has_value()) << text;
  return result.value_or(endpoint());
}

template <typename Native>
std::span<const std::byte> bytes_of(const Native& native, std::size_t size = sizeof(Native)) {
  return std::as_bytes(std::span(&native, 1)).first(size);
}

std::uint32_t one_interface(const char* name) noexcept {
  return std::string_view(name) == "eth0" ? 7 : 0;
}

TEST(endpoint, writes_what_it_reads) {
  for (const auto text :
       {"1.2.3.4:80", "0.0.0.0:0", "[::1]:8888", "[2001:db8::1]:65535", "[::ffff:1.2.3.4]:1",
        "[fe80::1%3]:80", "unix:/run/rill.sock", "unix:relative name", "unix:@abstract",
        "unix:@@twice", "unix:\\x40file", "unix:@a\\x00b\\x5cc\\x0a", "unix:/caf\\xc3\\xa9"}) {
    EXPECT_EQ(parsed(text).to_string(), text);
    EXPECT_EQ(parsed(parsed(text).to_string()), parsed(text));
  }
}

TEST(endpoint, reads_scopes_by_interface_name) {
  const auto result = endpoint::parse("[fe80::1%eth0]:80", one_interface);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->to_string(), "[fe80::1%7]:80");
  EXPECT_EQ(endpoint::parse("[fe80::1%eth1]:80", one_interface).error(), std::errc::no_such_device);
}

TEST(endpoint, refuses_malformed_text) {
  for (const auto text : {""sv,
                          ":"sv,
                          ":80"sv,
                          "1.2.3.4"sv,
                          "1.2.3.4:"sv,
                          "1.2.3.4:65536"sv,
                          "1.2.3.4:080"sv,
                          "1.2.3.4:00"sv,
                          "1.2.3.4:+1"sv,
                          "1.2.3.4:-1"sv,
                          "1.2.3.4: 1"sv,
                          "1.2.3.4:1 "sv,
                          "1.2.3.4:0x50"sv,
                          "1.2.3.4:80:80"sv,
                          "1.2.3.4:99999999999"sv,
                          "1.2.3.4:80\0"sv,
                          "::1"sv,
                          "::1:80"sv,
                          "[::1]"sv,
                          "[::1]80"sv,
                          "[::1]:"sv,
                          "[::1:80"sv,
                          "::1]:80"sv,
                          "[]:80"sv,
                          "[1.2.3.4]:80"sv,
                          "[[::1]]:80"sv,
                          "[::1] :80"sv,
                          "localhost:80"sv,
                          "unix:"sv,
                          "unix:@"sv,
                          "unix"sv,
                          "unix:a\0b"sv,
                          "unix:\\"sv,
                          "unix:\\x4"sv,
                          "unix:\\xg0"sv,
                          "unix:\\n00"sv,
                          "unix:\\x00"sv,
                          "unnamed"sv}) {
    const auto result = endpoint::parse(text);
    ASSERT_FALSE(result.has_value()) << text;
    EXPECT_EQ(result.error(), std::errc::invalid_argument) << text;
  }
}

TEST(endpoint, limits_unix_names_to_what_sun_path_holds) {
  const std::string longest(endpoint::unix_name_size_max, 'x');
  EXPECT_EQ(endpoint::unix_path(longest)->unix_name(), longest);
  EXPECT_EQ(endpoint::unix_abstract(longest)->unix_name(), longest);
  EXPECT_EQ(endpoint::unix_path(longest)->native().size(), endpoint::native_size_max);
  EXPECT_EQ(endpoint::unix_path(longest + 'x').error(), std::errc::filename_too_long);
  EXPECT_EQ(endpoint::unix_abstract(longest + 'x').error(), std::errc::filename_too_long);
  EXPECT_EQ(endpoint::parse("unix:" + longest + 'x').error(), std::errc::filename_too_long);
}

TEST(endpoint, gives_the_kernel_a_sockaddr_in) {
  const endpoint made(address::v4(1, 2, 3, 4), 0x1234);
  sockaddr_in native{};
  ASSERT_EQ(made.native().size(), sizeof native);
  std::memcpy(&native, made.native().data(), sizeof native);
  EXPECT_EQ(native.sin_family, AF_INET);
  EXPECT_EQ(native.sin_port, htons(0x1234));
  EXPECT_EQ(native.sin_addr.s_addr, htonl(0x01020304));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(made.native().data()) % alignof(sockaddr_in), 0U);
}

TEST(endpoint, gives_the_kernel_a_sockaddr_in6) {
  const endpoint made = parsed("[fe80::5%9]:80");
  sockaddr_in6 native{};
  ASSERT_EQ(made.native().size(), sizeof native);
  std::memcpy(&native, made.native().data(), sizeof native);
  EXPECT_EQ(native.sin6_family, AF_INET6);
  EXPECT_EQ(native.sin6_port, htons(80));
  EXPECT_EQ(native.sin6_flowinfo, 0U);
  EXPECT_EQ(native.sin6_scope_id, 9U);
  EXPECT_EQ(native.sin6_addr.s6_addr[15], 5);
}

TEST(endpoint, survives_the_way_through_the_kernels_form) {
  for (const auto text : {"1.2.3.4:80", "[fe80::1%3]:80", "unix:/run/x", "unix:@a\\x00b"}) {
    const endpoint made = parsed(text);
    EXPECT_EQ(endpoint::from_native(made.native()).value(), made) << text;
  }
  EXPECT_EQ(endpoint::from_native(endpoint().native()).value(), endpoint());
  EXPECT_EQ(endpoint::from_native({}).value(), endpoint());
}

TEST(endpoint, drops_the_flow_label_of_a_peer) {
  sockaddr_in6 native{};
  native.sin6_family = AF_INET6;
  native.sin6_addr.s6_addr[15] = 1;
  native.sin6_flowinfo = htonl(0x12345);
  EXPECT_EQ(endpoint::from_native(bytes_of(native)).value(), endpoint(address::loopback_v6(), 0));
}

TEST(endpoint, reads_unix_paths_with_and_without_terminator) {
  sockaddr_un native{};
  native.sun_family = AF_UNIX;
  std::memset(native.sun_path, 'x', sizeof native.sun_path);
  const auto whole = endpoint::from_native(bytes_of(native));
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->unix_name(), std::string(108, 'x'));
  EXPECT_EQ(whole->native().size(), endpoint::native_size_max);
  const auto cut = endpoint::from_native(bytes_of(native, 5));
  ASSERT_TRUE(cut.has_value());
  EXPECT_EQ(cut->unix_name(), "xxx");
  EXPECT_EQ(*cut, *endpoint::unix_path("xxx"));

  std::vector<std::byte> longer(111, std::byte{'x'});  // as getsockname(2) may report it
  std::memcpy(longer.data(), &native.sun_family, sizeof native.sun_family);
  EXPECT_EQ(endpoint::from_native(longer).value(), *whole);
}

TEST(endpoint, refuses_bytes_that_are_no_socket_address) {
  const sockaddr_in four{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {}, .sin_zero = {}};
  for (std::size_t size = 1; size < sizeof four; ++size) {
    EXPECT_EQ(endpoint::from_native(bytes_of(four, size)).error(), std::errc::invalid_argument);
  }
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  for (std::size_t size = 1; size < sizeof six; ++size) {
    EXPECT_EQ(endpoint::from_native(bytes_of(six, size)).error(), std::errc::invalid_argument);
  }
  six.sin6_family = AF_NETLINK;
  EXPECT_EQ(endpoint::from_native(bytes_of(six)).error(), std::errc::address_family_not_supported);
}

TEST(endpoint, survives_any_bytes_from_the_kernel) {
  std::mt19937 random(3);
  for (int i = 0; i < 100000; ++i) {
    std::vector<std::byte> bytes(random() % 130);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random() & 0xffU);
    if (bytes.size() >= 2) bytes[1] = std::byte{0};
    if (!bytes.empty()) bytes[0] = static_cast<std::byte>(random() % 2 ? AF_UNIX : random() % 12);
    const auto made = endpoint::from_native(bytes);
    if (!made) continue;
    ASSERT_LE(made->native().size(), endpoint::native_size_max);
    ASSERT_EQ(endpoint::from_native(made->native()).value(), *made) << *made;
    if (made->is_unix() && made->unix_name().size() > 0 && made->unix_name().size() < 108) {
      ASSERT_EQ(parsed(made->to_string()), *made);
    }
  }
}

TEST(endpoint, tells_its_parts) {
  const endpoint ip = parsed("[::1]:8888");
  EXPECT_EQ(ip.kind(), endpoint_kind::ipv6);
  EXPECT_TRUE(ip.is_ip());
  EXPECT_EQ(ip.port(), 8888);
  EXPECT_EQ(ip.ip()->address(), address::loopback_v6());
  EXPECT_EQ(ip.unix_name(), "");
  const endpoint path = parsed("unix:/x");
  EXPECT_EQ(path.kind(), endpoint_kind::unix_path);
  EXPECT_TRUE(path.is_unix());
  EXPECT_FALSE(path.ip().has_value());
  EXPECT_EQ(path.port(), 0);
  EXPECT_EQ(parsed("unix:@x").kind(), endpoint_kind::unix_abstract);
  EXPECT_EQ(endpoint().kind(), endpoint_kind::unnamed);
  EXPECT_EQ(endpoint().to_string(), "unnamed");
}

TEST(endpoint, keeps_logs_free_of_control_characters) {
  EXPECT_EQ(endpoint::unix_abstract("\n\x1b[31m\0"sv)->to_string(), "unix:@\\x0a\\x1b[31m\\x00");
}

TEST(endpoint, orders_by_kind_then_address_then_port) {
  const std::vector<endpoint> sorted = {
      endpoint(),        parsed("1.2.3.4:255"), parsed("1.2.3.4:256"), parsed("1.2.3.5:1"),
      parsed("[::1]:1"), parsed("unix:/a"),     parsed("unix:/a/b"),   parsed("unix:@a")};
  EXPECT_TRUE(std::is_sorted(sorted.begin(), sorted.end()));
  std::unordered_set<endpoint> set(sorted.begin(), sorted.end());
  set.insert(sorted.begin(), sorted.end());
  EXPECT_EQ(set.size(), sorted.size());
}

TEST(endpoint, neighbouring_ports_hash_apart) {
  std::unordered_set<std::size_t> hashes;
  for (unsigned port = 0; port <= 0xffff; ++port) {
    hashes.insert(std::hash<ip_endpoint>{}(
        ip_endpoint(address::loopback_v4(), static_cast<std::uint16_t>(port))));
  }
  EXPECT_EQ(hashes.size(), 0x10000U);
}

TEST(endpoint, bound_unnamed_becomes_an_abstract_name_of_the_kernels_choice) {
  const int descriptor = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(descriptor, 0);
  const endpoint unnamed;
  ASSERT_EQ(::bind(descriptor, reinterpret_cast<const sockaddr*>(unnamed.native().data()),
                   static_cast<socklen_t>(unnamed.native().size())),
            0);
  sockaddr_un native{};
  socklen_t size = sizeof native;
  ASSERT_EQ(::getsockname(descriptor, reinterpret_cast<sockaddr*>(&native), &size), 0);
  const auto local = endpoint::from_native(bytes_of(native, size));
  ASSERT_TRUE(local.has_value());
  EXPECT_EQ(local->kind(), endpoint_kind::unix_abstract);
  EXPECT_EQ(local->unix_name().size(), 5U) << "unix(7): five hexadecimal digits";
  ::close(descriptor);
}

}  // namespace
}  // namespace rill
