// Lines of the access log: their format, what strangers cannot do to it, and how they reach a file.
#include <rill/protocols/http/access_log.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "support.h"
#include "support/files.h"
#include <rill/protocols/http/auth.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sim/world.h>

namespace rill::http {
namespace {

using namespace std::chrono_literals;

std::string line_of(const std::string& request, const endpoint& peer) {
  request_head head;
  EXPECT_EQ(head.parse(request), parse_state::complete) << request;
  exchange_record of;
  of.peer = &peer;
  of.head = &head;
  of.time = http_time(784111777s);
  of.status = 200;
  of.body_size = 2326;
  return log_line(of);
}

const endpoint from(address::v4(10, 0, 0, 7), 1234);

TEST(http_access_log, a_line_has_the_combined_format) {
  EXPECT_EQ(line_of("GET /x?y=1 HTTP/1.0\r\nReferer: https://a/\r\nUser-Agent: curl/8\r\n"
                    "Authorization: " +
                        write_basic({"ann", "secret"}) + "\r\n\r\n",
                    from),
            "10.0.0.7 - ann [06/Nov/1994:08:49:37 +0000] \"GET /x?y=1 HTTP/1.0\" 200 2326 "
            "\"https://a/\" \"curl/8\"\n");
  EXPECT_EQ(line_of("GET / HTTP/1.1\r\nHost: a\r\n\r\n", endpoint(address::loopback_v6(), 1)),
            "::1 - - [06/Nov/1994:08:49:37 +0000] \"GET / HTTP/1.1\" 200 2326 \"-\" \"-\"\n");
}

TEST(http_access_log, what_was_no_request_has_a_line_too) {
  exchange_record of;
  of.status = 400;
  EXPECT_EQ(log_line(of), "- - - [01/Jan/1970:00:00:00 +0000] \"-\" 400 0 \"-\" \"-\"\n");
}

TEST(http_access_log, bytes_of_strangers_cannot_forge_a_line) {
  const std::string line = line_of(
      "GET /\"x\\ HTTP/1.1\r\nHost: a\r\nUser-Agent: a\" 200\\\t\xc3\xa4\r\nAuthorization: " +
          write_basic({"a b\" - -", ""}) + "\r\n\r\n",
      from);
  EXPECT_EQ(line,
            "10.0.0.7 - a\\x20b\\x22\\x20-\\x20- [06/Nov/1994:08:49:37 +0000] "
            "\"GET /\\x22x\\x5c HTTP/1.1\" 200 2326 \"-\" \"a\\x22 200\\x5c\\x09\\xc3\\xa4\"\n");
  const std::string long_line =
      line_of("GET /" + std::string(10'000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", from);
  EXPECT_LT(long_line.size(), 2200U);
  EXPECT_NE(long_line.find("aaa... HTTP/1.1\""), long_line.npos);
}

std::string content(const std::string& path) {
  std::ifstream of(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(of), std::istreambuf_iterator<char>()};
}

constexpr open_mode appending = open_mode::write | open_mode::create | open_mode::append;

TEST(http_access_log, lines_are_appended_in_their_order_and_none_is_lost_at_the_end) {
  const rill::test::temporary_folder folder;
  const std::string path = folder.made("log", "before\n");
  std::string expected = "before\n";
  rill::test::run_loop([&]() -> task<> {
    file to = co_await file::open(path, appending);
    access_log log(std::move(to));
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&] { return log.run(); });
      for (int i = 0; i < 20'000; ++i) {
        const std::string line = "line " + std::to_string(i) + '\n';
        expected += line;
        log.add_line(line);
        if (i % 1000 == 0) co_await rill::test::settle(2);
      }
      log.stop();
    });
    EXPECT_EQ(log.lost_count(), 0U);
  });
  EXPECT_EQ(content(path), expected);
}

task<> log_some(access_log::limits limits, std::uint64_t* lost, int batches) {
  file to = co_await file::open("/log", appending);
  access_log log(std::move(to), limits);
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&] { return log.run(); });
    for (int batch = 0; batch < batches; ++batch) {
      for (int i = 0; i < 10; ++i) log.add_line("0123456789012345678\n");
      co_await sleep_for(1s);
    }
    log.stop();
  });
  *lost = log.lost_count();
}

TEST(http_access_log, lines_wait_for_others_but_not_for_long) {
  std::uint64_t lost = 0;
  sim::world world(1);
  auto& host = world.add_host("host", "10.0.0.1");
  access_log::limits limits;
  auto& program = host.run(log_some, limits, &lost, 3);
  world.run_for(400ms);
  EXPECT_EQ(host.read_file("/log"), "");
  world.run_for(200ms);
  EXPECT_EQ(host.read_file("/log").size(), 200U);
  world.run(program);
  EXPECT_EQ(host.read_file("/log").size(), 600U);
  EXPECT_EQ(lost, 0U);
}

TEST(http_access_log, a_full_disk_loses_lines_and_counts_them) {
  std::uint64_t lost = 0;
  sim::world world(1);
  auto& host = world.add_host("host", "10.0.0.1");
  auto& program = host.run(log_some, access_log::limits(), &lost, 3);
  world.run_for(900ms);
  {
    const auto full = world.inject(sim::failure("write", ENOSPC).on(host));
    world.run_for(1s);
  }
  world.run(program);
  EXPECT_EQ(host.read_file("/log").size(), 400U);
  EXPECT_EQ(lost, 10U);
}

TEST(http_access_log, a_slow_disk_loses_lines_beyond_the_limit) {
  std::uint64_t lost = 0;
  sim::world world(1);
  auto& host = world.add_host("host", "10.0.0.1");
  access_log::limits limits;
  limits.pending_size_max = 500;
  const auto slow = world.inject(sim::slow_disk(10s, 10s).on(host));
  auto& program = host.run(log_some, limits, &lost, 5);
  world.run(program);
  EXPECT_GT(lost, 0U);
  EXPECT_EQ(host.read_file("/log").size(), 20 * (50 - lost));
}

}  // namespace
}  // namespace rill::http
