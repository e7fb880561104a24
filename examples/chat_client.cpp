// A terminal client of a chat: messages scroll by above the line that is being typed.
//
//   build/release/bin/chat_client localhost 12345 --nick alice
//   printf 'hello\n' | build/release/bin/chat_client localhost 12345 --nick bob
//
// On a terminal the line can be edited, and earlier ones come back with the arrow keys. Otherwise
// lines are read from standard input and what comes is written to standard output, until the input
// ends. Works with chat_server and with servers that know chunks only: see `introduce`.
// Read next: chat_terminal.h.
#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "chat_terminal.h"
#include "program.h"
#include <rill/net/connect.h>
#include <rill/net/stream.h>
#include <rill/protocols/chat/text.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/remote_channel.h>
#include <rill/runtime/run.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace {

struct options {
  std::string host;
  std::string port;
  std::string nick;
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
  std::string kernel = "auto";
};

class conversation {
 public:
  conversation(rill::tcp_stream& server, std::string nick, terminal& shown,
               rill::remote_receiver<std::string>& typed)
      : server_(&server), nick_(std::move(nick)), terminal_(&shown), typed_(&typed) {}

  rill::task<> talk() {
    const bool is_member = co_await introduce();
    if (!is_member) co_return;
    co_await rill::with_nursery([&](rill::nursery& both) -> rill::task<> {
      both.start([&]() -> rill::task<> {
        co_await listen();
        both.cancel();
      });
      co_await speak();
      // The server closes when it has sent what it still has; it is not waited for for ever.
      co_await rill::sleep_for(end_time);
      both.cancel();
    });
  }

 private:
  static constexpr std::chrono::milliseconds announce_time{100};
  static constexpr std::chrono::seconds silence_time{1};  // after which no newline will come
  static constexpr std::chrono::seconds answer_time{30};
  static constexpr std::chrono::seconds end_time{5};
  static constexpr std::size_t line_size_max = std::size_t{64} * 1024;

  /// Until the server has taken a nickname. False: it has closed.
  /// A server that speaks lines waits for the newline of a nickname; one that knows chunks only
  /// announces the newcomer at once. So the nickname goes first, and the newline when nothing has
  /// come for a moment: that tells which kind it is. One that is far away shows it later, by an
  /// announcement without a newline: then the room has seen ours as a chunk, and lines end here.
  rill::task<bool> introduce() {
    for (;;) {
      while (!held_.ends_with("NICK")) {
        const bool came = co_await read_more();
        if (!came) co_return false;
        show_lines();
      }
      held_.erase(held_.size() - 4);
      show_rest();
      if (nick_.empty() || was_refused_) {
        terminal_->show("-- what is your name?");
        std::optional<std::string> line = co_await typed_->receive();
        if (!line) co_return false;
        nick_ = std::move(*line);
      }
      co_await server_->write_all(nick_);
      const auto announced =
          co_await rill::as_result(rill::with_timeout(announce_time, server_->read_lease()));
      if (announced && announced->empty()) co_return false;
      if (announced) {
        speaks_lines_ = false;
        held_ += announced->text();
        show_lines();
        co_return true;
      }
      co_await server_->write_all("\n");
      const bool is_taken = co_await is_member();
      if (is_taken || has_ended_) co_return is_taken;
      was_refused_ = true;
    }
  }
  /// True: it is announced. False: it is asked again, or the server has closed.
  rill::task<bool> is_member() {
    const std::string announcement = nick_ + " joined the chat!";
    const auto answer_end = rill::loop_clock::after(rill::loop_clock::now(), answer_time);
    auto newline_end = rill::loop_clock::time_point::max();
    for (bool in_time = true; in_time;) {
      for (std::size_t end; (end = held_.find('\n')) != std::string::npos;) {
        const std::string line = held_.substr(0, end);
        if (line.starts_with(announcement)) {
          speaks_lines_ = line == announcement;  // a chunk follows it otherwise
          show_lines();
          co_return true;
        }
        show(line);
        held_.erase(0, end + 1);
      }
      if (is_question()) co_return false;
      if (held_.find(announcement) == std::string::npos) {
        newline_end = rill::loop_clock::time_point::max();
      } else {
        const auto soon = rill::loop_clock::after(rill::loop_clock::now(), silence_time);
        newline_end = std::min(newline_end, soon);
      }
      bool goes_on = true;
      try {
        goes_on = co_await rill::with_deadline(std::min(newline_end, answer_end), read_more());
      } catch (const rill::timeout_error&) {
        in_time = false;
      }
      has_ended_ = !goes_on;
      if (has_ended_) co_return false;
    }
    if (newline_end != rill::loop_clock::time_point::max()) {
      speaks_lines_ = false;
      show_lines();
      co_return true;
    }
    show_rest();
    terminal_->show("-- the server does not answer");
    has_ended_ = true;
    co_return false;
  }
  /// The server asks for a nickname: that is all there is of a line, not the end of one.
  bool is_question() const { return held_ == "NICK"; }

  rill::task<> listen() {
    for (bool goes_on = true; goes_on;) {
      goes_on = co_await read_more();
      show_lines();
    }
    show_rest();
    terminal_->show("-- the server has closed the connection");
  }
  rill::task<> speak() {
    while (std::optional<std::string> line = co_await typed_->receive()) {
      // Who speaks chunks puts the name in front itself.
      const std::string sent = speaks_lines_ ? *line + '\n' : nick_ + ": " + *line;
      if (!speaks_lines_ && *line == "/quit") break;
      co_await server_->write_all(sent);
    }
    co_await rill::as_result(server_->shutdown_write());
  }

  /// False: the server has finished.
  rill::task<bool> read_more() {
    const rill::lease bytes = co_await server_->read_lease();
    held_ += bytes.text();
    co_return !bytes.empty();
  }
  void show_lines() {
    std::size_t begin = 0;
    for (std::size_t end; (end = held_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      show(std::string_view(held_).substr(begin, end - begin));
    }
    held_.erase(0, begin);
    if (!speaks_lines_ || held_.size() > line_size_max) show_rest();
  }
  void show_rest() {
    if (!held_.empty()) show(std::exchange(held_, {}));
  }
  /// Whoever has sent it, it cannot do anything to this terminal.
  void show(std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    std::string harmless;
    rill::chat::append_harmless(harmless, line);
    terminal_->show(harmless);
  }

  rill::tcp_stream* server_;
  std::string nick_;
  terminal* terminal_;
  rill::remote_receiver<std::string>* typed_;
  std::string held_;  // what has come of a line, or the question for a nickname
  bool speaks_lines_ = true;
  bool was_refused_ = false;
  bool has_ended_ = false;
};

rill::task<> chat_client(const options& chosen) {
  rill::tcp_stream server =
      co_await rill::with_timeout(chosen.timeout, rill::connect(chosen.host, chosen.port));
  constexpr std::size_t typed_count_max = 64;
  rill::remote_channel<std::string> typed(typed_count_max);
  terminal shown(std::move(typed.sender));
  conversation with(server, chosen.nick, shown, typed.receiver);
  co_await with.talk();
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Chats with a server: messages on the screen, lines to it, until the input ends.");
  app.add_option("HOST", chosen.host, "name or address")->required();
  app.add_option("PORT", chosen.port, "port number or service name")->required();
  app.add_option("--nick", chosen.nick, "nickname (asked for)");
  program::add_duration(app, "--timeout", chosen.timeout, "to connect in (10s)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, chat_client, std::cref(chosen));
}
