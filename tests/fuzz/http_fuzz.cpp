// Heads and bodies of HTTP: the answer is the same however the input is cut, views lie within the
// input, and what was taken as a request keeps the promises of head.h. The first bytes choose the
// cuts and the limits; the rest is the message.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fuzz/input.h"
#include <rill/protocols/http/body.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/http/url.h>
#include <rill/protocols/http/values.h>

namespace {

using rill::fuzz::check;
using rill::http::parse_state;

template <class Head>
std::string described(const Head& head, parse_state state, std::string_view bytes) {
  if (state == parse_state::incomplete) return "incomplete";
  if (state == parse_state::failed) return make_error_code(head.error()).message();
  check(head.size() <= bytes.size(), "a head lies within the bytes given");
  std::string text = std::to_string(head.size()) + ' ' +
                     std::to_string(static_cast<int>(head.framing())) + ' ' +
                     std::to_string(head.content_length()) + (head.keeps_alive() ? " k" : " c");
  for (std::size_t i = 0; i < head.field_count(); ++i) {
    const rill::http::field each = head.field_at(i);
    check(each.name.data() >= bytes.data() &&
              each.value.data() + each.value.size() <= bytes.data() + bytes.size(),
          "views lie within the bytes given");
    check(each.value.find_first_of("\r\n") == std::string_view::npos, "a value is one line");
    check(head.count(each.name) != 0, "a field is found by its name");
    text.append("\n").append(each.name).append("|").append(each.value);
  }
  return text;
}

/// Cuts `message` at every `step`-th byte; 0: not at all.
template <class Parse>
std::string parsed(std::string_view message, std::size_t step, Parse parse) {
  for (std::size_t end = step; step != 0 && end < message.size(); end += step) {
    // Memory of its own, so that a look beyond the end is noticed.
    const std::string part(message.substr(0, end));
    std::string text = parse(part);
    if (text != "incomplete") return text;
  }
  return parse(message);
}

std::string request_of(std::string_view message, std::size_t step,
                       const rill::http::head_limits& limits) {
  rill::http::request_head head(limits);
  return parsed(message, step, [&](std::string_view bytes) {
    const parse_state state = head.parse(bytes);
    std::string text = described(head, state, bytes);
    if (state != parse_state::complete) return text;
    check(head.framing() != rill::http::body_framing::until_close, "a request says its length");
    check(head.find("Transfer-Encoding") == std::nullopt ||
              head.find("Content-Length") == std::nullopt,
          "a request has one length");
    check(head.minor_version() == 0 || head.count("Host") == 1, "HTTP/1.1 has one Host");
    rill::http::resolve_path(head.path());
    rill::http::parse_form(head.query());
    rill::http::parse_range(head.find("Range").value_or(""), 1000);
    rill::http::quality_of_coding(head.find("Accept-Encoding"), "gzip");
    return text.append("\n").append(head.method()).append(" ").append(head.target());
  });
}

std::string response_of(std::string_view message, std::size_t step,
                        const rill::http::head_limits& limits) {
  rill::http::response_head head(limits);
  return parsed(message, step, [&](std::string_view bytes) {
    const parse_state state = head.parse(bytes, "GET");
    std::string text = described(head, state, bytes);
    return state == parse_state::complete ? text + '\n' + std::to_string(head.status()) : text;
  });
}

std::string chunks_of(std::string_view message, std::size_t step,
                      const rill::http::body_limits& limits) {
  rill::http::request_head head;
  head.parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  rill::http::body_decoder body(head, limits);
  std::string all;
  std::size_t used = 0;
  const std::size_t size = step == 0 ? message.size() : step;
  for (std::size_t end = size; used < message.size() && !body.is_complete() && !body.has_failed();
       end += size) {
    while (used < std::min(end, message.size()) && !body.is_complete() && !body.has_failed()) {
      const std::string part(message.substr(used, std::min(end, message.size()) - used));
      const auto piece = body.decode(part);
      check(piece.used != 0 || body.has_failed(), "decoding gets on");
      check(piece.data.size() <= piece.used && piece.used <= part.size(),
            "a piece is of the input");
      all += piece.data;
      used += piece.used;
    }
  }
  check(all.size() == body.size() && all.size() <= limits.size_max, "a body keeps its limit");
  if (body.has_failed()) return all + '\n' + make_error_code(body.error()).message();
  return all + (body.is_complete() ? "\ncomplete " : "\ngoes on ") + std::to_string(used);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 2048;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  const std::size_t step = 1 + from.number(15);
  const bool is_narrow = from.number(1) != 0;
  rill::http::head_limits heads;
  rill::http::body_limits bodies;
  if (is_narrow) {
    heads = {48, 160, 4};
    bodies = {24, 8, 24};
  }
  const std::string_view message = from.rest();
  check(request_of(message, 0, heads) == request_of(message, step, heads),
        "a request is judged alike however it is cut");
  check(response_of(message, 0, heads) == response_of(message, step, heads),
        "a response is judged alike however it is cut");
  check(chunks_of(message, 0, bodies) == chunks_of(message, step, bodies),
        "a body is judged alike however it is cut");
  if (const auto url = rill::http::url::parse(message)) {
    const auto again = rill::http::url::parse(url->to_string());
    check(again && again->to_string() == url->to_string(), "a URL is read as it was written");
    url->resolve(message);
  }
  return 0;
}
