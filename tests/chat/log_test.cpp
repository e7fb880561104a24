// The history on disk: records cut at every byte, files that take turns, crashes, a full disk.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/office.h"
#include <rill/protocols/chat/history_log.h>
#include <rill/protocols/chat/log_codec.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/faults.h>
#include <rill/runtime/sim/random.h>
#include <rill/runtime/sim/seeds.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/sleep.h>

namespace rill::chat {
namespace {

using namespace std::chrono_literals;

event said(std::uint64_t id, std::string text) {
  event made;
  made.id = id;
  made.time = static_cast<std::int64_t>(id) * 10;
  made.who = share("alice");
  made.text = std::move(text);
  return made;
}

TEST(chat_records, come_back_as_they_were) {
  std::string bytes;
  append_header(bytes, 7);
  event happened = said(42, std::string("text\n\0\xFF", 7));
  happened.is_raw = true;
  happened.kind = event_kind::done;
  append_said(bytes, "tea", happened);
  append_whole(bytes);

  std::string_view rest = bytes;
  log_record record;
  std::size_t size = 0;
  ASSERT_EQ(read_record(rest, record, size), record_status::good);
  EXPECT_EQ(record.kind, record_kind::header);
  EXPECT_EQ(record.generation, 7U);
  rest.remove_prefix(size);
  ASSERT_EQ(read_record(rest, record, size), record_status::good);
  EXPECT_EQ(record.kind, record_kind::said);
  EXPECT_EQ(record.room, "tea");
  EXPECT_EQ(record.who, "alice");
  EXPECT_EQ(record.said.id, 42U);
  EXPECT_EQ(record.said.time, 420);
  EXPECT_EQ(record.said.kind, event_kind::done);
  EXPECT_TRUE(record.said.is_raw);
  EXPECT_EQ(record.said.text, happened.text);
  rest.remove_prefix(size);
  ASSERT_EQ(read_record(rest, record, size), record_status::good);
  EXPECT_EQ(record.kind, record_kind::whole);
  EXPECT_EQ(size, rest.size());
}

TEST(chat_records, that_are_cut_at_any_byte_are_incomplete) {
  std::string bytes;
  append_said(bytes, "tea", said(1, "hello"));
  for (std::size_t cut = 0; cut != bytes.size(); ++cut) {
    log_record record;
    std::size_t size = 0;
    EXPECT_EQ(read_record(std::string_view(bytes).substr(0, cut), record, size),
              record_status::incomplete)
        << cut;
  }
}

TEST(chat_records, with_any_bit_turned_are_not_good) {
  std::string bytes;
  append_said(bytes, "tea", said(1, "hello"));
  for (std::size_t bit = 0; bit != bytes.size() * 8; ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    log_record record;
    std::size_t size = 0;
    EXPECT_NE(read_record(damaged, record, size), record_status::good) << bit;
  }
}

TEST(chat_records, that_claim_to_be_huge_or_empty_are_broken) {
  log_record record;
  std::size_t size = 0;
  EXPECT_EQ(read_record(std::string(8, '\xFF'), record, size), record_status::broken);
  EXPECT_EQ(read_record(std::string(8, '\0'), record, size), record_status::broken);
}

/// A shard with one speaker and a log, on a simulated host.
class keeper final : public courier {
 public:
  explicit keeper(const log_options& options = log_options(), std::size_t history_count = 100)
      : options_(options), own(0, 1, with_history(history_count), *this) {}

  void schedule_flush() override {}
  void carry(unsigned, std::vector<shard_message>) override {}
  std::int64_t wall_now() override { return loop::current().kernel().wall_now() / 1'000'000; }
  void appended(const shared_text& room, const shared_event& what) override {
    if (log) log->append(room, what);
  }

  /// Restores what there is, then runs `body` beside the log.
  template <class Body>
  task<> run(Body& body) {
    log_folder folder("/log");
    const std::vector<kept_event> kept = co_await folder.read();
    for (const kept_event& each : kept) own.restore(each.room, each.what);
    notes = folder.notes();
    log.emplace(folder, own, options_);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      const history_log::ending end(&*log);
      tasks.start([&] { return log->run(); });
      co_await body(*this);
    });
    lost_count = log->lost_count();
    log.reset();
  }
  std::vector<std::string> history(std::string_view room = "lobby") {
    std::vector<std::string> all;
    own.for_each_kept([&](const shared_text& in, const shared_event& what) {
      if (*in == room) all.push_back(what->text);
    });
    return all;
  }

