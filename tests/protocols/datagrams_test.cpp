// Echo over UDP where the kernel and the network refuse: which errors it outlives, and which end
// it. What it answers over a real network is in tests/net/udp_test.cpp.
#include <rill/protocols/echo/datagrams.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include <rill/net/udp.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/timeout.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;

task<> service() {
  co_await echo::serve_datagrams(udp_socket::bind(endpoint(address::v4(10, 0, 0, 1), 7)), {});
}

/// A host with the service and one that asks it. Faults come before start(): an operation that
/// waits already is not refused any more.
class sim_udp_echo : public testing::Test {
 protected:
  void start() {
    service_ = &server_.run(service);
    world_.run_for(1ms);
  }
  void restart() {
    service_->cancel();
    world_.run(*service_);
    start();
  }
  /// The answer, if one comes within 100 ms.
  std::optional<std::string> answer_to(std::string question) {
    std::optional<std::string> answer;
    world_.run(client_.run([&]() -> task<> {
      udp_socket socket = udp_socket::open(address_family::ipv4);
      co_await socket.send_to(const_buffer(question), endpoint(address::v4(10, 0, 0, 1), 7));
      const auto came = co_await as_result(with_timeout(100ms, socket.receive()));
      if (came) answer = std::string(came->text());
    }));
    return answer;
  }
  /// How often a receive of the service was refused with `error`.
  std::size_t refusal_count(int error) const {
    std::istringstream trace(world_.trace());
    std::size_t count = 0;
    for (std::string line; std::getline(trace, line);) {
      // "server" or, of a program that was started again, "server/1"
      if (line.find("server") != std::string::npos &&
          line.find(" recvmsg (") != std::string::npos &&
          line.find(") = " + std::to_string(-error) + ' ') != std::string::npos) {
        ++count;
      }
    }
    return count;
  }
  /// What leaves the service when it is started and asked; empty if it goes on.
  std::string end_of_service() {
    try {
      start();
      answer_to("question");
    } catch (const io_error& failure) {
      return failure.what();
    }
    return {};
  }

  sim::world world_{1};
  sim::host& server_ = world_.add_host("server", "10.0.0.1");
  sim::host& client_ = world_.add_host("client", "10.0.0.2");
  sim::program* service_ = nullptr;
};

TEST_F(sim_udp_echo, outlives_what_the_network_says_of_earlier_answers) {
  start();
  for (const int error : {ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ENETDOWN, EMSGSIZE, EPERM,
                          EACCES, EINTR, EHOSTDOWN, ENONET, EPROTO, ENOPROTOOPT}) {
    const auto told = world_.inject(sim::failure("recvmsg_multishot", error).on(server_).only(1));
    restart();
    EXPECT_EQ(refusal_count(error), 1U) << error;
    EXPECT_EQ(answer_to("question"), "question") << error;
  }
}

TEST_F(sim_udp_echo, loses_an_answer_that_cannot_be_sent_and_sends_the_next) {
  start();
  for (const int error : {ENOBUFS, ENOMEM, EPERM, EACCES, ENETUNREACH, EHOSTUNREACH, EMSGSIZE,
                          EINVAL, EADDRNOTAVAIL}) {
    const auto refused = world_.inject(sim::failure("sendmsg", error).on(server_).only(1));
    EXPECT_EQ(answer_to("first"), std::nullopt) << error;
    EXPECT_EQ(answer_to("second"), "second") << error;
  }
}

TEST_F(sim_udp_echo, waits_while_memory_is_short_instead_of_trying_without_end) {
  std::size_t tried = 0;
  {
    const auto shortage = world_.inject(sim::failure("recvmsg_multishot", ENOMEM).on(server_));
    start();
    EXPECT_EQ(answer_to("too early"), std::nullopt);
    tried = refusal_count(ENOMEM);
  }
  EXPECT_GT(tried, 2U);  // in 100 ms
  EXPECT_LT(tried, 20U);
  world_.run_for(20ms);
  EXPECT_EQ(answer_to("question"), "question");
}

TEST_F(sim_udp_echo, ends_when_its_socket_is_of_no_use_any_more) {
  const auto broken = world_.inject(sim::failure("recvmsg_multishot", EIO).on(server_));
  EXPECT_EQ(end_of_service(), "recv 10.0.0.1:7: Input/output error");
}

TEST_F(sim_udp_echo, ends_when_its_socket_sends_no_more) {
  const auto broken = world_.inject(sim::failure("sendmsg", EIO).on(server_));
  EXPECT_EQ(end_of_service(), "send 10.0.0.1:7: Input/output error");
}

}  // namespace
}  // namespace rill::test
