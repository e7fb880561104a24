// Servers for tests of the client: one that says exactly what the test has it say, and ours.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include <rill/net/buffered.h>
#include <rill/net/memory_stream.h>
#include <rill/protocols/smtp/client.h>
#include <rill/protocols/smtp/session.h>
#include <rill/runtime/nursery.h>

namespace rill::test {

/// A line that is awaited (its beginning; empty: none) and what is said then. "drop" closes.
struct exchange {
  std::string expected;
  std::string said;
};
using script = std::vector<exchange>;

/// Plays the server's part. Gives the lines that came in `heard`. At the end of the script it
/// waits for the client to go.
inline task<> play(memory_stream stream, const script& lines, record& heard) {
  buffered_reader<memory_stream> reader(stream);
  for (const auto& [expected, said] : lines) {
    while (!expected.empty()) {
      const auto line = co_await reader.read_until("\r\n", 100'000);
      if (!line) co_return;
      heard.emplace_back(*line);
      if (expected == "." ? *line == "." : line->starts_with(expected)) break;
    }
    if (said == "drop") co_return;
    const auto sent = co_await as_result(stream.write_all(const_buffer(said)));
    if (!sent) co_return;
  }
  for (;;) {
    const auto came = co_await as_result(reader.fill());
    if (!came || *came == 0) co_return;
    heard.emplace_back(reader.buffered().text());
    if (heard.back() == "QUIT\r\n") co_return;
    reader.consume(reader.buffered().size());
  }
}

/// Runs `visit(stream)` against a script; the record is what the server heard.
template <class Visit>
record against(const script& lines, Visit visit, std::size_t piece_size = 0) {
  record heard;
  run_loop([&]() -> task<> {
    auto [client_end, server_end] = memory_stream_pair();
    if (piece_size != 0) client_end.set_read_size_max(piece_size);
    memory_stream mine = std::move(client_end);
    memory_stream theirs = std::move(server_end);
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start(play, std::move(theirs), std::ref(lines), std::ref(heard));
      co_await visit(std::move(mine));
    });
  });
  return heard;
}

/// Without TLS, as most of the scripts are.
inline smtp::client_options plain_options() {
  smtp::client_options options;
  options.secured = smtp::security::none;
  options.hello = "me.test";
  return options;
}

/// Keeps what it is given.
class mail_keeper : public smtp::service {
 public:
  task<smtp::reply> add(const smtp::session_peer&, const smtp::path_argument& to) override {
    if (to.address.starts_with("nobody")) co_return smtp::reply(550, "5.1.1 no such user");
    if (to.address.starts_with("later")) co_return smtp::reply(450, "4.2.1 not now");
    co_return smtp::reply(250, "2.1.5 fine");
  }
  task<smtp::reply> take(smtp::received_mail mail) override {
    kept.push_back(std::move(mail));
    co_return smtp::reply(250, "2.0.0 kept as " + std::to_string(kept.size()));
  }
  std::optional<std::string> password_of(std::string_view user) override {
    if (user == "ann") return "s3cret";
    return std::nullopt;
  }

  std::vector<smtp::received_mail> kept;
};

/// Runs `visit(stream)` against a session of ours.
template <class Visit>
void against_ours(smtp::service& service, const smtp::session_options& options, Visit visit) {
  run_loop([&]() -> task<> {
    auto [client_end, server_end] = memory_stream_pair();
    memory_stream mine = std::move(client_end);
    memory_stream theirs = std::move(server_end);
    co_await with_nursery([&](nursery& both) -> task<> {
      both.start([&]() { return smtp::session(std::move(theirs), service, options); });
      co_await visit(std::move(mine));
    });
  });
}

}  // namespace rill::test
