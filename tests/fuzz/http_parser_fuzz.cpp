// Requests of HTTP/1 as rill reads them and as http-parser does (2.9.4, the parser that Node.js had
// until version 12): where both take a request, they say the same about its method, target, fields,
// body, trailer, end and connection; where rill takes one, http-parser takes it too; and where rill
// waits for more, http-parser has not ended. Several requests may follow one another.
//
// Debian builds http-parser without HTTP_PARSER_STRICT: it takes a good deal that rill refuses,
// such as lines without CR, folded fields and anything behind a chunk. That is no finding. What
// http-parser reads differently although rill is right is listed in `differences`, each with its
// reason.
#include <http_parser.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/input.h"
#include <rill/protocols/http/body.h>
#include <rill/protocols/http/head.h>

namespace {

using rill::fuzz::check;
using rill::http::body_decoder;
using rill::http::body_framing;
using rill::http::equals_without_case;
using rill::http::parse_state;
using rill::http::request_head;
using rill::http::target_form;

struct seen_field {
  std::string name;
  std::string value;
  bool operator==(const seen_field&) const = default;
};

/// One request, whoever has read it.
struct seen_request {
  std::string method;
  std::string target;
  std::vector<seen_field> fields;
  std::vector<seen_field> trailer;
  std::string body;
  std::size_t size = 0;  // of the whole message
  bool keeps_alive = false;
};

enum class verdict : std::uint8_t { complete, incomplete, refused };

// ---------------------------------------------------------------- what http-parser says

struct second_reader {
  seen_request seen;
  verdict said = verdict::incomplete;
  bool is_behind_head = false;
  bool is_in_value = true;

