// Paths that want out, files that are none, files that change while they are sent, and readers that
// do not read. See files.h.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "http/file_server.h"
#include "support/pair.h"
#include "support/streams.h"
#include <rill/net/stream.h>
#include <rill/net/tcp.h>
#include <rill/protocols/http/files.h>

namespace rill::http {
namespace {

using namespace std::chrono_literals;
using test::file_server;
using test::http_answer;

class http_hostile_files : public testing::Test {
 protected:
  /// Runs body(client) while a session serves the other end of a TCP connection, to its end.
  void with_client(const std::function<task<>(tcp_stream&)>& body,
                   const session_options& options = session_options()) {
    test::run_loop([&]() -> task<> {
      tcp_listener listener = tcp_listener::bind(test::any_port);
      tcp_stream client = co_await tcp_stream::connect(listener.local());
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start(
            [&](tcp_stream peer) { return session(std::move(peer), server_.routes(), options); },
            co_await listener.accept());
        co_await body(client);
        co_await client.close();
      });
    });
  }

  /// Until a session waits for its client to read.
  static task<> until_stuck() {
    while (loop::current().task_tree().find("poll") == std::string::npos) co_await test::settle(1);
  }

  /// Asks for a file, lets the answer fill the connection, does `meanwhile`, and reads to the end.
  http_answer slow_answer(const std::string& target, const std::function<void()>& meanwhile) {
    http_answer all;
    with_client([&](tcp_stream& client) -> task<> {
      // The second answer would stand where the rest of a cut file is missing.
      co_await client.write_all(const_buffer("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n"));
      co_await client.write_all(const_buffer(server_.request("/files/none")));
      co_await until_stuck();
      meanwhile();
      for (;;) {
        const auto part = co_await as_result(client.read_lease());
        if (!part || part->empty()) break;
        all.text += part->text();
      }
    });
    return all;
  }

  /// All of the file, and then the answer that there is no other.
  static bool is_whole(const http_answer& all, std::string_view content) {
    return all.body().starts_with(content) &&
           all.body().substr(content.size()).starts_with("HTTP/1.1 404 ");
  }

  static std::string pattern(std::size_t size) {
    const std::vector<std::byte> bytes = test::pattern(size);
    return std::string(const_buffer(bytes).text());
  }

  file_server server_;
};

constexpr std::size_t large = std::size_t{16} << 20;  // more than a connection holds

// ---------------------------------------------------------------- paths

TEST_F(http_hostile_files, no_path_leads_out_of_the_root) {
  std::ofstream(server_.beside("secret")) << "secret";
  std::filesystem::create_directory(server_.beside("srv2"));  // begins with the root's name
  std::ofstream(server_.beside("srv2/secret")) << "secret";
  server_.add("a.txt", "inside");
  server_.add("d/b.txt", "inside");
  std::string deep = "/files";
  for (int i = 0; i < 40; ++i) deep += "/..";
  const std::vector<std::string> targets = {
      "/files/../secret",
      "/files/d/../../secret",
      "/files/../../etc/passwd",
      deep + "/etc/passwd",
      "/files/%2e%2e/secret",
      "/files/%2E%2E/secret",
      "/files/.%2e/secret",
      "/files/%2e./secret",
      "/files/..%2fsecret",
      "/files/..%2Fsecret",
      "/files/%2e%2e%2fsecret",
      "/files/%252e%252e/secret",
      "/files/%252e%252e%252fsecret",
      "/files/%25252e%25252e/secret",
      "/files/..%c0%afsecret",
      "/files/%c0%ae%c0%ae/secret",
      "/files/..%5csecret",
      "/files/..\\secret",
      "/files/%5c..%5csecret",
      "/files/....//secret",
      "/files/..;/secret",
      "/files/..%00/secret",
      "/files/../secret%00.txt",
      "/files/a.txt%00",
      "/files/%00",
      "/files//etc/passwd",
      "/files/%2fetc/passwd",
      "/files/%2Fetc%2Fpasswd",
      "/files/d%2f..%2f..%2fsecret",
      "/files/../srv2/secret",
      "/files/..srv2/secret",
      "/files/2/secret",
      "/files/~root/secret",
      "/files/a.txt/../../secret",
      "/files/none/../../secret",
      "/files/%",
      "/files/%2",
      "/files/%zz",
      "/files/" + std::string(300, 'n'),
      "/files/" + std::string(6000, 'n'),
      "/../secret",
      "//secret",
  };
  for (const std::string& each : targets) {
    const http_answer all = server_.get(each);
    EXPECT_TRUE(all.status() == 400 || all.status() == 403 || all.status() == 404)
        << each.substr(0, 60) << ": " << all.text.substr(0, 60);
    EXPECT_EQ(all.text.find("secret"), all.text.npos) << each.substr(0, 60);
    EXPECT_EQ(all.text.find("root:"), all.text.npos) << each.substr(0, 60);
  }
  EXPECT_EQ(server_.get("/files/a.txt").body(), "inside");
}

