// Forms with files: the answer is the same however the input is cut, limits hold, and what was
// taken is taken again after it was written anew. The first bytes choose the cuts and the limits.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/input.h"
#include <rill/protocols/http/multipart.h>

namespace {

using rill::fuzz::check;
using rill::http::multipart_decoder;
using rill::http::multipart_limits;

constexpr std::string_view boundary = "b";

struct part {
  rill::http::part_head head;
  std::string content;
  bool is_whole = false;
};

struct answer {
  std::vector<part> parts;
  std::string end;
};

/// Cut at every `step`-th byte; 0: not at all.
answer read(std::string_view text, std::size_t step, const multipart_limits& limits) {
  answer made;
  multipart_decoder decoder(boundary, limits);
  std::size_t total = 0;
  for (std::size_t at = 0; at < text.size();) {
    // Memory of its own, so that a look beyond the end is noticed.
    const std::string piece(text.substr(at, step == 0 ? text.size() : step));
    at += piece.size();
    std::string_view rest = piece;
    for (;;) {
      const multipart_decoder::step one = decoder.decode(rest);
      check(one.used <= rest.size(), "no more is used than was given");
      rest.remove_prefix(one.used);
      if (one.what == multipart_decoder::event::part) {
        check(made.parts.empty() || made.parts.back().is_whole, "a part ends before the next");
        made.parts.push_back({decoder.part(), {}, false});
      }
      if (one.what == multipart_decoder::event::content) {
        check(!one.content.empty() && !made.parts.empty(), "content belongs to a part");
        made.parts.back().content += one.content;
        total += one.content.size();
        check(made.parts.back().content.size() <= limits.part_size_max, "a part keeps its limit");
      }
      if (one.what == multipart_decoder::event::part_end) made.parts.back().is_whole = true;
      if (one.what == multipart_decoder::event::failed) {
        made.end = message_of(decoder.error());
        return made;
      }
      if (one.what == multipart_decoder::event::more) break;
    }
    check(rest.empty(), "all is used before more is wanted");
  }
  check(made.parts.size() <= limits.part_count_max, "the number of parts keeps its limit");
  check(total <= text.size(), "content comes from the input");
  made.end = decoder.end() ? "" : message_of(decoder.error());
  return made;
}

void check_same(const answer& left, const answer& right, std::string_view promise) {
  check(left.end == right.end && left.parts.size() == right.parts.size(), promise);
  for (std::size_t i = 0; i < left.parts.size(); ++i) {
    const part& one = left.parts[i];
    const part& other = right.parts[i];
    check(one.head.name == other.head.name && one.head.file_name == other.head.file_name &&
              one.head.type == other.head.type && one.content == other.content &&
              one.is_whole == other.is_whole,
          promise);
  }
}

/// What browsers write for a quotation mark or a line end cannot be told from the same text.
bool is_ambiguous(const std::string& name) {
  for (const std::string_view each : {"%22", "%0D", "%0A", "%0d", "%0a"}) {
    if (name.find(each) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 2048;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  const std::size_t step = 1 + from.number(15);
  const bool is_narrow = from.number(1) != 0;
  multipart_limits limits;
  if (is_narrow) limits = {2, 80, 12, 240};
  const std::string_view text = from.rest();
  const answer whole = read(text, 0, limits);
  check_same(whole, read(text, step, limits), "a form is judged alike however it is cut");
  check_same(whole, read(text, 1, limits), "a form is judged alike byte by byte");
  if (!whole.end.empty()) return 0;

  std::string again;
  for (const part& each : whole.parts) {
    if (is_ambiguous(each.head.name) || is_ambiguous(each.head.file_name.value_or(""))) return 0;
    // A header is longer when it is written in full, and two lines in a name may have come as one.
    again += write_part_head(boundary, each.head) + each.content + "\r\n";
  }
  again += rill::http::write_multipart_end(boundary);
  check_same(whole, read(again, step, multipart_limits()), "a form is read as it was written");
  return 0;
}
