// Values of single fields: cookies and the jar, credentials, ranges, Accept-Encoding, dates, forms.
// What was read can be written and is read again, limits hold, and a cookie goes to nobody else.
// The first byte chooses the kind; lines are fields.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/input.h"
#include <rill/protocols/http/auth.h>
#include <rill/protocols/http/cookies.h>
#include <rill/protocols/http/date.h>
#include <rill/protocols/http/url.h>
#include <rill/protocols/http/values.h>

namespace {

using namespace rill::http;
using rill::fuzz::check;

constexpr http_time now = http_time(std::chrono::seconds(1'700'000'000));

bool is_text(std::string_view text) {
  for (const char c : text) {
    if ((c >= 0 && c < ' ' && c != '\t') || c == '\x7f') return false;
  }
  return true;
}

void keep_cookies(std::string_view lines) {
  const cookie_jar_limits limits{5, 3, 64};
  cookie_jar jar(limits);
  const url from = url::parse("http://www.example.org/a/b").value();
  bool names_domain = false;
  for (int turn = 0; !lines.empty() && turn < 50; ++turn) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    const std::size_t before = jar.size();
    const bool is_taken = jar.store(from, line, now);
    check(is_taken || jar.size() == before, "what is refused changes nothing");
    check(!is_taken || is_text(line), "a cookie is one line of text");
    names_domain = names_domain || line.find_first_of("dD") != line.npos;
    check(jar.size() <= limits.count_max, "the jar keeps its limit");
  }
  const auto sent_to = [&](std::string_view where) {
    const std::string text = jar.cookies_for(url::parse(where).value(), now);
    check(is_text(text) && text.size() <= limits.count_max * (limits.size_max + 3),
          "what goes back is one line");
    return text;
  };
  sent_to("http://www.example.org/a/b");
  check(sent_to("http://org/a/b").empty(), "no cookie is for a whole suffix");
  check(sent_to("http://other.org/a/b").empty(), "no cookie is for another domain");
  check(sent_to("http://wwww.example.org/a/b").empty() || names_domain,
        "no cookie is for another host unless it names a domain");
  check(jar.cookies_for(from, now + std::chrono::days(400)).size() <=
            jar.cookies_for(from, now).size(),
        "cookies end");
}

void write_cookie(std::string_view name, std::string_view value) {
  std::optional<set_cookie> made;
  try {
    made.emplace(name, value);
  } catch (const std::invalid_argument&) {
    return;
  }
  made->path("/").secure();
  cookie_jar jar;
  const url where = url::parse("https://example.org/").value();
  const std::string text = made->to_string();
  check(jar.store(where, text, now) || text.size() > cookie_jar_limits().size_max,
        "what is written is taken");
  const std::string both = std::string(name) + '=' + std::string(value);
  check(jar.size() == 0 || jar.cookies_for(where, now) == both, "what is written comes back");
}

void read_credentials(std::string_view text) {
  if (const auto read = parse_basic(text)) {
    const auto again = parse_basic(write_basic(*read));
    check(again && again->user == read->user && again->password == read->password,
          "credentials are read as they were written");
  }
  if (const auto token = parse_bearer(text)) {
    check(!token->empty() && is_text(*token), "a token is text");
  }
}

void read_range(std::string_view text, std::uint64_t size) {
  const range_request asked = parse_range(text, size);
  std::uint64_t total = 0;
  for (const byte_range& part : asked.parts) {
    check(part.first <= part.last && part.last < size, "a part is within the whole");
    total += part.size();
  }
  check(total <= size, "parts are together no larger than the whole");
  check((asked.answer == range_answer::parts) == !asked.parts.empty(), "206 has parts");
}

void read_accepted(std::string_view text) {
  const std::vector<std::string_view> offered{"br", "gzip"};
  for (const std::string_view each : offered) {
    const int quality = quality_of_coding(text, each);
    check(quality >= 0 && quality <= 1000, "a weight is one");
  }
  const std::string_view chosen = choose_coding(text, offered);
  check(chosen == "identity" || quality_of_coding(text, chosen) > 0, "the client wants the choice");
}

void read_dates(std::string_view text) {
  for (const auto& read : {parse_date(text, now), detail::parse_cookie_date(text)}) {
    if (!read) continue;
    const std::string written(date_text{*read});
    check(parse_date(written, now) == read, "a date is read as it was written");
  }
}

void read_form(std::string_view text) {
  const auto read = parse_form(text, 20);
  if (!read) return;
  check(read->size() <= 20, "a form keeps its limit");
  check(parse_form(write_form(*read), 20) == read, "a form is read as it was written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 2048;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  const std::size_t kind = from.number(6);
  const std::size_t number = from.byte();
  const std::string text(from.rest());
  const std::string_view view = text;
  if (kind == 0) keep_cookies(view);
  if (kind == 1) write_cookie(view.substr(0, number), view.substr(std::min(number, view.size())));
  if (kind == 2) read_credentials(view);
  if (kind == 3) read_range(view, number * 100);
  if (kind == 4) read_accepted(view);
  if (kind == 5) read_dates(view);
  if (kind == 6) read_form(view);
  media_parameter(view, "boundary");
  has_entity_tag(view, "\"x\"", number % 2 == 0);
  find_cookie(view, "a");
  return 0;
}