TEST_F(http_hostile_files, symbolic_links_are_followed_as_far_as_the_policy_says) {
  std::ofstream(server_.beside("secret")) << "secret";
  std::filesystem::create_directory(server_.beside("outside"));
  std::ofstream(server_.beside("outside/a")) << "secret";
  server_.add("d/a", "inside");
  const auto link = [&](const std::string& to, const char* name) {
    std::filesystem::create_symlink(to, server_.path(name));
  };
  link("d/a", "within");
  link("d", "folder");
  link("../secret", "out");
  link("../outside", "out_folder");
  link(server_.path("d/a"), "absolute");
  link("out", "chain");
  link("within", "inner_chain");
  link("loop", "loop");
  link("/proc/self/fd", "magic");
  link("nothing", "dangling");
  struct row {
    const char* path;
    const char* refused;
    const char* below;
    const char* anywhere;
  };
  const row rows[] = {
      {"d/a", "inside", "inside", "inside"},
      {"within", "", "inside", "inside"},
      {"folder/a", "", "inside", "inside"},
      {"out", "", "", "secret"},
      {"out_folder/a", "", "", "secret"},
      {"absolute", "", "", "inside"},
      {"chain", "", "", "secret"},
      {"inner_chain", "", "inside", "inside"},
      {"loop", "", "", ""},
      {"magic/0", "", "", ""},
      {"dangling", "", "", ""},
      {"out_folder/../secret", "", "", ""},
  };
  const auto check = [&](link_policy links, const char* row::* expected) {
    file_options options;
    options.links = links;
    server_.set_options(options);
    for (const row& each : rows) {
      const http_answer all = server_.get(std::string("/files/") + each.path);
      const std::string wanted = each.*expected;
      EXPECT_EQ(all.status(), wanted.empty() ? 404 : 200) << each.path;
      if (!wanted.empty()) {
        EXPECT_EQ(all.body(), wanted) << each.path;
      }
    }
  };
  check(link_policy::refused, &row::refused);
  check(link_policy::below, &row::below);
  check(link_policy::anywhere, &row::anywhere);
}

TEST_F(http_hostile_files, a_folder_that_is_swapped_for_a_link_never_leads_out) {
  std::filesystem::create_directory(server_.beside("outside"));
  std::ofstream(server_.beside("outside/x")) << "secret";
  server_.add("d/x", "inside");
  std::filesystem::create_symlink("../outside", server_.path("l"));
  std::atomic<bool> ends = false;
  std::thread swapping([&] {
    while (!ends) {
      ::renameat2(AT_FDCWD, server_.path("d").c_str(), AT_FDCWD, server_.path("l").c_str(),
                  RENAME_EXCHANGE);
    }
  });
  std::string input;
  for (int i = 0; i < 20; ++i) input += "GET /files/d/x HTTP/1.1\r\nHost: a\r\n\r\n";
  int folders = 0;
  int links = 0;
  std::string all;
  while ((folders < 20 || links < 20) && all.find("secret") == all.npos) {
    all = server_.answer_to(input + server_.request("/files/d/x")).text;
    int answers = 0;
    for (std::size_t at = all.find("HTTP/1.1 "); at != all.npos; at = all.find("HTTP/1.1 ", at)) {
      const int status = std::atoi(all.c_str() + at + 9);
      EXPECT_TRUE(status == 200 || status == 404) << status << ": " << test::last_report();
      ++(status == 200 ? folders : links);
      ++answers;
      at += 9;
    }
    EXPECT_EQ(answers, 21);
  }
  ends = true;
  swapping.join();
  EXPECT_EQ(all.find("secret"), all.npos);
}

TEST_F(http_hostile_files, hidden_names_are_not_found_unless_they_may_be) {
  for (const char* const name :
       {".env", ".git/config", "d/.htaccess", ".well-known/acme", "a..b"}) {
    server_.add(name, "content");
  }
  const auto status = [&](const char* path) { return server_.get(path).status(); };
  EXPECT_EQ(status("/files/.env"), 404);
  EXPECT_EQ(status("/files/%2eenv"), 404);
  EXPECT_EQ(status("/files/.git/config"), 404);
  EXPECT_EQ(status("/files/.git"), 404);
  EXPECT_EQ(status("/files/d/.htaccess"), 404);
  EXPECT_EQ(status("/files/.well-known/acme"), 200);
  EXPECT_EQ(status("/files/.well-known/.x"), 404);
  EXPECT_EQ(status("/files/a..b"), 200);
  file_options options;
  options.shows_hidden = true;
  server_.set_options(options);
  EXPECT_EQ(status("/files/.env"), 200);
}

