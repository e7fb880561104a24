// Connecting by name: which address is tried when, what becomes of the losers, what errors say.
// Hosts with several addresses are lines of a hosts file in 127.0.0.0/8, all of it loopback.
#include <rill/net/connect.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "net/name_server.h"
#include "support.h"
#include "support/descriptors.h"
#include "support/known_hosts.h"
#include <rill/net/udp.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using test::bytes;
using test::known_hosts;
using test::message;
using test::name_server;
using test::query;
using test::run_loop;

/// A TCP socket outside the loop, bound to an address with a port of its own or a given one.
class raw_socket {
 public:
  explicit raw_socket(const endpoint& to) {
    const int family = to.kind() == endpoint_kind::ipv6 ? AF_INET6 : AF_INET;
    descriptor = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto name = to.native();
    EXPECT_EQ(::bind(descriptor, reinterpret_cast<const sockaddr*>(name.data()),
                     static_cast<socklen_t>(name.size())),
              0)
        << to;
  }
  raw_socket(raw_socket&& other) noexcept : descriptor(std::exchange(other.descriptor, -1)) {}
  raw_socket& operator=(raw_socket&&) = delete;
  ~raw_socket() {
    if (descriptor >= 0) ::close(descriptor);
  }
  std::uint16_t port() const {
    sockaddr_in6 name{};
    socklen_t size = sizeof(name);
    ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&name), &size);
    return ntohs(name.sin6_port);  // where sockaddr_in has it
  }
  int descriptor;
};

/// An endpoint that refuses connections and belongs to nobody else: bound, not listening.
raw_socket refusing(const address& ip, std::uint16_t port = 0) {
  return raw_socket(endpoint(ip, port));
}

/// An endpoint at which attempts hang: it listens and its backlog is full, so that Linux drops the
/// SYNs of others.
class hanging {
 public:
  explicit hanging(const address& ip, std::uint16_t port = 0) : listener_(endpoint(ip, port)) {
    ::listen(listener_.descriptor, 0);
    const endpoint to(ip, listener_.port());
    const auto name = to.native();
    for (int i = 0; i != 3; ++i) {
      raw_socket& filler = fillers_.emplace_back(endpoint(ip, 0));
      if (i != 0) ::fcntl(filler.descriptor, F_SETFL, O_NONBLOCK);
      ::connect(filler.descriptor, reinterpret_cast<const sockaddr*>(name.data()),
                static_cast<socklen_t>(name.size()));
    }
  }
  std::uint16_t port() const { return listener_.port(); }
  /// Lets in what waits, until cancelled: from now on attempts succeed when they repeat their SYN.
  task<> open() {
    ::fcntl(listener_.descriptor, F_SETFL, O_NONBLOCK);
    while (true) {
      const int one = ::accept4(listener_.descriptor, nullptr, nullptr, SOCK_CLOEXEC);
      if (one >= 0) ::close(one);
      co_await sleep_for(5ms);
    }
  }

 private:
  raw_socket listener_;
  std::vector<raw_socket> fillers_;
};

connect_options asking(const known_hosts& hosts) {
  connect_options options;
  options.with = hosts.with.get();
  return options;
}

/// "connected PEER" or what the error says.
task<std::string> outcome(std::string host, service to, connect_options options = {}) {
  try {
    const tcp_stream stream = co_await connect(host, to, options);
    co_return "connected " + stream.peer().to_string();
  } catch (const io_error& failure) {
    co_return failure.what();
  }
}

address loopback(std::uint8_t last) { return address::v4(127, 0, 0, last); }

TEST(connect, has_the_delays_of_rfc_8305_by_default) {
  EXPECT_EQ(connect_options().attempt_delay, 250ms);
  EXPECT_EQ(connect_options::resolution_delay, 50ms);
  EXPECT_EQ(connect_options().timeout, 30s);
}

