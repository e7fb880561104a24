// Clients of a chat for tests, and the server they talk to, in a simulated world.
// Read next: session_test.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rill/net/endpoint.h>
#include <rill/net/serve.h>
#include <rill/net/stream.h>
#include <rill/net/tcp.h>
#include <rill/protocols/chat/history_log.h>
#include <rill/protocols/chat/hub.h>
#include <rill/protocols/chat/session.h>
#include <rill/protocols/websocket/options.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill::chat::test {

inline endpoint at(std::string_view text) { return *endpoint::parse(text); }

struct server_options {
  hub_options hub{};
  session_options session{};
  serve_limits limits{};
  std::size_t per_address_max = 0;
  websocket::server_options pages{};  ///< of page_service (page.h)
  bool is_logged = false;             ///< in /log
};

/// One loop's chat on port 12345 until it is cancelled.
inline task<> chat_service(server_options how, std::shared_ptr<hub>* seen = nullptr) {
  auto listener = tcp_listener::bind(at("0.0.0.0:12345"));
  const std::shared_ptr<hub> all = hub::make({&loop::current()}, how.hub);
  if (seen != nullptr) *seen = all;
  branch here(all->at(0), how.session);
  address_counter addresses(how.per_address_max);
  if (how.per_address_max != 0) here.addresses = &addresses;
  if (!how.is_logged) {
    co_await serve(listener, here, how.limits);
    co_return;
  }
  log_folder folder("/log");
  const std::vector<kept_event> kept = co_await folder.read();
  all->restore(kept);
  history_log log(folder, all->at(0));
  const hub::keeping kept_there(*all, 0, &log);
  co_await with_nursery([&](nursery& tasks) -> task<> {
    const history_log::ending end(&log);
    tasks.start([&] { return log.run(); });
    co_await serve(listener, here, how.limits);
  });
}

/// A client that says and expects bytes. What does not come within 100 s of virtual time throws.
class talker {
 public:
  static task<talker> connect(std::string where = "10.0.0.1:12345") {
    tcp_stream stream = co_await tcp_stream::connect(at(where));
    co_return talker(std::move(stream));
  }
  /// As a line client with this nickname, until it has seen itself join.
  static task<talker> join(std::string name) {
    talker made = co_await connect();
    co_await made.expect("NICK");
    co_await made.say(name + "\n");
    co_await made.expect(name + " joined the chat!\n");
    co_return made;
  }
  talker(talker&&) noexcept = default;
  talker& operator=(talker&&) noexcept = default;

  task<> say(std::string text) { co_await stream.write_all(text); }
  /// What comes next is this, byte for byte.
  task<> expect(std::string text) {
    while (seen.size() < text.size()) {
      const std::size_t size = co_await more();
      if (size == 0) fail_at_end(text);
    }
    if (!seen.starts_with(text)) {
      throw std::runtime_error("expected \"" + text + "\", got \"" + seen + "\"");
    }
    seen.erase(0, text.size());
  }
  /// Skips everything before this, and this.
  task<> skip_to(std::string text) {
    for (;;) {
      const std::size_t found = seen.find(text);
      if (found != std::string::npos) {
        seen.erase(0, found + text.size());
        co_return;
      }
      const std::size_t size = co_await more();
      if (size == 0) fail_at_end(text);
    }
  }
  /// The next line, without its end.
  task<std::string> line() {
    std::size_t end = 0;
    while ((end = seen.find('\n')) == std::string::npos) {
      const std::size_t size = co_await more();
      if (size == 0) fail_at_end("a newline");
    }
    std::string text = seen.substr(0, end);
    seen.erase(0, end + 1);
    co_return text;
  }
  /// Everything until the server closes.
  task<std::string> rest() {
    for (;;) {
      const std::size_t size = co_await more();
      if (size == 0) co_return std::exchange(seen, {});
    }
  }
  /// Nothing comes for so long.
  task<> expect_silence(std::chrono::milliseconds time) {
    const auto bytes = co_await as_result(with_timeout(time, stream.read_lease()));
    if (bytes) throw std::runtime_error("unexpected: \"" + std::string(bytes->text()) + "\"");
    if (!seen.empty()) throw std::runtime_error("unexpected: \"" + seen + "\"");
  }

  tcp_stream stream;
  std::string seen;

 private:
  [[noreturn]] void fail_at_end(const std::string& before) const {
    throw std::system_error(make_error_code(stream_error::unexpected_end),
                            "before \"" + before + "\", after \"" + seen + "\"");
  }
  explicit talker(tcp_stream connected) : stream(std::move(connected)) {}
  task<std::size_t> more() {
    const auto bytes = co_await with_timeout(std::chrono::seconds(100), stream.read_lease());
    seen += bytes.text();
    co_return bytes.size();
  }
};

}  // namespace rill::chat::test
