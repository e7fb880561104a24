// The other side of the scenarios of every_point_test.cpp: a server, a proxy and the sender of a
// file with every interaction, moment and allocation made to fail, cancelled at every moment, and
// whom they serve gone at every moment.
#include <chrono>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "sim/points.h"
#include <rill/runtime/file.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {
namespace {

using namespace std::chrono_literals;
using sim::require;
using test::at;
using test::lost_side;
using test::patience;

task<> pass_on(tcp_stream peer) { return test::pass_on(std::move(peer), at("10.0.0.1:80")); }

TEST(sim_server_points, tcp_echo_server) {
  test::visit_points("tcp echo server", [](sim::trial& run) {
    test::tcp_echo_server_scenario(run, test::echo_until_idle);
  });
}

TEST(sim_server_points, proxy_whose_client_is_lost) {
  test::visit_points("proxy whose client is lost", [](sim::trial& run) {
    test::proxy_itself_scenario(run, pass_on, lost_side::client);
  });
}

TEST(sim_server_points, proxy_whose_server_is_lost) {
  test::visit_points("proxy whose server is lost", [](sim::trial& run) {
    test::proxy_itself_scenario(run, pass_on, lost_side::server);
  });
}

task<> send_page(tcp_stream peer) {
  file page = co_await file::open("/srv/page");
  const file_status status = co_await page.stat();
  co_await peer.send_file(page, 0, status.size, test::idle_max);
}

TEST(sim_server_points, sender_of_a_file) {
  sim::exhaustive_options options;
  options.world.send_buffer_size = 16 * 1024;
  options.world.receive_buffer_size = 16 * 1024;
  std::string content(100'000, ' ');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i % 251);
  test::visit_points(
      "sender of a file",
      [&](sim::trial& run) {
        sim::host& server = run.world().add_host("server", "10.0.0.1");
        sim::host& client = run.world().add_host("client", "10.0.0.2");
        server.write_file("/srv/page", content);
        std::string received;
        auto& session =
            server.run(test::serve_one<decltype(&send_page)>, std::string("0.0.0.0:80"), send_page);
        run.wait_for(client.run([&]() -> task<> {
          co_await sleep_for(1ms);
          auto stream = co_await with_timeout(patience, tcp_stream::connect(at("10.0.0.1:80")));
          while (auto bytes = co_await with_timeout(patience, stream.read_lease())) {
            received += bytes.text();
          }
        }));
        run.run(session, client);
        require(content.starts_with(received), "what comes is the file");
        require(!run.is_undisturbed() || received == content, "undisturbed, it comes whole");
      },
      options);
}

}  // namespace
}  // namespace rill
