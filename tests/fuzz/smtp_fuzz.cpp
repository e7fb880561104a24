// SMTP in both directions: replies, commands and messages are judged alike however they are cut,
// limits hold, what was written is read again, and no message can end twice. The first bytes choose
// which of them, the cuts and the limits.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/input.h"
#include <rill/protocols/smtp/address.h>
#include <rill/protocols/smtp/command.h>
#include <rill/protocols/smtp/data.h>
#include <rill/protocols/smtp/reply.h>

namespace {

using rill::fuzz::check;
namespace smtp = rill::smtp;

struct replies {
  std::vector<std::string> wires;
  std::string end;
  friend bool operator==(const replies&, const replies&) = default;
};

replies read_replies(std::string_view text, std::size_t step, const smtp::reply_limits& limits) {
  replies made;
  smtp::reply_parser parser(limits);
  std::string buffer;
  for (std::size_t at = 0; at < text.size(); at += step) {
    buffer += text.substr(at, step);
    for (;;) {
      const auto got = parser.parse(std::string(buffer));
      check(got.used <= buffer.size(), "no more is used than was given");
      buffer.erase(0, got.used);
      if (got.state == smtp::parse_state::failed) {
        made.end = make_error_code(parser.error()).message();
        return made;
      }
      if (got.state == smtp::parse_state::incomplete) break;
      const smtp::reply& one = parser.value();
      check(one.code() >= 200 && one.code() <= 599, "a code is one of those that there are");
      check(one.lines().size() <= limits.line_count_max, "a reply keeps its limit");
      made.wires.push_back(one.wire());
    }
    check(buffer.size() <= limits.line_size_max + 1, "what is kept is less than a line");
  }
  return made;
}

void try_replies(std::string_view text, std::size_t step) {
  const smtp::reply_limits limits{40, 3};
  const replies whole = read_replies(text, text.size() + 1, limits);
  check(read_replies(text, step, limits) == whole, "replies are judged alike however they are cut");
  std::string again;
  for (const std::string& each : whole.wires) again += each;
  const replies second = read_replies(again, step, {80, 3});
  check(second.wires == whole.wires && second.end.empty(), "replies are read as they were written");
  const smtp::reply made(250, text);
  smtp::reply_parser parser({text.size() + 10, text.size() + 10});
  const std::string wire = made.wire();
  const auto got = parser.parse(wire);
  check(got.state == smtp::parse_state::complete && got.used == wire.size(),
        "whatever its text, a reply is one reply");
}

void try_commands(std::string_view text, std::size_t step) {
  constexpr std::size_t size_max = 60;
  std::string buffer;
  std::size_t taken = 0;
  for (std::size_t at = 0; at <= text.size(); at += step) {
    buffer = text.substr(taken, at + step - taken);
    const auto now = smtp::take_line(buffer, size_max);
    const auto whole = smtp::take_line(text.substr(taken), size_max);
    if (now.state != smtp::line_state::incomplete) {
      check(now.state == whole.state && now.used == whole.used, "a line is judged alike");
    }
    if (now.state != smtp::line_state::complete) continue;
    check(now.line.size() <= size_max && now.line.find_first_of("\r\n") == now.line.npos,
          "a line is a line within its limit");
    taken += now.used;
    const smtp::command asked = smtp::parse_command(now.line);
    for (const bool is_mail : {true, false}) {
      const auto path = smtp::parse_path(asked.argument, is_mail ? "FROM" : "TO", is_mail);
      if (!path) continue;
      check(path->address.empty() ? is_mail : rill::mail::is_address(path->address) || !is_mail,
            "a path is an address");
      std::string again = (is_mail ? "FROM:<" : "TO:<") + path->address + '>';
      for (const auto& [name, value] : path->parameters) {
        again += ' ' + name + (value.empty() ? "" : '=' + value);
      }
      const auto second = smtp::parse_path(again, is_mail ? "FROM" : "TO", is_mail);
      check(second && second->address == path->address && second->parameters == path->parameters,
            "a path is read as it was written");
    }
  }
  check(smtp::from_xtext(smtp::to_xtext(text)) == std::string(text), "xtext comes back");
}

/// As a reader that knows nothing of cuts has it.
std::string with_crlf(std::string_view text) {
  std::string made;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r' && text[i] != '\n') {
      made += text[i];
      continue;
    }
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') ++i;
    made += "\r\n";
  }
  if (!made.empty() && !made.ends_with("\r\n")) made += "\r\n";
  return made;
}

void try_message(std::string_view text, std::size_t step) {
  smtp::data_encoder encoder;
  std::string sent;
  for (std::size_t at = 0; at < text.size(); at += step)
    encoder.encode(text.substr(at, step), sent);
  if (!encoder.error()) {
    encoder.finish(sent);
    const std::string_view all = sent;
    check(all == ".\r\n" || all.find("\r\n.\r\n") == all.size() - 5, "a message ends once");
    for (std::size_t i = 0; i < all.size(); ++i) {
      check((all[i] == '\n') == (i != 0 && all[i - 1] == '\r'), "lines end with CRLF");
    }
    smtp::data_decoder decoder(UINT64_MAX);
    std::string content;
    const auto got = decoder.decode(all, content);
    check(got.what == smtp::data_decoder::state::complete && got.used == all.size() &&
              content == with_crlf(text),
          "a message comes as it was sent");
  }
  std::string contents[2];
  smtp::data_decoder::step ends[2]{};
  for (const std::size_t index : {0, 1}) {
    smtp::data_decoder decoder(20);
    const std::size_t size = index == 0 ? text.size() + 1 : step;
    for (std::size_t at = 0; at < text.size(); at += size) {
      ends[index] = decoder.decode(std::string(text.substr(at, size)), contents[index]);
      ends[index].used += at;
      if (ends[index].what != smtp::data_decoder::state::more) break;
    }
    check(contents[index].size() <= 20, "a message keeps its limit");
  }
  if (step != text.size() + 1) {
    check(
        contents[0] == contents[1] && ends[0].used == ends[1].used && ends[0].what == ends[1].what,
        "a message is judged alike however it is cut");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 2048;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  const std::size_t kind = from.number(2);
  const std::size_t step = 1 + from.number(15);
  const std::string_view text = from.rest();
  if (kind == 0) try_replies(text, step);
  if (kind == 1) try_commands(text, step);
  if (kind == 2) try_message(text, step);
  return 0;
}