  std::vector<seen_field>& fields() { return is_behind_head ? seen.trailer : seen.fields; }
};

second_reader& reader_of(http_parser* parser) { return *static_cast<second_reader*>(parser->data); }

http_parser_settings callbacks() {
  http_parser_settings calls;
  http_parser_settings_init(&calls);
  calls.on_url = [](http_parser* parser, const char* at, std::size_t size) {
    reader_of(parser).seen.target.append(at, size);
    return 0;
  };
  calls.on_header_field = [](http_parser* parser, const char* at, std::size_t size) {
    second_reader& reader = reader_of(parser);
    if (reader.is_in_value) reader.fields().emplace_back();
    reader.is_in_value = false;
    reader.fields().back().name.append(at, size);
    return 0;
  };
  calls.on_header_value = [](http_parser* parser, const char* at, std::size_t size) {
    second_reader& reader = reader_of(parser);
    reader.is_in_value = true;
    reader.fields().back().value.append(at, size);
    return 0;
  };
  calls.on_headers_complete = [](http_parser* parser) {
    second_reader& reader = reader_of(parser);
    reader.is_behind_head = true;
    reader.seen.method = http_method_str(static_cast<http_method>(parser->method));
    return 0;
  };
  calls.on_body = [](http_parser* parser, const char* at, std::size_t size) {
    reader_of(parser).seen.body.append(at, size);
    return 0;
  };
  calls.on_message_complete = [](http_parser* parser) {
    second_reader& reader = reader_of(parser);
    reader.said = verdict::complete;
    reader.seen.keeps_alive = http_should_keep_alive(parser) != 0;
    http_parser_pause(parser, 1);  // what follows is another message
    return 0;
  };
  return calls;
}

second_reader second_opinion(std::string_view message) {
  static const http_parser_settings calls = callbacks();
  second_reader reader;
  http_parser parser;
  http_parser_init(&parser, HTTP_REQUEST);
  parser.data = &reader;
  reader.seen.size = http_parser_execute(&parser, &calls, message.data(), message.size());
  if (reader.said != verdict::complete && HTTP_PARSER_ERRNO(&parser) != HPE_OK) {
    reader.said = verdict::refused;
  }
  // It leaves blanks behind a value where they are.
  for (std::vector<seen_field>* fields : {&reader.seen.fields, &reader.seen.trailer}) {
    for (seen_field& each : *fields) each.value.erase(each.value.find_last_not_of(" \t") + 1);
  }
  return reader;
}

bool is_method_of_second_reader(std::string_view method) {
  for (unsigned i = 0; i <= HTTP_SOURCE; ++i) {
    if (method == http_method_str(static_cast<http_method>(i))) return true;
  }
  return false;
}

// ---------------------------------------------------------------- what rill says

struct first_reader {
  request_head head;
  body_decoder body;
  std::string body_text;
  std::size_t size = 0;
  verdict said = verdict::incomplete;
};

first_reader first_opinion(std::string_view message) {
  first_reader reader;
  const parse_state state = reader.head.parse(message);
  if (state == parse_state::failed) reader.said = verdict::refused;
  if (state != parse_state::complete) return reader;
  reader.size = reader.head.size();
  reader.body = body_decoder(reader.head);
  while (!reader.body.is_complete() && !reader.body.has_failed()) {
    const auto piece = reader.body.decode(message.substr(reader.size));
    reader.body_text += piece.data;
    reader.size += piece.used;
    if (piece.used == 0) break;
  }
  if (reader.body.is_complete()) reader.said = verdict::complete;
  if (reader.body.has_failed()) reader.said = verdict::refused;
  return reader;
}

// ---------------------------------------------------------------- where they differ, and why

struct differences {
  bool refuses = false;      // http-parser may refuse it
  bool connection = false;   // it may say otherwise whether the connection goes on
  bool has_no_body = false;  // it ends the request behind the head
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// Behind `value` and before the end of its line stands a tab. RFC 9110 section 5.6.3 has it
/// passed over as a blank; in these fields http-parser passes over spaces alone.
bool ends_with_tab(std::string_view value, std::string_view message) {
  const auto at = static_cast<std::size_t>(value.data() + value.size() - message.data());
  return message.substr(at, message.find('\r', at) - at).find('\t') != std::string_view::npos;
}

/// http-parser looks for "close" letter by letter, and loses the thread at a tab, at an element
/// that is empty or begins with what it takes for no token ("_" among that), and at one that begins
/// a word it knows and stops there ("c, close"). RFC 9110 section 5.6.1 has them passed over.
bool loses_the_thread(std::string_view list) {
  if (list.find('\t') != std::string_view::npos) return true;
  for (;;) {
    const std::size_t comma = std::min(list.find(','), list.size());
    std::string_view element = list.substr(0, comma);
    element.remove_prefix(std::min(element.find_first_not_of(' '), element.size()));
    element = element.substr(0, element.find_last_not_of(' ') + 1);
    constexpr std::string_view no_token = "\"(),/:;<=>?[]_{}";
    if (element.empty() || static_cast<unsigned char>(element[0]) > '~' ||
        no_token.find(element[0]) != std::string_view::npos) {
      return true;
    }
    for (const std::string_view known : {"close", "keep-alive", "upgrade"}) {
      if (element.size() < known.size() &&
          equals_without_case(element, known.substr(0, element.size()))) {
        return true;
      }
    }
    if (comma == list.size()) return false;
    list.remove_prefix(comma + 1);
  }
}

bool has(const std::vector<seen_field>& fields, std::string_view name) {
  return std::any_of(fields.begin(), fields.end(),
                     [&](const seen_field& each) { return equals_without_case(each.name, name); });
}

differences differences_in(const first_reader& first, const second_reader& second,
                           std::string_view message) {
  const request_head& head = first.head;
  differences found;
  // RFC 3986 section 3.1 has digits, "+", "-" and "." in schemes; http-parser letters alone.
  if (head.form() == target_form::absolute) {
    const std::string_view scheme = head.target().substr(0, head.target().find(':'));
    found.refuses = !std::all_of(scheme.begin(), scheme.end(), is_letter);
  }
  constexpr std::string_view coding = "Transfer-Encoding";
  for (std::size_t i = 0; i < head.field_count(); ++i) {
    const auto [name, value] = head.field_at(i);
    if (equals_without_case(name, "Content-Length") || equals_without_case(name, coding)) {
      found.refuses = found.refuses || ends_with_tab(value, message);
    } else if (equals_without_case(name.substr(0, coding.size()), coding)) {
      // Another field, whose name begins with that one: http-parser takes it for that one.
      found.refuses = true;
    } else if (equals_without_case(name, "Connection")) {
      found.connection =
          found.connection || ends_with_tab(value, message) || loses_the_thread(value);
    }
  }
  // http-parser obeys Proxy-Connection, in the head and behind the body, which no RFC has.
  for (const auto* fields : {&second.seen.fields, &second.seen.trailer}) {
    if (has(*fields, "Proxy-Connection")) found.connection = true;
  }
  // RFC 9112 section 9.3: "close" decides, also beside "keep-alive" in HTTP/1.0.
  if (head.minor_version() == 0 && head.has_element("Connection", "close")) found.connection = true;
  // RFC 9112 section 6.3 knows no method whose requests have no body; http-parser takes what
  // follows a CONNECT for the tunnel. rill has no tunnels, and reads on as it does elsewhere.
  found.has_no_body = head.method() == "CONNECT";
  return found;
}

/// The line that rill waits for holds a CR already: it will be refused when its end comes, while
/// http-parser takes CR and any byte for the end of the head.
bool holds_bare_return(std::string_view message) {
  const std::size_t line = message.rfind('\n') + 1;
  const std::size_t found = message.find('\r', line);
  return found != std::string_view::npos && found + 1 != message.size();
}

// ---------------------------------------------------------------- the comparison

void compare(const first_reader& first, const second_reader& second, std::string_view message) {
  const differences may = differences_in(first, second, message);
  if (second.said == verdict::refused && may.refuses) return;
  check(second.said == verdict::complete, "what rill takes for a request, http-parser does");
  const request_head& head = first.head;
  const seen_request& seen = second.seen;
  check(seen.target == head.target(), "both see one target");
  check(seen.fields.size() == head.field_count(), "both see as many fields");
  for (std::size_t i = 0; i < head.field_count(); ++i) {
    const auto [name, value] = head.field_at(i);
    check(seen.fields[i].name == name && seen.fields[i].value == value, "both see one field");
  }
  if (!may.connection) {
    check(seen.keeps_alive == head.keeps_alive(), "both say whether the connection goes on");
  }
  if (may.has_no_body) {
    check(seen.size == head.size(), "a CONNECT ends behind its head");
    return;
  }
  check(seen.body == first.body_text, "both see one body");
  check(seen.size == first.size, "the request ends at one place for both");
  std::vector<seen_field> before;
  for (const seen_field& each : seen.trailer) {
    check(has(before, each.name) || first.body.find_trailer(each.name) == each.value,
          "both see one trailer field");
    before.push_back(each);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 2048;
  if (size > size_max) return -1;
  // Of its own, so that a look beyond the end is noticed.
  std::string all(reinterpret_cast<const char*>(data), size);
  std::string_view message = all;
  while (!message.empty()) {
    const first_reader first = first_opinion(message);
    if (first.said == verdict::refused) return 0;
    // http-parser knows 34 methods, rill takes any token: another one is put in its place.
    const std::string_view method = first.head.method();
    const bool is_known = method.empty() || is_method_of_second_reader(method);
    std::string copy(message);
    constexpr std::string_view another = "POST";
    if (!is_known) {
      copy.replace(static_cast<std::size_t>(method.data() - message.data()), method.size(),
                   another);
    }
    second_reader second = second_opinion(copy);
    if (first.said == verdict::incomplete) {
      if (method == "CONNECT" || holds_bare_return(message)) return 0;
      check(second.said != verdict::complete, "nobody ends where rill waits for more");
      return 0;
    }
    if (is_known) {
      check(second.said != verdict::complete || second.seen.method == method,
            "both see one method");
    } else {
      second.seen.size = second.seen.size + method.size() - another.size();
    }
    compare(first, second, message);
    if (!first.head.keeps_alive()) return 0;
    message.remove_prefix(first.size);
  }
  return 0;
}
