// A room of members in bad weather: resets, partitions, slow readers, a server that crashes and
// comes back. Whatever happens: all see one order, and who stayed connected misses nothing without
// being told. And a short talk with every interaction failing once.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "chat/page.h"
#include "sim/storm.h"
#include <rill/runtime/error.h>
#include <rill/runtime/sim/exhaustive.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>

namespace rill::chat {
namespace {

using namespace std::chrono_literals;
using sim::require;
using test::page;
using test::talker;

/// What one connection has seen, line by line.
using seen_lines = std::vector<std::string>;

struct crowd {
  std::vector<std::unique_ptr<seen_lines>> visits;
  int safe_visit_count = 0;  ///< that ended well
};

/// "NAME: NUMBER", or empty.
std::string message_of(const std::string& line) {
  const std::size_t found = line.find(": ");
  return found != std::string::npos && line.starts_with("m") ? line : std::string();
}

/// Within one visit: a sender's numbers go up one by one, unless a note says what is missing.
void check_visit(const seen_lines& lines) {
  std::map<std::string, long> last;
  for (const std::string& line : lines) {
    if (line.starts_with("-- you missed ")) last.clear();
    if (message_of(line).empty()) continue;
    const std::size_t found = line.find(": ");
    const std::string who = line.substr(0, found);
    const long number = std::stol(line.substr(found + 2));
    const auto known = last.find(who);
    if (known != last.end()) {
      require(number == known->second + 1, "nothing is missed or repeated without a note: " + line);
    }
    last[who] = number;
  }
}

/// Of two visits: what both have seen, they have seen in the same order.
void check_order(const seen_lines& left, const seen_lines& right) {
  std::map<std::string, std::size_t> places;
  for (std::size_t i = 0; i != left.size(); ++i) {
    if (!message_of(left[i]).empty()) places[left[i]] = i;
  }
  std::size_t last = 0;
  for (const std::string& line : right) {
    const auto found = places.find(line);
    if (found == places.end()) continue;
    require(found->second >= last, "all members see one order: " + line);
    last = found->second;
  }
}

/// Joins under a new name, says some numbers, notes what it hears, leaves or is thrown out.
task<> visit(std::string name, int count, std::chrono::microseconds pause, seen_lines& lines,
             crowd& all) {
  try {
    talker me = co_await with_timeout(20s, talker::connect());
    co_await with_timeout(20s, me.say(name + "\n"));
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start([&]() -> task<> {
        for (int i = 0; i != count; ++i) {
          co_await sleep_for(pause);
          const std::string text = std::to_string(i) + "\n";
          co_await with_timeout(20s, me.stream.write_all(text));
        }
        co_await sleep_for(50ms);
        co_await as_result(me.stream.shutdown_write());
      });
      for (;;) {
        const auto bytes = co_await with_timeout(60s, me.stream.read_lease());
        if (bytes.empty()) break;
        me.seen += bytes.text();
        std::size_t end = 0;
        while ((end = me.seen.find('\n')) != std::string::npos) {
          std::string line = me.seen.substr(0, end);
          if (line.starts_with("NICK")) line.erase(0, 4);
          lines.push_back(std::move(line));
          me.seen.erase(0, end + 1);
        }
      }
      ++all.safe_visit_count;
      both.cancel();
    });
  } catch (const io_error&) {
    // The weather.
  }
}

/// The same in a browser.
task<> page_visit(std::string name, int count, std::chrono::microseconds pause, seen_lines& lines,
                  crowd& all) {
  const auto note = [&lines](const nlohmann::json& said) {
    lines.push_back(said["name"].get<std::string>() + ": " + said["text"].get<std::string>());
  };
  try {
    page me = co_await with_timeout(20s, page::connect());
    co_await me.say(R"({"type":"hello","name":")" + name + "\"}");
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start([&]() -> task<> {
        for (int i = 0; i != count; ++i) {
          co_await sleep_for(pause);
          co_await me.say(R"({"type":"say","text":")" + std::to_string(i) + "\"}");
        }
        co_await sleep_for(50ms);
        co_await me.peer.close();
      });
      for (;;) {
        const nlohmann::json came = co_await me.next();
        if (came.contains("end")) break;
        if (came["type"] == "room") {
          for (const nlohmann::json& each : came["history"]) note(each);
        }
        if (came["type"] == "message") note(came);
        if (came["type"] == "missed") lines.emplace_back("-- you missed some");
      }
      if (me.peer.is_clean()) ++all.safe_visit_count;
      both.cancel();
    });
  } catch (const io_error&) {
    // The weather.
  }
}

