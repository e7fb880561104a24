// A session over TLS, with every interaction, moment and allocation of it made to fail once.
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "sim/echo.h"
#include "support/certificates.h"
#include "support/scenarios.h"
#include <rill/net/serve.h>
#include <rill/net/tls/stream.h>
#include <rill/runtime/sim/exhaustive.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;

TEST(sim_tls_points, session) {
  test_certificate();  // made once, outside the worlds
  const auto service = []() -> task<> {
    const tls::server_context mine = tls::server_context(test_certificate().loaded());
    auto listener = tcp_listener::bind(at("0.0.0.0:443"));
    const auto echo = [&](tcp_stream peer) -> task<> {
      try {
        auto secure = co_await tls::accept(std::move(peer), mine);
        while (lease bytes = co_await with_timeout(patience, secure.read_lease())) {
          co_await with_timeout(patience, secure.write_all(bytes));
        }
        co_await secure.close();
      } catch (const io_error&) {
        // The client is told, or is gone.
      }
    };
    co_await serve(listener, echo);
  };
  const sim::exhaustive_report report = sim::every_point("tls session", [&](sim::trial& run) {
    sim::host& server = run.world().add_host("server", "10.0.0.1");
    sim::host& client = run.world().add_host("client", "10.0.0.2");
    conversation so_far;
    bool has_ended = false;
    server.run(service);
    run.settle(1ms);
    sim::program& session = client.run([&]() -> task<> {
      const tls::client_context trusted = trusting();
      auto below = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:443")));
      auto secure = co_await tls::connect(std::move(below), trusted, std::string("server.test"));
      co_await ask(secure, "hello", so_far);
      co_await ask(secure, std::string(40'000, 'x'), so_far);
      co_await with_timeout(patience, secure.shutdown_write());
      const lease end = co_await with_timeout(patience, secure.read_lease());
      require(end.empty(), "nothing comes that was not asked for");
      has_ended = true;
      co_await secure.close();
    });
    run.run(session, server);
    require(!run.succeeded() || (so_far.answered == 2 && has_ended),
            "a session that succeeds has its answers, whole");
  });
  std::printf("[   points ] %s\n", report.summary.c_str());
  EXPECT_EQ(report.failure, "");
}

}  // namespace
}  // namespace rill::test
