// Services and programs that are broken on purpose: the runner of every point must catch each.
// Read next: points.h, runtime/sim/exhaustive.h.
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/points.h"
#include <rill/net/stream.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;
using test::at;
using test::patience;

sim::exhaustive_options only_whims() {
  sim::exhaustive_options options;
  options.errors = options.cancellations = options.crashes = options.allocations = false;
  return options;
}

task<> lose_the_rest(tcp_stream peer) {
  while (auto bytes = co_await peer.read_lease()) {
    co_await peer.write(bytes);  // may be short
  }
}

TEST(sim_points_canary, a_server_that_loses_the_rest_of_a_short_write_is_caught_by_its_client) {
  const sim::exhaustive_report report = sim::every_point(
      "canary", [](sim::trial& run) { test::tcp_echo_scenario(run, lose_the_rest); }, only_whims());
  EXPECT_THAT(report.failure, testing::HasSubstr("where nothing is made to fail, nothing fails"));
  EXPECT_THAT(report.failure, testing::HasSubstr("RILL_SIM_POINT=short:"));
}

TEST(sim_points_canary, a_server_that_sleeps_after_an_error_is_caught) {
  const auto sulk = [](tcp_stream peer) -> task<> {
    for (;;) {
      const auto bytes = co_await as_result(peer.read_lease());
      if (!bytes) co_await sleep_for(1000h);
      if (!bytes || bytes->empty()) co_return;
      co_await peer.write_all(*bytes);
    }
  };
  const sim::exhaustive_report report =
      sim::every_point("canary", [&](sim::trial& run) { test::tcp_echo_scenario(run, sulk); });
  EXPECT_THAT(report.failure, testing::HasSubstr("nobody waits in vain"));
  EXPECT_THAT(report.failure, testing::HasSubstr("RILL_SIM_POINT=error:"));
}

TEST(sim_points_canary, a_proxy_that_loses_the_rest_of_a_short_write_is_caught) {
  const auto pass_some = [](tcp_stream peer) -> task<> {
    auto target = co_await tcp_stream::connect(at("10.0.0.1:80"));
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start([&]() -> task<> { co_await copy(peer, target); });
      while (auto bytes = co_await target.read_lease()) co_await peer.write(bytes);
      co_await peer.shutdown_write();
    });
  };
  const sim::exhaustive_report report = sim::every_point(
      "canary", [&](sim::trial& run) { test::proxy_scenario(run, pass_some); }, only_whims());
  EXPECT_THAT(report.failure, testing::HasSubstr("where nothing is made to fail, nothing fails"));
  EXPECT_THAT(report.failure, testing::HasSubstr("RILL_SIM_POINT=short:"));
}

TEST(sim_points_canary, a_proxy_that_keeps_one_half_open_is_caught) {
  // Whoever ends is waited for by the other, whom nobody tells.
  const auto pass_without_an_end = [](tcp_stream peer) -> task<> {
    auto target = co_await tcp_stream::connect(at("10.0.0.1:80"));
    const auto pass = [](tcp_stream& from, tcp_stream& to) -> task<> {
      while (auto bytes = co_await as_result(from.read_lease())) {
        if (bytes->empty()) co_await to.shutdown_write();
        if (bytes->empty()) co_return;
        if (!co_await as_result(to.write_all(*bytes))) break;
      }
      co_await sleep_for(1000h);
    };
    co_await all_of(pass(peer, target), pass(target, peer));
  };
  const sim::exhaustive_report report = sim::every_point(
      "canary", [&](sim::trial& run) { test::proxy_scenario(run, pass_without_an_end); });
  EXPECT_THAT(report.failure, testing::HasSubstr("nobody waits in vain"));
  EXPECT_THAT(report.failure, testing::HasSubstr("RILL_SIM_POINT=error:"));
}

TEST(sim_points_canary, a_server_that_waits_for_ever_for_a_client_that_is_lost_is_caught) {
  const sim::exhaustive_report report = sim::every_point("canary", [](sim::trial& run) {
    test::tcp_echo_server_scenario(run, test::echo);  // without a deadline
  });
  EXPECT_THAT(report.failure, testing::HasSubstr("a task is stuck"));
  EXPECT_THAT(report.failure, testing::HasSubstr("RILL_SIM_POINT=crash"));
}