  std::optional<history_log> log;
  std::vector<std::string> notes;
  std::uint64_t lost_count = 0;

 private:
  static hub_options with_history(std::size_t count) {
    hub_options options;
    options.history_count = count;
    return options;
  }
  log_options options_;

 public:
  shard own;
};

/// A member in a room of the keeper's.
std::unique_ptr<test::witness> enter(keeper& of, std::string_view name,
                                     std::string_view room = "lobby") {
  auto made = std::make_unique<test::witness>(of.own);
  of.own.claim(*made, name);
  of.own.join(*made, room);
  return made;
}

std::vector<std::string> numbers(int first, int last) {
  std::vector<std::string> all;
  for (int i = first; i != last; ++i) all.push_back(std::to_string(i));
  return all;
}

/// What the next run finds.
std::vector<std::string> found(sim::world& world, sim::host& on, std::string_view room = "lobby",
                               std::vector<std::string>* notes = nullptr) {
  std::vector<std::string> history;
  world.run(on.run([&]() -> task<> {
    keeper again;
    const auto look = [&](keeper& of) -> task<> {
      history = of.history(room);
      if (notes != nullptr) *notes = of.notes;
      co_return;
    };
    co_await again.run(look);
  }));
  return history;
}

TEST(chat_log, what_was_said_is_there_after_the_end) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  server.write_file("/log/README", "");
  world.run(server.run([]() -> task<> {
    keeper first;
    const auto talk = [](keeper& of) -> task<> {
      auto alice = enter(of, "alice");
      auto bob = enter(of, "bob", "tea");
      for (int i = 0; i != 150; ++i) {
        of.own.speak(*alice, event_kind::said, false, std::to_string(i));
      }
      of.own.speak(*bob, event_kind::said, false, "milk");
      co_return;
    };
    co_await first.run(talk);
    EXPECT_EQ(first.lost_count, 0U);
  }));
  for (int run = 0; run != 10; ++run) {  // each begins a file, and they take turns
    EXPECT_EQ(found(world, server), numbers(50, 150));
    EXPECT_EQ(found(world, server, "tea"), (std::vector<std::string>{"milk"}));
  }
}

TEST(chat_log, files_take_turns_and_nothing_that_is_kept_is_lost) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  server.write_file("/log/README", "");
  world.run(server.run([]() -> task<> {
    log_options options;
    options.file_size_max = 10'000;
    keeper first(options);
    const auto talk = [](keeper& of) -> task<> {
      auto quiet = enter(of, "quiet", "tea");
      of.own.speak(*quiet, event_kind::said, false, "once");
      auto alice = enter(of, "alice");
      for (int i = 0; i != 5000; ++i) {
        of.own.speak(*alice, event_kind::said, false, std::to_string(i));
        if (i % 50 == 0) co_await sleep_for(1ms);
      }
    };
    co_await first.run(talk);
    EXPECT_EQ(first.lost_count, 0U);
  }));
  EXPECT_EQ(found(world, server), numbers(4900, 5000));
  EXPECT_EQ(found(world, server, "tea"), (std::vector<std::string>{"once"}));
}

TEST(chat_log, what_is_kept_is_written_again_only_when_as_much_has_come) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  server.write_file("/log/README", "");
  std::uint64_t generation = 0;
  world.run(server.run([]() -> task<> {
    log_options options;
    options.file_size_max = 10'000;
    keeper first(options);
    const auto talk = [](keeper& of) -> task<> {
      auto alice = enter(of, "alice");
      for (int i = 0; i != 1000; ++i) {  // 100 KB of the last are kept
        of.own.speak(*alice, event_kind::said, false, std::string(1000, 'x'));
        co_await sleep_for(1ms);
      }
    };
    co_await first.run(talk);
    EXPECT_EQ(first.lost_count, 0U);
  }));
  world.run(server.run([&]() -> task<> {
    log_folder folder("/log");
    co_await folder.read();
    generation = folder.latest_of(0).generation;
  }));
  EXPECT_GT(generation, 8U);
  EXPECT_LT(generation, 20U);
}

