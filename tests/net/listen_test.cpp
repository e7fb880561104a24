// Listening by name, and on sockets that were handed over. The latter in a child process, which has
// its own descriptors and environment.
#include <rill/net/listen.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/known_hosts.h"
#include <rill/net/connect.h>
#include <rill/net/unix.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>

namespace rill {
namespace {

using test::known_hosts;
using test::run_loop;
using texts = std::vector<std::string>;

texts texts_of(const std::vector<endpoint>& endpoints) {
  texts all;
  for (const endpoint& each : endpoints) all.push_back(each.to_string());
  return all;
}

texts at_port(const texts& hosts, std::uint16_t port) {
  texts all;
  for (const std::string& host : hosts) all.push_back(host + ":" + std::to_string(port));
  return all;
}

/// What listen() says: the addresses, or the error.
task<std::string> outcome(std::string host, service to, resolver* with = nullptr) {
  try {
    const tcp_listener listener = co_await listen(host, to, listen_options(), with);
    std::string text;
    for (const endpoint& each : listener.locals()) text += each.ip()->address().to_string() + ' ';
    co_return text;
  } catch (const io_error& failure) {
    co_return failure.what();
  }
}

TEST(listen, takes_both_families_of_localhost_on_one_port) {
  run_loop([]() -> task<> {
    tcp_listener listener = co_await tcp_listener::bind("localhost", 0);
    const std::uint16_t port = listener.local().port();
    EXPECT_NE(port, 0);
    EXPECT_EQ(texts_of(listener.locals()), at_port({"[::1]", "127.0.0.1"}, port));
    for (const std::string host : {"::1", "127.0.0.1"}) {
      const tcp_stream client = co_await connect(host, port);
      const tcp_stream accepted = co_await listener.accept();
      EXPECT_EQ(accepted.peer(), client.local());
    }
  });
}

TEST(listen, takes_all_addresses_when_no_host_is_named) {
  run_loop([]() -> task<> {
    const tcp_listener listener = co_await listen("", 0);
    EXPECT_EQ(texts_of(listener.locals()), at_port({"[::]", "0.0.0.0"}, listener.local().port()));
  });
}

TEST(listen, leaves_out_addresses_that_the_machine_has_not) {
  const known_hosts hosts("203.0.113.1 some\n127.0.0.2 some\n2001:db8::1 some\n203.0.113.1 none\n");
  run_loop([&]() -> task<> {
    const std::string some = co_await outcome("some", 0, hosts.with.get());
    EXPECT_EQ(some, "127.0.0.2 ");
    const std::string none = co_await outcome("none", 0, hosts.with.get());
    EXPECT_EQ(none, "bind 203.0.113.1:0: Cannot assign requested address");
  });
}

TEST(listen, refuses_a_port_that_is_taken_in_one_family_and_keeps_nothing) {
  run_loop([]() -> task<> {
    const tcp_listener taken = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    const std::uint16_t port = taken.local().port();
    const std::string said = co_await outcome("localhost", port);
    EXPECT_EQ(said, "bind 127.0.0.1:" + std::to_string(port) + ": Address already in use");
    // The socket on ::1 is being closed; when it has gone the other family can be had.
    co_await test::settle();
    const std::string alone = co_await outcome("::1", port);
    EXPECT_EQ(alone, "::1 ");
  });
}

TEST(listen, says_why_a_name_cannot_be_listened_on) {
  run_loop([]() -> task<> {
    const std::string unknown = co_await outcome("nobody.invalid", 80);
    EXPECT_EQ(unknown, "resolve nobody.invalid: name not found");
    const std::string no_service = co_await outcome("localhost", "no-such-service");
    EXPECT_EQ(no_service, "resolve service no-such-service: Invalid argument");
  });
}

TEST(bind_udp, takes_both_families_of_localhost_on_one_port) {
  run_loop([]() -> task<> {
    std::vector<udp_socket> sockets = co_await bind_udp("localhost", 0);
    EXPECT_EQ(sockets.size(), 2U);
    const std::uint16_t port = sockets.front().local().port();
    EXPECT_EQ(sockets[0].local().to_string(), "[::1]:" + std::to_string(port));
    EXPECT_EQ(sockets[1].local().to_string(), "127.0.0.1:" + std::to_string(port));
    for (udp_socket& each : sockets) {
      udp_socket client = udp_socket::open(each.local().ip()->address().family());
      const endpoint to = each.local();
      co_await client.send_to("hello", to);
      std::vector<std::byte> buffer(16);
      const datagram_info came = co_await each.recv_from(buffer);
      EXPECT_EQ(came.size(), 5U);
    }
  });
}

/// The port of "localhost" in both families, when the kernel chooses it and `bind` fails once more.
std::string ports_when_bind_fails(const sim::fault& fault, bool udp) {
  sim::world world(1);
  sim::host& host = world.add_host("host", "10.0.0.1");
  const auto guard = world.inject(fault);
  std::string text;
  const auto body = [&]() -> task<> {
    std::vector<endpoint> locals;
    try {
      if (udp) {
        for (const udp_socket& each : co_await bind_udp("localhost", 0)) {
          locals.push_back(each.local());
        }
      } else {
        const tcp_listener listener = co_await listen("localhost", 0);
        locals = listener.locals();
      }
    } catch (const io_error& failure) {
      text = std::strerror(failure.code().value());
      co_return;
    }
    const bool same = locals.size() == 2 && locals[0].port() == locals[1].port();
    text = same ? "one port" : "not one port";
  };
  world.run(host.run(body));
  return text;
}

TEST(sim_listen, takes_another_port_when_the_one_it_was_given_is_taken_in_the_other_family) {
  // The first two find out which addresses the machine has.
  constexpr std::uint64_t second = 4;
  for (const bool udp : {false, true}) {
    const sim::fault taken = sim::failure("bind", EADDRINUSE);
    EXPECT_EQ(ports_when_bind_fails(taken.only(second), udp), "one port");
    EXPECT_EQ(ports_when_bind_fails(taken.beginning_with(second), udp), "Address already in use");
    EXPECT_EQ(ports_when_bind_fails(sim::failure("bind", EACCES).only(second), udp),
              "Permission denied");
  }
}

TEST(bind_udp, refuses_a_port_that_is_taken) {
  run_loop([]() -> task<> {
    const udp_socket taken = udp_socket::bind(endpoint(address::loopback_v4(), 0));
    const std::string port = std::to_string(taken.local().port());
    try {
      co_await bind_udp("localhost", port);
      ADD_FAILURE() << "bound";
    } catch (const io_error& failure) {
      EXPECT_EQ(failure.what(), "bind 127.0.0.1:" + port + ": Address already in use");
    }
  });
}

// ---------------------------------------------------------------- socket activation

/// A socket as a service manager opens it.
class handed_over {
 public:
  handed_over(const endpoint& to, int type, bool listens) {
    int family = AF_UNIX;
    if (to.kind() == endpoint_kind::ipv4) family = AF_INET;
    if (to.kind() == endpoint_kind::ipv6) family = AF_INET6;
    descriptor = ::socket(family, type | SOCK_CLOEXEC, 0);
    const auto name = to.native();
    ::bind(descriptor, reinterpret_cast<const sockaddr*>(name.data()),
           static_cast<socklen_t>(name.size()));
    if (listens) ::listen(descriptor, 16);
  }
  handed_over(handed_over&& other) noexcept : descriptor(std::exchange(other.descriptor, -1)) {}
  handed_over& operator=(handed_over&&) = delete;
  ~handed_over() {
    if (descriptor >= 0) ::close(descriptor);
  }
  std::uint16_t port() const {
    alignas(8) std::byte name[endpoint::native_size_max];
    socklen_t size = sizeof(name);
    ::getsockname(descriptor, reinterpret_cast<sockaddr*>(name), &size);
    return endpoint::from_native({name, size}).value().port();
  }
  int descriptor;
};

handed_over tcp(const address& ip = address::loopback_v4(), std::uint16_t port = 0) {
  return handed_over(endpoint(ip, port), SOCK_STREAM, true);
}

/// The environment of a child; an empty value stands for a variable that is not set.
class environment {
 public:
  std::string process = "own";  // its process id
  std::string count = "all";    // as many as are handed over
  std::string names;
};

/// Runs `body` on a loop in a child process that was handed `descriptors`. Gives its text, or that
/// of its exception.
std::string in_child(const std::vector<int>& descriptors, const environment& variables,
                     const std::function<task<std::string>()>& body) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // Out of the way first: some may stand where others are to go.
    const int report = ::fcntl(ends[1], F_DUPFD, 200);
    std::vector<int> copies;
    for (const int each : descriptors) copies.push_back(::fcntl(each, F_DUPFD, 200));
    for (std::size_t i = 0; i != copies.size(); ++i) {
      ::dup2(copies[i], 3 + static_cast<int>(i));
    }
    const auto set = [](const char* name, const std::string& value) {
      if (!value.empty()) ::setenv(name, value.c_str(), 1);
    };
    set("LISTEN_PID", variables.process == "own" ? std::to_string(::getpid()) : variables.process);
    set("LISTEN_FDS",
        variables.count == "all" ? std::to_string(descriptors.size()) : variables.count);
    set("LISTEN_FDNAMES", variables.names);
    std::string text;
    try {
      text = run_loop(body());
    } catch (const std::exception& failure) {
      text = failure.what();
    }
    const bool written = ::write(report, text.data(), text.size()) >= 0;
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char part[256];
  for (ssize_t size = 0; (size = ::read(ends[0], part, sizeof(part))) > 0;) {
    text.append(part, static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? text : text + " (status " + std::to_string(status) + ')';
}

/// "NAME KIND ADDRESS" of each, the port left out.
task<std::string> describe_activated() {
  std::string text;
  for (const activated_socket& each : activated_listeners()) {
    const char* const kinds[] = {"tcp", "unix", "udp", "unix_datagram"};
    const std::string local =
        each.local().is_ip() ? each.local().ip()->address().to_string() : each.local().to_string();
    text += each.name() + ' ' + kinds[static_cast<int>(each.type())] + ' ' + local + "; ";
    if ((::fcntl(each.descriptor(), F_GETFD) & FD_CLOEXEC) == 0) text += "left open! ";
  }
  for (const char* const name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) {
    if (std::getenv(name) != nullptr) text += "still set! ";
  }
  co_return text;
}

TEST(socket_activation, gives_kinds_names_and_addresses_and_unsets_the_variables) {
  const handed_over first = tcp();
  const handed_over second(endpoint(address::loopback_v6(), 0), SOCK_DGRAM, false);
  const std::string path = "rill_test_" + std::to_string(::getpid());
  const handed_over third(endpoint::unix_abstract(path).value(), SOCK_STREAM, true);
  environment variables;
  const std::vector<int> all{first.descriptor, second.descriptor, third.descriptor};
  EXPECT_EQ(in_child(all, variables, describe_activated),
            "unknown tcp 127.0.0.1; unknown udp ::1; unknown unix unix:@" + path + "; ");
  variables.names = "web:dns";
  EXPECT_EQ(in_child(all, variables, describe_activated),
            "web tcp 127.0.0.1; dns udp ::1; unknown unix unix:@" + path + "; ");
}

TEST(socket_activation, is_for_the_process_that_was_meant) {
  const handed_over first = tcp();
  environment variables;
  variables.process = "1";
  EXPECT_EQ(in_child({first.descriptor}, variables, describe_activated), "");
  variables.process.clear();
  variables.count.clear();
  EXPECT_EQ(in_child({first.descriptor}, variables, describe_activated), "");
}

TEST(socket_activation, refuses_malformed_variables) {
  const handed_over first = tcp();
  for (const std::string count : {"x", "-1", "1x", "99999999999", "5000"}) {
    environment variables;
    variables.count = count;
    EXPECT_EQ(in_child({first.descriptor}, variables, describe_activated),
              "activate LISTEN_FDS=" + count + ": Invalid argument");
  }
  environment variables;
  variables.process = "me";
  EXPECT_EQ(in_child({first.descriptor}, variables, describe_activated),
            "activate LISTEN_FDS=1: Invalid argument");
}

TEST(socket_activation, refuses_descriptors_that_neither_listen_nor_take_datagrams) {
  const handed_over first = tcp();
  const handed_over bound(endpoint(address::loopback_v4(), 0), SOCK_STREAM, false);
  EXPECT_EQ(in_child({first.descriptor, bound.descriptor}, {}, describe_activated),
            "activate descriptor 4: Invalid argument");
  const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(in_child({file}, {}, describe_activated),
            "activate descriptor 3: Socket operation on non-socket");
  ::close(file);
  const int packets = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  EXPECT_EQ(in_child({packets}, {}, describe_activated),
            "activate descriptor 3: Socket type not supported");
  ::close(packets);
  environment variables;
  variables.count = "2000";
  const std::string said = in_child({first.descriptor}, variables, describe_activated);
  EXPECT_TRUE(said.starts_with("activate descriptor ")) << said;
}

TEST(socket_activation, closes_what_is_replaced_and_keeps_what_is_moved) {
  const handed_over first = tcp();
  const handed_over second = tcp();
  const auto body = []() -> task<std::string> {
    std::vector<activated_socket> all = activated_listeners();
    const int replaced = all[0].descriptor();
    const int kept = all[1].descriptor();
    const endpoint local = all[1].local();
    all[0] = std::move(all[1]);
    std::string text = all[0].descriptor() == kept && all[0].local() == local ? "moved " : "lost ";
    text += ::fcntl(replaced, F_GETFD) < 0 ? "closed " : "left open ";
    all.clear();
    text += ::fcntl(kept, F_GETFD) < 0 ? "closed" : "left open";
    co_return text;
  };
  EXPECT_EQ(in_child({first.descriptor, second.descriptor}, {}, body), "moved closed closed");
}

TEST(socket_activation, is_used_by_listen_for_its_port) {
  const handed_over first = tcp();
  const handed_over second = tcp(address::loopback_v6(), first.port());
  const handed_over other = tcp();
  // As some managers leave them; waiting for a connection must not become EAGAIN.
  ::fcntl(first.descriptor, F_SETFL, ::fcntl(first.descriptor, F_GETFL) | O_NONBLOCK);
  const std::uint16_t port = first.port();
  const auto body = [port]() -> task<std::string> {
    tcp_listener listener = co_await listen("localhost", port);
    std::string text = listener.locals().size() == 2 ? "both " : "not both ";
    for (const std::string host : {"::1", "127.0.0.1"}) {
      tcp_stream client;
      tcp_stream accepted;
      const auto call = [&]() -> task<> { client = co_await connect(host, port); };
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start(std::ref(call));
        accepted = co_await listener.accept();
      });
      text += accepted.peer() == client.local() ? "accepted " : "refused ";
    }
    // Its own port is another one, so this is bound as ever.
    const tcp_listener fresh = co_await listen("127.0.0.2", port);
    text += fresh.local().ip()->address().to_string() + ' ';
    const std::string rest = co_await describe_activated();
    co_return text + rest;
  };
  EXPECT_EQ(in_child({first.descriptor, second.descriptor, other.descriptor}, {}, body),
            "both accepted accepted 127.0.0.2 unknown tcp 127.0.0.1; ");
}

TEST(socket_activation, gives_every_listener_to_listen_with_any_port) {
  const handed_over first = tcp();
  const handed_over second = tcp();
  const auto body = []() -> task<std::string> {
    const tcp_listener listener = co_await listen("localhost", 0);
    co_return std::to_string(listener.locals().size());
  };
  EXPECT_EQ(in_child({first.descriptor, second.descriptor}, {}, body), "2");
}

TEST(socket_activation, is_used_by_bind_udp_for_its_port) {
  const handed_over first(endpoint(address::loopback_v4(), 0), SOCK_DGRAM, false);
  ::fcntl(first.descriptor, F_SETFL, ::fcntl(first.descriptor, F_GETFL) | O_NONBLOCK);
  const std::uint16_t port = first.port();
  const auto body = [port]() -> task<std::string> {
    std::vector<udp_socket> sockets = co_await bind_udp("localhost", port);
    std::string text = std::to_string(sockets.size());
    std::vector<std::byte> buffer(16);
    const auto receive = [&]() -> task<> {
      const datagram_info came = co_await sockets[0].recv_from(buffer);
      text += ' ' + std::to_string(came.size());
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(std::ref(receive));
      co_await test::settle();  // so that it waits before anything comes
      udp_socket client = udp_socket::open(address_family::ipv4);
      const endpoint to(address::loopback_v4(), port);
      co_await client.send_to("hello", to);
    });
    co_return text;
  };
  EXPECT_EQ(in_child({first.descriptor}, {}, body), "1 5");
}