TEST(sim_points_canary, a_proxy_that_waits_for_ever_for_a_server_that_is_lost_is_caught) {
  const auto pass_on = [](tcp_stream peer) -> task<> {
    auto target = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
    co_await all_of(copy(peer, target), copy(target, peer));
  };
  const sim::exhaustive_report report = sim::every_point("canary", [&](sim::trial& run) {
    test::proxy_itself_scenario(run, pass_on, test::lost_side::server);
  });
  EXPECT_THAT(report.failure, testing::HasSubstr("a task is stuck"));
  EXPECT_THAT(report.failure, testing::HasSubstr("RILL_SIM_POINT=crash"));
}

TEST(sim_points_canary, a_server_that_loses_its_place_in_a_short_write_is_caught) {
  const sim::exhaustive_report report = sim::every_point(
      "canary",
      [&](sim::trial& run) {
        sim::host& server = run.world().add_host("server", "10.0.0.1");
        sim::host& client = run.world().add_host("client", "10.0.0.2");
        server.run(test::serve_at<decltype(&lose_the_rest)>, std::string("0.0.0.0:80"),
                   lose_the_rest);
        run.settle(1ms);
        bool gave_up = false;
        auto& session = client.run([&]() -> task<> {
          auto stream = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
          const std::string question = "first the question, then the answer";
          std::string answer(question.size(), ' ');
          co_await with_timeout(patience, stream.write_all(const_buffer(question)));
          try {
            co_await with_timeout(patience, stream.read_exactly(mutable_buffer(answer)));
          } catch (const timeout_error&) {
            gave_up = true;
          }
        });
        run.run(session, server);
        require(!run.succeeded() || !gave_up || server.is_down(), "a live server answers in full");
      },
      only_whims());
  EXPECT_THAT(report.failure, testing::HasSubstr("a live server answers in full"));
  EXPECT_THAT(report.failure, testing::HasSubstr("RILL_SIM_POINT=short:"));
}

TEST(sim_points_canary, a_descriptor_that_is_left_open_is_caught) {
  const sim::exhaustive_report report = sim::every_point("canary", [](sim::trial& run) {
    sim::host& host = run.world().add_host("host", "10.0.0.1");
    run.run(host.run([]() -> task<> {
      kernel& below = loop::current().kernel();
      const int descriptor = below.socket(2, 2, 0);
      if (descriptor < 0) co_return;
      co_await sleep_for(1ms);  // cancelled here, it stays open
      below.close(descriptor);
    }));
  });
  EXPECT_THAT(report.failure, testing::HasSubstr("no descriptor is left"));
  EXPECT_THAT(report.failure, testing::HasSubstr("cancel"));
}

TEST(sim_points_canary, a_buffer_that_is_kept_is_caught) {
  const sim::exhaustive_report report = sim::every_point("canary", [](sim::trial& run) {
    std::vector<lease> kept;
    test::tcp_echo_scenario(run, [&](tcp_stream peer) -> task<> {
      while (auto bytes = co_await with_timeout(test::idle_max, peer.read_lease())) {
        const auto sent = co_await as_result(with_timeout(test::idle_max, peer.write_all(bytes)));
        if (!sent) kept.push_back(std::move(bytes));  // and only then
      }
    });
  });
  EXPECT_THAT(report.failure, testing::HasSubstr("every buffer has come back; host server"));
  EXPECT_THAT(report.failure, testing::HasSubstr("RILL_SIM_POINT=error:"));
}

TEST(sim_points_canary, an_error_without_words_is_caught) {
  const sim::exhaustive_report report = sim::every_point("canary", [](sim::trial& run) {
    sim::host& host = run.world().add_host("host", "10.0.0.1");
    run.run(host.run([]() -> task<> {
      kernel& below = loop::current().kernel();
      const int descriptor = below.socket(2, 2, 0);
      if (descriptor < 0) throw std::runtime_error("failed");
      below.close(descriptor);
      co_return;
    }));
  });
  EXPECT_THAT(report.failure, testing::HasSubstr("none of the world's"));
  EXPECT_THAT(report.failure, testing::HasSubstr("socket = "));
}

}  // namespace
}  // namespace rill