TEST(chat_log, a_torn_end_is_passed_over_and_told) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  std::string bytes;
  append_header(bytes, 1);
  append_whole(bytes);
  append_said(bytes, "lobby", said(1, "whole"));
  const std::size_t good_size = bytes.size();
  append_said(bytes, "lobby", said(2, "torn"));
  bytes.resize(bytes.size() - 3);
  server.write_file("/log/history-0-0.log", bytes);
  std::vector<std::string> notes;
  EXPECT_EQ(found(world, server, "lobby", &notes), (std::vector<std::string>{"whole"}));
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_EQ(notes[0], "/log/history-0-0.log: " + std::to_string(bytes.size() - good_size) +
                          " bytes at its end are no whole record and were passed over");
}

TEST(chat_log, a_full_disk_is_no_reason_to_stop_and_what_was_said_meanwhile_comes_later) {
  sim::world world(1);
  auto& server = world.add_host("server", "10.0.0.1");
  server.write_file("/log/README", "");
  std::optional<sim::fault_guard> full;
  auto& program = server.run([]() -> task<> {
    log_options options;
    keeper first(options);  // one file would do for all of it
    const auto talk = [](keeper& of) -> task<> {
      auto alice = enter(of, "alice");
      for (int i = 0; i != 100; ++i) {
        of.own.speak(*alice, event_kind::said, false, std::to_string(i));
        co_await sleep_for(100ms);
      }
    };
    co_await first.run(talk);
  });
  world.run_for(2s);
  testing::internal::CaptureStderr();
  full.emplace(world.inject(sim::full_disk().on(server)));
  world.run_for(4s);
  full.reset();
  world.run(program);
  const std::string told = testing::internal::GetCapturedStderr();
  EXPECT_EQ(found(world, server), numbers(0, 100));
  EXPECT_THAT(told, testing::HasSubstr("chat: the history is not kept for now: "));
  EXPECT_THAT(told, testing::HasSubstr("No space left on device"));
  EXPECT_THAT(told, testing::HasSubstr("chat: the history is kept again\n"));
}

/// After a crash at any moment: what is found has no gap, is what was said, and holds everything
/// that the log had called safe.
TEST(chat_log, after_a_crash_history_holds_all_but_unsynced_writes) {
  const std::string failure = sim::run_seeds({.count = 2'000}, [](std::uint64_t seed) {
    sim::random_source random(seed, "crash");
    sim::world_options world_options;
    world_options.trace_max = 0;
    sim::world world(seed, world_options);
    auto& server = world.add_host("server", "10.0.0.1");
    server.write_file("/log/README", "");
    int next = 0;
    int safe = 0;
    for (int round = 0; round != 3; ++round) {
      int restored = 0;
      server.run([&]() -> task<> {
        log_options options;
        options.file_size_max = 2'000;
        keeper now(options, 1'000);
        const auto talk = [&](keeper& of) -> task<> {
          const std::vector<std::string> history = of.history();
          restored = static_cast<int>(history.size());
          sim::require(history == numbers(0, restored), "no gap, and only what was said");
          sim::require(restored >= safe, "what was safe is there");
          next = restored;
          auto alice = enter(of, "alice");
          for (;;) {
            of.own.speak(*alice, event_kind::said, false, std::to_string(next++));
            if (of.log->pending_count() == 0) safe = next;
            const auto pause = random.below(3) == 0 ? 2ms : 0ms;
            co_await sleep_for(pause);
            if (of.log->pending_count() == 0) safe = next;
          }
        };
        co_await now.run(talk);
      });
      world.run_for(std::chrono::microseconds(500 + random.below(40'000)));
      server.crash();
      server.restart();
    }
    const std::vector<std::string> last = found(world, server);
    sim::require(static_cast<int>(last.size()) >= std::min(safe, 100), "what was safe is there");
  });
  EXPECT_EQ(failure, "");
}

}  // namespace
}  // namespace rill::chat