TEST(connect, reaches_addresses_and_names) {
  run_loop([]() -> task<> {
    const tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    const std::uint16_t port = listener.local().port();
    const std::string expected = "connected 127.0.0.1:" + std::to_string(port);
    const std::string by_address = co_await outcome("127.0.0.1", port);
    EXPECT_EQ(by_address, expected);
    const std::string by_name = co_await outcome("localhost", std::to_string(port));
    EXPECT_EQ(by_name, expected);
  });
}

TEST(connect, names_the_only_address_and_the_reason) {
  const raw_socket nobody = refusing(address::loopback_v4());
  run_loop([&]() -> task<> {
    const std::string said = co_await outcome("127.0.0.1", nobody.port());
    EXPECT_EQ(said, "connect 127.0.0.1:" + std::to_string(nobody.port()) + ": Connection refused");
  });
}

TEST(connect, names_the_host_and_every_address_with_its_reason) {
  const raw_socket nobody = refusing(address::loopback_v6());
  const std::string port = std::to_string(nobody.port());
  run_loop([&]() -> task<> {
    try {
      co_await connect("localhost", port);
      ADD_FAILURE() << "connected";
    } catch (const io_error& failure) {
      EXPECT_EQ(failure.what(), "connect localhost:" + port + ": [::1]:" + port +
                                    ": Connection refused; 127.0.0.1:" + port +
                                    ": Connection refused");
      EXPECT_EQ(failure.code(), std::errc::connection_refused);
    }
  });
}

TEST(connect, takes_its_code_from_the_most_telling_failure) {
  const raw_socket nobody = refusing(loopback(2));
  const std::string port = std::to_string(nobody.port());
  // A link-local address without an interface cannot be reached from anywhere.
  const known_hosts hosts("127.0.0.2 odd.example\nfe80::1%4000000 odd.example\n");
  run_loop([&]() -> task<> {
    connect_options options = asking(hosts);
    options.families = family_preference::ipv4_first;
    try {
      co_await connect("odd.example", port, options);
      ADD_FAILURE() << "connected";
    } catch (const io_error& failure) {
      const std::string said = failure.what();
      EXPECT_EQ(failure.code(), std::errc::connection_refused) << said;
      EXPECT_TRUE(said.starts_with("connect odd.example:" + port + ": [fe80::1%4000000]:")) << said;
      EXPECT_TRUE(said.ends_with("; 127.0.0.2:" + port + ": Connection refused")) << said;
    }
  });
}

TEST(connect, lists_eight_of_many_failures_and_counts_the_others) {
  const raw_socket nobody = refusing(address::any_v4());
  const std::string port = std::to_string(nobody.port());
  std::string lines;
  for (int i = 1; i <= 12; ++i) lines += "127.0.1." + std::to_string(i) + " many.example\n";
  const known_hosts hosts(lines);
  run_loop([&]() -> task<> {
    const std::string said = co_await outcome("many.example", port, asking(hosts));
    EXPECT_TRUE(said.starts_with("connect many.example:" + port + ": 4 others; 127.0.1.5:"))
        << said;
    EXPECT_TRUE(said.ends_with("; 127.0.1.12:" + port + ": Connection refused")) << said;
  });
}

TEST(connect, tries_the_next_address_at_once_after_a_failure) {
  const known_hosts hosts("127.0.0.2 two.example\n127.0.0.3 two.example\n");
  run_loop([&]() -> task<> {
    const tcp_listener listener = tcp_listener::bind(endpoint(loopback(3), 0));
    const std::uint16_t port = listener.local().port();
    connect_options options = asking(hosts);
    options.attempt_delay = 1h;
    const std::string said = co_await outcome("two.example", port, options);
    EXPECT_EQ(said, "connected 127.0.0.3:" + std::to_string(port));
  });
}