// ---------------------------------------------------------------- files that are none

TEST_F(http_hostile_files, what_is_no_regular_file_is_refused_at_once) {
  ASSERT_EQ(::mkfifo(server_.path("fifo").c_str(), 0666), 0);
  ASSERT_EQ(::mkfifo(server_.path("index.html").c_str(), 0666), 0);
  const int made = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  server_.path("socket").copy(name.sun_path, sizeof(name.sun_path) - 1);
  ASSERT_EQ(::bind(made, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  EXPECT_EQ(server_.get("/files/fifo").status(), 403);
  EXPECT_EQ(server_.get("/files/socket").status(), 403);
  EXPECT_EQ(server_.get("/files/").status(), 404);  // an index that is a FIFO
  ::close(made);
  server_.add("a.js", "plain");
  ASSERT_EQ(::mkfifo(server_.path("a.js.gz").c_str(), 0666), 0);
  EXPECT_EQ(server_.get("/files/a.js", "Accept-Encoding: gzip\r\n").body(), "plain");
  server_.serve_from("/dev", file_options());
  EXPECT_EQ(server_.get("/files/zero").status(), 403);
  EXPECT_EQ(server_.get("/files/null").status(), 403);
}

TEST_F(http_hostile_files, what_may_not_be_read_is_forbidden) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  server_.add("a.txt", "x");
  ::chmod(server_.path("a.txt").c_str(), 0);
  EXPECT_EQ(server_.get("/files/a.txt").status(), 403);
}

// ---------------------------------------------------------------- files that change

TEST_F(http_hostile_files, a_file_that_is_cut_while_it_is_sent_ends_the_connection_early) {
  const std::string content = pattern(large);
  const std::string path = server_.add("a.bin", content);
  const http_answer all =
      slow_answer("/files/a.bin", [&] { EXPECT_EQ(::truncate(path.c_str(), 3 * large / 4), 0); });
  EXPECT_EQ(all.field("Content-Length"), std::to_string(large));
  EXPECT_EQ(all.body().size(), 3 * large / 4);
  EXPECT_TRUE(std::string_view(content).starts_with(all.body()));
}

TEST_F(http_hostile_files, a_file_that_grows_while_it_is_sent_is_sent_as_it_was) {
  const std::string content = pattern(large);
  const std::string path = server_.add("a.bin", content);
  const http_answer all = slow_answer(
      "/files/a.bin", [&] { std::ofstream(path, std::ios::binary | std::ios::app) << "more"; });
  EXPECT_TRUE(is_whole(all, content));
}

TEST_F(http_hostile_files, a_file_that_is_replaced_or_removed_while_it_is_sent_stays_whole) {
  const std::string content = pattern(large);
  const std::string path = server_.add("a.bin", content);
  server_.add("b.bin", "another");
  http_answer all =
      slow_answer("/files/a.bin", [&] { std::filesystem::rename(server_.path("b.bin"), path); });
  EXPECT_TRUE(is_whole(all, content));
  EXPECT_EQ(server_.get("/files/a.bin").body(), "another");
  server_.add("c.bin", content);
  all = slow_answer("/files/c.bin", [&] { std::filesystem::remove(server_.path("c.bin")); });
  EXPECT_TRUE(is_whole(all, content));
}

TEST_F(http_hostile_files, a_stream_that_copies_notices_a_cut_file_too) {
  const std::string content = pattern(1 << 20);
  const std::string path = server_.add("a.bin", content);
  http_answer all;
  test::run_loop([&]() -> task<> {
    auto pair = memory_stream_pair();
    session_options options;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(
          [&](memory_stream peer) { return session(std::move(peer), server_.routes(), options); },
          std::move(pair.second));
      co_await pair.first.write_all("GET /files/a.bin HTTP/1.1\r\nHost: a\r\n\r\n");
      while (pair.first.unread_size() < 65536) co_await test::settle(1);
      EXPECT_EQ(::truncate(path.c_str(), 500'000), 0);
      while (const lease part = co_await pair.first.read_lease()) all.text += part.text();
      co_await pair.first.close();
    });
  });
  EXPECT_EQ(all.field("Content-Length"), std::to_string(content.size()));
  EXPECT_EQ(all.body().size(), 500'000U);
  EXPECT_TRUE(std::string_view(content).starts_with(all.body()));
}

TEST_F(http_hostile_files, the_answers_before_a_cut_file_arrive) {
  // A page long by its status, and shorter when it is read.
  if (!std::filesystem::exists("/sys/devices/system/cpu/online")) GTEST_SKIP() << "no sysfs";
  server_.serve_from("/sys/devices/system/cpu", file_options());
  server_.routes().get("/first", [](request&) { return response::text("first"); });
  const http_answer all = server_.answer_to(
      "GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET /files/online HTTP/1.1\r\nHost: a\r\n\r\n" +
      server_.request("/first"));
  EXPECT_NE(all.text.find("first"), all.text.npos);
  EXPECT_EQ(all.text.find("first", all.text.find("first") + 1), all.text.npos);
}

// ---------------------------------------------------------------- readers that do not read

std::size_t resident_size() {
  std::size_t all = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t thread_count() {
  std::size_t count = 0;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/task")) {
    count += each.exists() ? 1 : 0;
  }
  return count;
}

TEST_F(http_hostile_files, slow_readers_hold_neither_threads_nor_memory_nor_others) {
  constexpr std::size_t reader_count = 40;
  const std::string path = server_.add("large.bin", "");
  ASSERT_EQ(::truncate(path.c_str(), 64 << 20), 0);
  server_.add("a.txt", "small");
  test::run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(test::any_port);
    std::vector<tcp_stream> readers;
    const session_options options;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      const auto connect = [&]() -> task<tcp_stream> {
        tcp_stream client = co_await tcp_stream::connect(listener.local());
        tasks.start(
            [&](tcp_stream peer) { return session(std::move(peer), server_.routes(), options); },
            co_await listener.accept());
        co_return client;
      };
      const std::size_t threads = thread_count();
      const std::size_t size = resident_size();
      for (std::size_t i = 0; i < reader_count; ++i) {
        readers.push_back(co_await connect());
        co_await readers.back().write_all("GET /files/large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
      }
      std::size_t stuck = 0;
      while (stuck < reader_count) {
        co_await test::settle(1);
        stuck = 0;
        const std::string tree = loop::current().task_tree();
        for (std::size_t at = tree.find("poll"); at != tree.npos; at = tree.find("poll", at + 1)) {
          ++stuck;
        }
      }
      EXPECT_LT(thread_count(), threads + reader_count / 2);  // of opening, not of sending
      EXPECT_LT(resident_size(), size + (std::size_t{16} << 20));
      tcp_stream quick = co_await connect();
      co_await quick.write_all(const_buffer(server_.request("/files/a.txt")));
      const std::string all = co_await read_all(quick, 65536);
      EXPECT_TRUE(all.ends_with("\r\n\r\nsmall"));
      tasks.cancel();
    });
  });
}

