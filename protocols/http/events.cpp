// The text of server-sent events. See events.h.
#include <rill/protocols/http/events.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace rill::http {
namespace {

constexpr std::string_view line_ends = "\r\n";

/// One line of a field or a comment, if there is anything to say.
void append_field(std::string& to, std::string_view field, std::string_view value) {
  if (value.find_first_of(std::string_view("\r\n\0", 3)) != value.npos) {
    throw std::invalid_argument("the field " + std::string(field) +
                                " of an event must be one line, without NUL");
  }
  to.append(field).append(": ").append(value).append("\n");
}

}  // namespace

task<void> event_stream::send(std::string_view data, std::string_view name, std::string_view id) {
  std::string text;
  if (!name.empty()) append_field(text, "event", name);
  if (!id.empty()) append_field(text, "id", id);
  for (;;) {
    const std::size_t end = data.find_first_of(line_ends);
    text.append("data: ").append(data.substr(0, end)).append("\n");
    if (end == data.npos) break;
    data.remove_prefix(end + (data.substr(end, 2) == line_ends ? 2 : 1));
  }
  return write(std::move(text) + '\n');
}

task<void> event_stream::send_retry(std::chrono::milliseconds time) {
  return write("retry: " + std::to_string(std::max<std::int64_t>(0, time.count())) + "\n\n");
}

task<void> event_stream::send_comment(std::string_view text) {
  std::string line;
  append_field(line, "", text);
  return write(std::move(line) + '\n');
}

task<void> event_stream::write(std::string text) {
  co_await to_->write(text);
  co_await to_->flush();
}

response event_response(std::function<task<void>(event_stream)> produce) {
  response made = response::stream(
      [produce = std::move(produce)](body_writer& to) { return produce(event_stream(to)); },
      "text/event-stream");
  made.set("Cache-Control", "no-store");
  return made;
}

std::string last_event_id(const request& asked) {
  return std::string(asked.find("Last-Event-ID").value_or(""));
}

}  // namespace rill::http