task<> member(unsigned number, unsigned visits, std::uint64_t seed, crowd& all) {
  sim::random_source random(seed, "member", number);
  for (unsigned i = 0; i != visits; ++i) {
    all.visits.push_back(std::make_unique<seen_lines>());
    seen_lines& lines = *all.visits.back();
    const auto pause = std::chrono::microseconds(random.below(3'000));
    const auto count = static_cast<int>(random.below(8));
    std::string name = "m" + std::to_string(number) + "x" + std::to_string(i);
    if (random.below(3) == 0) {
      co_await page_visit(std::move(name), count, pause, lines, all);
    } else {
      co_await visit(std::move(name), count, pause, lines, all);
    }
    co_await sleep_for(std::chrono::microseconds(random.below(5'000)));
  }
}

task<> restless_service(test::server_options how) {
  for (;;) {
    try {
      if (how.is_logged) {
        co_await test::chat_service(how);
      } else {
        co_await test::page_service(how);
      }
    } catch (const io_error&) {
      // No descriptor, no room on the disk: another try.
    }
    co_await sleep_for(10ms);
  }
}

TEST(chat_property, all_see_one_order_and_miss_nothing_without_being_told) {
  int visits = 0;
  int whole = 0;
  const std::string failure = sim::run_seeds(rill::test::many_seeds, [&](std::uint64_t seed) {
    crowd all;
    sim::world world(seed);
    auto& server = world.add_host("server", "10.0.0.1");
    auto& near = world.add_host("near", "10.0.0.2");
    auto& far = world.add_host("far", "10.0.0.3");
    server.write_file("/log/README", "");
    rill::test::storm weather(world, seed);
    if (weather.draw(1) == 0) weather.shake_kernels();
    if (weather.draw(1) == 0) weather.shake_network();
    if (weather.draw(2) == 0) weather.break_connections();
    test::server_options how;
    how.session.pace = {.rate = weather.draw(1) == 0 ? 0.0 : 500.0, .burst = 2};
    how.session.raw_pause = 100s;  // a nickname that the weather cuts in two is no raw client's
    how.hub.queue_size_max = 200 + weather.draw(1) * 100'000;
    how.is_logged = weather.draw(1) == 0;
    server.run(restless_service, how);
    world.run_for(1ms);
    std::vector<sim::program*> members;
    for (unsigned i = 0; i != 4; ++i) {
      sim::host& on = i < 2 ? near : far;
      members.push_back(&on.run(member, i, 2U, seed, std::ref(all)));
    }
    if (weather.draw(3) == 0) {
      world.run_for(weather.moment(10ms));
      const auto cut = world.partition(server, far);
      world.run_for(weather.moment(2000ms));
    }
    if (weather.draw(3) == 0) {
      world.run_for(weather.moment(10ms));
      server.crash();
      server.restart();
      server.run(restless_service, how);
    }
    for (sim::program* each : members) world.run(*each);
    for (const auto& each : all.visits) check_visit(*each);
    for (const auto& left : all.visits) {
      for (const auto& right : all.visits) check_order(*left, *right);
    }
    visits += static_cast<int>(all.visits.size());
    whole += all.safe_visit_count;
  });
  EXPECT_EQ(failure, "");
  EXPECT_GT(whole, visits / 4) << "the weather lets some through, or nothing was tried";
}

void one_talk(sim::trial& run) {
  run.allow_silence();  // alice waits for what bob says, who may be lost
  sim::host& server = run.world().add_host("server", "10.0.0.1");
  sim::host& client = run.world().add_host("client", "10.0.0.2");
  server.run(test::chat_service, test::server_options(), nullptr);
  run.settle(1ms);
  std::string heard;
  auto& session = client.run([&]() -> task<> {
    talker alice = co_await with_timeout(60s, talker::join("alice"));
    talker bob = co_await with_timeout(60s, talker::join("bob"));
    co_await alice.skip_to("bob joined the chat!\n");
    co_await bob.say("hello\n/quit\n");
    heard = co_await alice.line();
    co_await alice.skip_to("bob left the chat!\n");
  });
  run.run(session, server);
  require(heard == "bob: hello" || !run.succeeded(), "what is said is heard");
}

TEST(chat_points, a_talk_with_every_interaction_failing_once) {
  sim::exhaustive_options options;
  options.allocations = false;  // see README.md: a shard without memory ends the program
  const sim::exhaustive_report report = sim::every_point("chat", one_talk, options);
  EXPECT_EQ(report.failure, "") << report.summary;
  std::printf("%s\n", report.summary.c_str());
}

}  // namespace
}  // namespace rill::chat
