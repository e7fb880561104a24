// Server-sent events (the HTML standard, section 9.2): a stream of small messages to a browser.
//   routes.get("/news", [](http::request& asked) {
//     return http::event_response([last = http::last_event_id(asked)](http::event_stream to)
//         -> task<void> { co_await to.send("hello"); });
//   });
// Not here: other streams (response::stream).
// Read next: events.cpp.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include <rill/protocols/http/request.h>
#include <rill/protocols/http/response.h>
#include <rill/runtime/task.h>

namespace rill::http {

/// Writes events. Each is on its way when its task completes; a slow reader makes the writer wait,
/// at most session_options::write_timeout. Errors: io_error of the connection, when the reader has
/// gone: let it pass. Throws std::invalid_argument for CR, LF or NUL where they cannot stand.
class event_stream {
 public:
  explicit event_stream(body_writer& to) noexcept : to_(&to) {}

  /// `data` may have several lines, ended by LF, CR LF or CR; the reader gets LF. `name` is what
  /// addEventListener() of the browser is given, "message" if empty. `id` comes back as
  /// last_event_id() when the browser connects anew; empty: as before.
  [[nodiscard]] task<void> send(std::string_view data, std::string_view name = {},
                                std::string_view id = {});
  /// How long the browser waits before it connects anew.
  [[nodiscard]] task<void> send_retry(std::chrono::milliseconds time);
  /// What no program sees; every 15 s or so it keeps proxies from closing an idle stream, and finds
  /// out that the reader has gone.
  [[nodiscard]] task<void> send_comment(std::string_view text = {});

 private:
  task<void> write(std::string text);

  body_writer* to_;
};

/// 200 with text/event-stream and Cache-Control: no-store. `produce` runs until it returns, throws,
/// or the connection ends; after a return the browser connects anew, unless it is answered 204
/// then.
response event_response(std::function<task<void>(event_stream)> produce);

/// The id of the last event that the browser has seen; empty the first time.
std::string last_event_id(const request& asked);

}  // namespace rill::http