TEST(connect, tries_the_next_address_beside_one_that_hangs) {
  const known_hosts hosts("127.0.0.2 two.example\n127.0.0.3 two.example\n");
  const hanging first(loopback(2));
  const auto before = test::open_descriptor_count();
  run_loop([&]() -> task<> {
    const tcp_listener listener = tcp_listener::bind(endpoint(loopback(3), first.port()));
    connect_options options = asking(hosts);
    options.attempt_delay = 20ms;
    const auto begin = loop_clock::now();
    const std::string said = co_await outcome("two.example", first.port(), options);
    EXPECT_EQ(said, "connected 127.0.0.3:" + std::to_string(first.port()));
    EXPECT_GE(loop_clock::now() - begin, 20ms);
  });
  EXPECT_EQ(test::open_descriptor_count(), before);
}

TEST(connect, prefers_the_earlier_attempt_if_it_succeeds_while_later_ones_hang) {
  const known_hosts hosts("127.0.0.3 two.example\n127.0.0.2 two.example\n");
  hanging first(loopback(3));
  const hanging second(loopback(2), first.port());
  run_loop([&]() -> task<> {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      connect_options options = asking(hosts);
      options.attempt_delay = 20ms;
      tasks.start([&]() -> task<> {
        // The second attempt has begun.
        while (loop::current().task_tree().find("connect 127.0.0.2:") == std::string::npos) {
          co_await sleep_for(5ms);
        }
        co_await first.open();
      });
      const std::string said = co_await outcome("two.example", first.port(), options);
      EXPECT_EQ(said, "connected 127.0.0.3:" + std::to_string(first.port()));
      tasks.cancel();
    });
  });
}

TEST(connect, tells_after_a_timeout_which_attempts_it_began_in_which_order) {
  const known_hosts hosts(
      "127.0.0.2 three.example\n127.0.0.3 three.example\n127.0.0.4 three.example\n");
  const hanging first(loopback(2));
  const hanging second(loopback(3), first.port());
  const hanging third(loopback(4), first.port());
  const std::string port = std::to_string(first.port());
  run_loop([&]() -> task<> {
    connect_options options = asking(hosts);
    options.attempt_delay = 10ms;
    options.timeout = 250ms;
    try {
      co_await connect("three.example", port, options);
      ADD_FAILURE() << "connected";
    } catch (const timeout_error& failure) {
      EXPECT_EQ(failure.what(), "connect three.example:" + port + ": 127.0.0.2:" + port +
                                    ": Connection timed out; 127.0.0.3:" + port +
                                    ": Connection timed out; 127.0.0.4:" + port +
                                    ": Connection timed out");
    }
  });
}

TEST(connect, says_why_a_name_did_not_resolve) {
  run_loop([]() -> task<> {
    const std::string unknown = co_await outcome("nobody.invalid", 80);
    EXPECT_EQ(unknown, "resolve nobody.invalid: name not found");
    const std::string malformed = co_await outcome("10.1", 80);
    EXPECT_EQ(malformed, "resolve 10.1: invalid host name");
    const std::string no_service = co_await outcome("localhost", "no-such-service");
    EXPECT_EQ(no_service, "resolve service no-such-service: Invalid argument");
  });
}

/// Runs `body` beside a name server that knows 127.0.0.1 and ::1.
template <class Prepare, class Body>
void beside_name_server(Prepare prepare, Body body) {
  run_loop([&]() -> task<> {
    name_server server([](const query& q) {
      const address ip = q.is_a() ? address::loopback_v4() : address::loopback_v6();
      return std::vector<bytes>{message(q).ip(q.name, ip)};
    });
    prepare(server);
    const known_hosts hosts("", server.where());
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&] { return server.run(); });
      co_await body(hosts);
      tasks.cancel();
    });
  });
}

TEST(connect, waits_a_moment_for_ipv6_when_ipv4_comes_first) {
  beside_name_server([](name_server& server) { server.aaaa_delay = 1ms; },
                     [](const known_hosts& hosts) -> task<> {
                       const tcp_listener listener = co_await tcp_listener::bind("localhost", 0);
                       const std::uint16_t port = listener.local().port();
                       const std::string said = co_await outcome("a.example", port, asking(hosts));
                       EXPECT_EQ(said, "connected [::1]:" + std::to_string(port));
                     });
}