TEST(socket_activation, hands_unix_sockets_to_those_who_adopt_them) {
  const std::string own = "rill_test_unix_" + std::to_string(::getpid());
  const handed_over streams(endpoint::unix_abstract(own + "s").value(), SOCK_STREAM, true);
  const handed_over datagrams(endpoint::unix_abstract(own + "d").value(), SOCK_DGRAM, false);
  for (const int each : {streams.descriptor, datagrams.descriptor}) {
    ::fcntl(each, F_SETFL, ::fcntl(each, F_GETFL) | O_NONBLOCK);
  }
  const auto body = []() -> task<std::string> {
    unix_listener listener;
    unix_datagram receiver;
    for (activated_socket& each : activated_listeners()) {
      if (each.type() == activated_socket::kind::unix_listener) {
        listener = unix_listener::adopt(each.release());
      } else if (each.type() == activated_socket::kind::unix_datagram) {
        receiver = unix_datagram::adopt(each.release());
      }
    }
    std::string text;
    unix_stream accepted;
    unix_stream client;
    const auto call = [&]() -> task<> {
      co_await test::settle();  // accept() and receive() wait before that
      client = co_await unix_stream::connect(listener.local());
      co_await client.write_all("a stream, ");
      unix_datagram sender = unix_datagram::open();
      co_await sender.send_to("a datagram", receiver.local());
    };
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(std::ref(call));
      accepted = co_await listener.accept();
      const lease bytes = co_await accepted.read_lease();
      text += const_buffer(bytes).text();
      const datagram came = co_await receiver.receive();
      text += came.text();
    });
    co_return text;
  };
  EXPECT_EQ(in_child({streams.descriptor, datagrams.descriptor}, {}, body), "a stream, a datagram");
}

}  // namespace
}  // namespace rill
