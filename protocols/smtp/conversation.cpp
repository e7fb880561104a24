// See conversation.h.
#include <rill/protocols/smtp/conversation.h>

#include <utility>

#include <rill/net/printable.h>

namespace rill::smtp::detail {

void conversation::note(trace_event what, std::string_view text) const {
  if (!on_trace_) return;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find("\r\n"), text.size());
    on_trace_(what, printable(text.substr(0, end)));
    text.remove_prefix(std::min(end + 2, text.size()));
  }
}

void conversation::fail(client_phase phase, std::error_code code, std::string_view detail) {
  drop();
  throw client_error(phase, server_, code, detail);
}

void conversation::fail(client_phase phase, const error& cause) {
  fail(phase, cause.code(), cause.is_timeout() ? "timed out" : "");
}

void conversation::fail(client_phase phase, const reply& said) {
  drop();
  throw client_error(phase, server_, said);
}

task<result<std::size_t>> conversation::write(std::string_view bytes,
                                              std::chrono::nanoseconds limit) {
  return carried_->write(const_buffer(bytes), loop_clock::after(loop_clock::now(), limit));
}

task<> conversation::send(client_phase phase, std::string lines, std::chrono::nanoseconds limit,
                          std::string_view shown) {
  if (has_unread()) fail(phase, smtp_error::unasked_reply);
  note(trace_event::sent, shown.empty() ? std::string_view(lines) : shown);
  const auto sent = co_await write(lines, limit);
  // A server that has closed may have said why before: 421, for instance.
  if (!sent && sent.error().is_timeout()) fail(phase, sent.error());
}

task<tl::expected<reply, error>> conversation::receive_as_result(std::chrono::nanoseconds limit) {
  const auto deadline = loop_clock::after(loop_clock::now(), limit);
  for (;;) {
    const reply_parser::step step = parser_.parse(carried_->buffered().text());
    carried_->consume(step.used);
    if (step.state == parse_state::complete) {
      note(trace_event::received, parser_.value().wire());
      co_return parser_.value();
    }
    if (step.state == parse_state::failed) {
      co_return tl::unexpected(error(make_error_code(parser_.error()), "read"));
    }
    const auto came = co_await carried_->fill(deadline);
    if (!came) co_return tl::unexpected(came.error());
    if (*came == 0) co_return tl::unexpected(error(make_error_code(smtp_error::ended), "read"));
  }
}

task<reply> conversation::receive(client_phase phase, std::chrono::nanoseconds limit) {
  const auto got = co_await receive_as_result(limit);
  if (!got) fail(phase, got.error());
  co_return *got;
}

task<reply> conversation::ask(client_phase phase, std::string line, std::chrono::nanoseconds limit,
                              std::string_view shown) {
  co_await send(phase, std::move(line), limit, shown);
  co_return co_await receive(phase, limit);
}

}  // namespace rill::smtp::detail