TEST(connect, goes_ahead_with_ipv4_when_ipv6_does_not_come) {
  beside_name_server([](name_server& server) { server.aaaa_delay = 4s; },
                     [](const known_hosts& hosts) -> task<> {
                       const tcp_listener listener = co_await tcp_listener::bind("localhost", 0);
                       const std::uint16_t port = listener.local().port();
                       const auto begin = loop_clock::now();
                       const std::string said = co_await outcome("a.example", port, asking(hosts));
                       EXPECT_EQ(said, "connected 127.0.0.1:" + std::to_string(port));
                       EXPECT_GE(loop_clock::now() - begin, connect_options::resolution_delay);
                       EXPECT_LT(loop_clock::now() - begin, 4s);
                     });
}

TEST(connect, goes_ahead_with_ipv6_without_waiting_for_ipv4) {
  beside_name_server([](name_server& server) { server.a_delay = 4s; },
                     [](const known_hosts& hosts) -> task<> {
                       const tcp_listener listener = co_await tcp_listener::bind("localhost", 0);
                       const std::uint16_t port = listener.local().port();
                       const auto begin = loop_clock::now();
                       const std::string said = co_await outcome("a.example", port, asking(hosts));
                       EXPECT_EQ(said, "connected [::1]:" + std::to_string(port));
                       EXPECT_LT(loop_clock::now() - begin, 4s);
                     });
}

TEST(connect, uses_an_address_that_comes_while_others_are_tried) {
  const hanging first(address::loopback_v4());
  beside_name_server([](name_server& server) { server.aaaa_delay = 80ms; },
                     [&](const known_hosts& hosts) -> task<> {
                       const tcp_listener listener =
                           tcp_listener::bind(endpoint(address::loopback_v6(), first.port()));
                       connect_options options = asking(hosts);
                       options.attempt_delay = 10ms;
                       const std::string said =
                           co_await outcome("a.example", first.port(), options);
                       EXPECT_EQ(said, "connected [::1]:" + std::to_string(first.port()));
                     });
}

TEST(connect, times_out_while_it_still_looks_up) {
  beside_name_server(
      [](name_server& server) {
        server.a_delay = 4s;
        server.aaaa_delay = 4s;
      },
      [](const known_hosts& hosts) -> task<> {
        connect_options options = asking(hosts);
        options.timeout = 20ms;
        try {
          co_await connect("a.example", 80, options);
          ADD_FAILURE() << "connected";
        } catch (const timeout_error& failure) {
          EXPECT_STREQ(failure.what(), "resolve a.example: Connection timed out");
        }
      });
}

TEST(connect, is_cancelled_at_any_time_and_leaves_no_descriptor_behind) {
  const hanging first(address::loopback_v4());
  const hanging second(address::loopback_v6(), first.port());
  const auto before = test::open_descriptor_count();
  for (int turns = 0; turns != 25; ++turns) {
    beside_name_server([](name_server&) {},
                       [&](const known_hosts& hosts) -> task<> {
                         connect_options options = asking(hosts);
                         options.attempt_delay = 10ms;
                         co_await with_nursery([&](nursery& tasks) -> task<> {
                           tasks.start([&]() -> task<> {
                             co_await connect("a.example", first.port(), options);
                             ADD_FAILURE() << "connected";
                           });
                           // Turns that wait for nothing, then some that let attempts begin.
                           for (int i = 0; i != turns; ++i) {
                             co_await sleep_for(i < 15 ? 0ms : 5ms);
                           }
                           tasks.cancel();
                         });
                       });
  }
  EXPECT_EQ(test::open_descriptor_count(), before);
}

