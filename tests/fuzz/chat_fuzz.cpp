// What clients of a chat send, and what lies in its history: lines are the same however they are
// cut, nothing that a terminal obeys comes out, and a record is what was written.
// The first byte chooses which, the second how the rest is cut.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/input.h"
#include <rill/protocols/chat/command.h>
#include <rill/protocols/chat/event.h>
#include <rill/protocols/chat/line_codec.h>
#include <rill/protocols/chat/log_codec.h>
#include <rill/protocols/chat/text.h>

namespace {

using namespace rill::chat;
using rill::fuzz::check;

constexpr line_limits limits{.line_size_max = 40, .endless_size_max = 100};

using lines = std::vector<std::pair<line_kind, std::string>>;

/// Cut at every `step`-th byte; 0: not at all.
lines read(std::string_view text, std::size_t step) {
  lines made;
  line_reader reader;
  while (!text.empty()) {
    // Memory of its own, so that a look beyond the end is noticed.
    const std::string piece(text.substr(0, step == 0 ? text.size() : step));
    text.remove_prefix(piece.size());
    std::string_view rest = piece;
    while (!rest.empty()) {
      const std::optional<line> next = reader.next(rest, limits);
      if (!next) continue;
      made.emplace_back(next->kind, std::string(next->text));
      if (next->kind == line_kind::endless) return made;
      check(next->text.size() <= limits.line_size_max, "a line keeps its limit");
    }
    check(reader.held_size() <= limits.line_size_max + 2, "what is held keeps its limit");
  }
  return made;
}

void check_harmless(std::string_view text, bool is_one_line) {
  for (std::string_view rest = text; !rest.empty();) {
    const character next = first_character(rest);
    check(next.is_valid, "what is shown is UTF-8");
    const bool is_end = next.value == U'\n' && !is_one_line;
    check(is_end || !is_harmful(next.value), "no terminal obeys it");
    rest.remove_prefix(next.size);
  }
}

void try_lines(std::string_view text, std::size_t step) {
  const lines whole = read(text, 0);
  check(read(text, step) == whole, "the same however it is cut");
  for (const auto& [kind, each] : whole) {
    if (kind != line_kind::text) continue;
    const command said = parse_command(each);
    std::string shown;
    append_harmless(shown, said.text);
    check_harmless(shown, true);
    if (check_name(said.name) == name_fault::none) check_harmless(said.name, true);
  }
  nickname_reader first;
  nickname_reader second;
  std::string_view all = text;
  const nickname_reader::status status = first.take(all);
  auto other = nickname_reader::status::incomplete;
  std::size_t used = 0;
  while (other == nickname_reader::status::incomplete && used != text.size()) {
    std::string_view piece = text.substr(used, step == 0 ? 1 : step);
    const std::size_t size = piece.size();
    other = second.take(piece);
    used += size - piece.size();
  }
  check(status == other, "a nickname ends where it ends");
  const bool is_whole = status != nickname_reader::status::too_long;
  check(!is_whole || first.text() == second.text(), "and is the same");
}

void try_forms(std::string_view text) {
  event of;
  of.who = share("mallory");
  of.is_raw = true;
  of.text = text;
  const std::string shown = line_form(of);
  check_harmless(shown, false);
  check(shown.empty() || shown.back() == '\n', "lines end");
  for (std::string_view rest = shown; !rest.empty();) {
    check(rest.starts_with("mallory: "), "every line says whose it is");
    rest.remove_prefix(rest.find('\n') + 1);
  }
  check(raw_form(of) == text, "raw clients get what was sent");
}

void try_records(std::string_view bytes) {
  std::string written;
  log_record record;
  std::size_t size = 0;
  std::string_view rest = bytes;
  while (read_record(rest, record, size) == record_status::good) {
    check(size <= rest.size(), "a record lies within the bytes");
    written.clear();
    record.said.who = share(record.who);
    if (record.kind == record_kind::header) append_header(written, record.generation);
    if (record.kind == record_kind::said) append_said(written, record.room, record.said);
    if (record.kind == record_kind::whole) append_whole(written);
    const bool is_flag = record.kind == record_kind::said;  // any byte but 0 reads as raw
    check(is_flag ? written.size() == size : written == rest.substr(0, size),
          "what was read is written as it was");
    rest.remove_prefix(size);
  }
  // Most inputs are no records, so one is made of them.
  event of;
  of.id = 1 + bytes.size();
  of.who = share(bytes.substr(0, std::min<std::size_t>(bytes.size(), 20)));
  of.text = bytes;
  written.clear();
  append_said(written, "room", of);
  constexpr std::size_t frame_size = 8;
  const bool fits = written.size() - frame_size <= record_size_max;
  const bool is_read = read_record(written, record, size) == record_status::good;
  check(is_read == fits, "what was written is read");
  if (is_read) check(record.said.text == of.text && record.who == *of.who, "and is the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  switch (data[0] % 3) {
    case 0:
      try_lines(text, data[1] % 8);
      break;
    case 1:
      try_forms(text);
      break;
    default:
      try_records(text);
      break;
  }
  return 0;
}
