// A server that says what it has understood, for tables of requests (conformance.h).
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "http/conformance.h"
#include "http/handlers.h"

namespace rill::http::test {

/// Bytes that a client gets which sends `pieces`.
inline std::string answers(const std::vector<std::string>& pieces) {
  router routes;
  routes.get("/204", [](request&) { return response(204); });
  routes.get("/stream", [](request&) {
    return response::stream([](body_writer& to) -> task<void> { co_await to.write("streamed"); },
                            "text/plain");
  });
  routes.fallback([](request& asked) -> task<response> {
    const std::string body = co_await asked.read_body();
    std::string text = std::string(asked.method()) + ' ' + std::string(asked.path());
    if (!asked.head().query().empty()) text.append("?").append(asked.head().query());
    text.append(" at ").append(asked.head().authority());
    if (!body.empty()) text.append(" body ").append(body);
    co_return response::text(std::move(text));
  });
  return answers_to(routes, pieces);
}

/// The answers, one after the other: their statuses, and of those with 200 what was understood.
/// "open" behind the last one unless it says that the connection ends.
inline std::string told(const std::vector<std::string>& pieces) {
  const std::string all = answers(pieces);
  std::string_view method = pieces.front().starts_with('H') ? "HEAD" : "GET";
  std::string text;
  bool closes = true;
  for (std::string_view rest = all; !rest.empty();) {
    response_head head;
    if (head.parse(rest, method) != parse_state::complete) return text + ", and a broken one";
    const bool has_body = head.framing() == body_framing::length;
    const std::size_t size = has_body ? static_cast<std::size_t>(head.content_length()) : 0;
    text.append(text.empty() ? "" : ", ").append(std::to_string(head.status()));
    if (head.status() == 200) text.append(" ").append(rest.substr(head.size(), size));
    closes = head.has_element("Connection", "close");
    rest.remove_prefix(std::min(head.size() + size, rest.size()));
    if (!head.is_interim()) method = "GET";
  }
  return closes ? text : text + " open";
}

/// Each message with a request behind it: "+" where that is answered too.
inline void check_requests(const std::vector<conformance_case>& cases) {
  const std::string next = "GET /next HTTP/1.1\r\nHost: n\r\n\r\n";
  const std::string answered = ", 200 GET /next at n open";
  for (const conformance_case& one : cases) {
    const auto shortened = [&](std::string text) {
      if (text.ends_with(answered)) text.replace(text.size() - answered.size(), text.npos, " +");
      return text;
    };
    const std::string input = one.message + next;
    const std::string seen = shortened(told({input}));
    check(one, seen, seen.starts_with("2"));
    if (input.size() > 500) continue;  // what is longer takes too long to be cut everywhere
    std::vector<std::string> bytes;
    for (const char each : input) bytes.emplace_back(1, each);
    EXPECT_EQ(shortened(told(bytes)), seen) << printable(one.message) << " byte by byte";
  }
}

}  // namespace rill::http::test