TEST(connect, comes_from_the_local_address_it_was_given) {
  run_loop([]() -> task<> {
    tcp_listener listener = co_await tcp_listener::bind("localhost", 0);
    connect_options options;
    options.connection.local = endpoint(loopback(9), 0);
    // Only IPv4 can be reached from there.
    const tcp_stream stream = co_await connect("localhost", listener.local().port(), options);
    EXPECT_TRUE(stream.local().to_string().starts_with("127.0.0.9:"));
    const tcp_stream accepted = co_await listener.accept();
    EXPECT_EQ(accepted.peer(), stream.local());

    // A port of one's own, which a connection that is being closed still holds.
    const tcp_listener other = co_await tcp_listener::bind("127.0.0.1", 0);
    options.connection.local = endpoint(loopback(9), refusing(loopback(9)).port());
    for (const std::uint16_t to : {listener.local().port(), other.local().port()}) {
      const tcp_stream numbered = co_await connect("localhost", to, options);
      EXPECT_EQ(numbered.local(), options.connection.local);
    }
  });
}

TEST(connect, says_when_the_local_address_is_not_ours) {
  run_loop([]() -> task<> {
    tcp_listener listener = co_await tcp_listener::bind("127.0.0.1", 0);
    connect_options options;
    options.connection.local = endpoint(address::v4(203, 0, 113, 1), 0);
    const std::string port = std::to_string(listener.local().port());
    const std::string said = co_await outcome("127.0.0.1", port, options);
    EXPECT_EQ(said, "connect 127.0.0.1:" + port +
                        ": bind 203.0.113.1:0: Cannot assign requested address");
  });
}

TEST(connect, tries_one_address_only_if_the_delay_has_no_end) {
  const known_hosts hosts("127.0.0.2 two.example\n127.0.0.3 two.example\n");
  const hanging first(loopback(2));
  const std::string port = std::to_string(first.port());
  run_loop([&]() -> task<> {
    const tcp_listener listener = tcp_listener::bind(endpoint(loopback(3), first.port()));
    connect_options options = asking(hosts);
    options.attempt_delay = std::chrono::nanoseconds::max();
    options.timeout = 1s;
    const std::string said = co_await outcome("two.example", port, options);
    EXPECT_EQ(said, "connect 127.0.0.2:" + port + ": Connection timed out");
  });
}

TEST(connect, asks_the_second_name_server_within_its_own_time) {
  run_loop([&]() -> task<> {
    const udp_socket dead = udp_socket::bind(endpoint(address::loopback_v4(), 0));
    name_server server([](const query& q) {
      const address ip = q.is_a() ? address::loopback_v4() : address::loopback_v6();
      return std::vector<bytes>{message(q).ip(q.name, ip)};
    });
    resolver_options asked;
    asked.hosts_path.clear();
    asked.config.emplace().name_servers = {*dead.local().ip(), server.where()};
    resolver with(asked);
    const tcp_listener listener = co_await tcp_listener::bind("localhost", 0);
    const std::uint16_t port = listener.local().port();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&] { return server.run(); });
      connect_options options;
      options.with = &with;
      options.timeout = 2s;
      const std::string said = co_await outcome("a.example", port, options);
      EXPECT_EQ(said, "connected [::1]:" + std::to_string(port));
      tasks.cancel();
    });
  });
}

TEST(connect, names_the_step_of_an_attempt_that_could_not_even_begin) {
  const known_hosts hosts("127.0.0.2 two.example\n127.0.0.3 two.example\n");
  run_loop([&]() -> task<> {
    connect_options options = asking(hosts);
    options.connection.local = endpoint(address::v4(203, 0, 113, 1), 0);
    const std::string bind = "bind 203.0.113.1:0: Cannot assign requested address";
    const std::string one = co_await outcome("127.0.0.1", 1, options);
    EXPECT_EQ(one, "connect 127.0.0.1:1: " + bind);
    const std::string two = co_await outcome("two.example", 1, options);
    EXPECT_EQ(two, "connect two.example:1: 127.0.0.2:1: " + bind + "; 127.0.0.3:1: " + bind);
    const test::descriptor_limit spent(test::next_descriptor());
    const std::string none = co_await outcome("127.0.0.1", 1);
    EXPECT_EQ(none, "connect 127.0.0.1:1: socket: Too many open files");
  });
}

}  // namespace
}  // namespace rill
