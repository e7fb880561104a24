// What the tests of handlers and middleware share: a service of one function, what a client gets
// that sends requests to it, a request without a connection.
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support.h"
#include <rill/net/memory_stream.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/nursery.h>

namespace rill::http::test {

/// What on_error was told, of the last answers_to().
inline std::vector<std::string>& reported() {
  static std::vector<std::string> all;
  return all;
}

inline void take_report(const request&, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    reported().emplace_back(known.what());
  }
}

/// What a client gets that sends `pieces`, one after the other, then ends its direction and reads
/// to the end.
inline std::string answers_to(service& answering, const std::vector<std::string>& pieces,
                              session_options options = session_options()) {
  std::string all;
  reported().clear();
  options.on_error = take_report;
  rill::test::run_loop([&]() -> task<> {
    auto pair = memory_stream_pair();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&](memory_stream peer) { return session(std::move(peer), answering, options); },
                  std::move(pair.second));
      tasks.start([&]() -> task<> {
        for (const std::string& each : pieces) {
          const auto sent = co_await as_result(pair.first.write_all(const_buffer(each)));
          if (!sent) co_return;
          co_await rill::test::settle(3);
        }
        co_await as_result(pair.first.shutdown_write());
      });
      for (;;) {
        const auto part = co_await as_result(pair.first.read_lease());
        if (!part || part->empty()) break;
        all += part->text();
      }
    });
  });
  return all;
}

/// Without the line of the date, which nobody can foresee.
inline std::string without_date(std::string text) {
  for (std::size_t at = text.find("Date: "); at != text.npos; at = text.find("Date: ", at)) {
    text.erase(at, text.find('\n', at) + 1 - at);
  }
  return text;
}

/// "POST / HTTP/1.1" with Host, the length of the body, other fields, each with CRLF, and the body.
inline std::string posted(std::string_view body, std::string_view fields) {
  return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(fields) + "\r\n" + std::string(body);
}
inline std::string got(std::string_view fields = {}, std::string_view target = "/") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

/// The body of an answer that came whole.
inline std::string body_of(const std::string& answer) {
  return answer.substr(std::min(answer.find("\r\n\r\n") + 4, answer.size()));
}

}  // namespace rill::http::test
