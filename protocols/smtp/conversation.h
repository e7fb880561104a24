// The client's side of a connection: a command out, its reply in, within a time, and told to the
// trace. Private. Not here: which command comes when (client.cpp, client_send.cpp).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <rill/protocols/smtp/client.h>
#include <rill/protocols/smtp/transport.h>

namespace rill::smtp::detail {

class conversation {
 public:
  conversation(std::unique_ptr<transport> carried, std::string server, reply_limits limits,
               trace_function on_trace)
      : carried_(std::move(carried)),
        parser_(limits),
        server_(std::move(server)),
        on_trace_(std::move(on_trace)) {}

  /// Sends `lines`, whole ones. Bytes of the server's that wait unread are a reply that nobody has
  /// asked for. What is shown of it is `shown`, or all. Throws client_error, and then the
  /// connection is closed, as in all that follows.
  task<> send(client_phase phase, std::string lines, std::chrono::nanoseconds limit,
              std::string_view shown = {});
  /// The next reply, whole within `limit`.
  task<reply> receive(client_phase phase, std::chrono::nanoseconds limit);
  task<reply> ask(client_phase phase, std::string line, std::chrono::nanoseconds limit,
                  std::string_view shown = {});

  /// The same as values: errors leave the connection as it is.
  task<result<std::size_t>> write(std::string_view bytes, std::chrono::nanoseconds limit);
  task<tl::expected<reply, error>> receive_as_result(std::chrono::nanoseconds limit);

  [[noreturn]] void fail(client_phase phase, std::error_code code, std::string_view detail = {});
  [[noreturn]] void fail(client_phase phase, const error& cause);
  [[noreturn]] void fail(client_phase phase, const reply& said);

  bool is_open() const noexcept { return carried_ != nullptr; }
  void drop() noexcept { carried_.reset(); }
  transport& carried() noexcept { return *carried_; }
  const transport& carried() const noexcept { return *carried_; }
  void replace(std::unique_ptr<transport> by) noexcept { carried_ = std::move(by); }
  bool has_unread() const noexcept { return !carried_->buffered().empty(); }
  const std::string& server() const noexcept { return server_; }
  void note(trace_event what, std::string_view text) const;

 private:
  std::unique_ptr<transport> carried_;
  reply_parser parser_;
  std::string server_;
  trace_function on_trace_;
};

/// Closes the connection unless told that all went well: a step that was cancelled or has thrown
/// leaves it in no known state.
class step_guard {
 public:
  explicit step_guard(conversation& of) noexcept : of_(&of) {}
  step_guard(const step_guard&) = delete;
  step_guard& operator=(const step_guard&) = delete;
  ~step_guard() {
    if (of_ != nullptr) of_->drop();
  }
  void done() noexcept { of_ = nullptr; }

 private:
  conversation* of_;
};

}  // namespace rill::smtp::detail