TEST_F(http_hostile_files, a_reader_that_stands_still_is_given_up) {
  const std::string content = pattern(large);
  server_.add("a.bin", content);
  session_options options;
  options.write_timeout = 20ms;
  options.linger_timeout = 1ms;
  http_answer all;
  with_client(
      [&](tcp_stream& client) -> task<> {
        co_await client.write_all(const_buffer(server_.request("/files/a.bin")));
        while (loop::current().task_tree().find("session") != std::string::npos) {
          co_await test::settle(1);
        }
        for (;;) {
          const auto part = co_await as_result(client.read_lease());
          if (!part || part->empty()) break;
          all.text += part->text();
        }
      },
      options);
  EXPECT_EQ(all.status(), 200);
  EXPECT_LT(all.body().size(), content.size());
  EXPECT_TRUE(std::string_view(content).starts_with(all.body()));
}

TEST_F(http_hostile_files, a_large_file_and_parts_of_it_arrive_whole_through_a_socket) {
  const std::string content = pattern(large);
  server_.add("a.bin", content);
  std::string input =
      "GET /files/a.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=1000000-9000000\r\n\r\n";
  input += "GET /files/a.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=5-6\r\n\r\n";
  input += server_.request("/files/a.bin");
  std::string all;
  with_client([&](tcp_stream& client) -> task<> {
    co_await client.write_all(const_buffer(input));
    all = co_await read_all(client, std::size_t{64} << 20);
  });
  std::size_t at = all.find("\r\n\r\n") + 4;
  EXPECT_TRUE(all.compare(at, 8'000'001, content, 1'000'000, 8'000'001) == 0);
  at = all.find("\r\n\r\n", at + 8'000'001) + 4;
  EXPECT_TRUE(all.compare(at, 2, content, 5, 2) == 0);
  at = all.find("\r\n\r\n", at + 2) + 4;
  EXPECT_TRUE(all.compare(at, all.npos, content) == 0);
}

}  // namespace
}  // namespace rill::http
