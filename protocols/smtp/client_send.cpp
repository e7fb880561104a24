// One message on a connection: MAIL, RCPT, DATA, the message, the answer. See client.h.
//
// The moment that decides is the one before the message's end is written: until then nothing can
// have been accepted, and a lost connection is an error; from then on it is an unknown outcome.
#include <algorithm>
#include <stdexcept>

#include <rill/protocols/smtp/client.h>
#include <rill/protocols/smtp/command.h>
#include <rill/protocols/smtp/conversation.h>
#include <rill/protocols/smtp/data.h>
#include <rill/protocols/smtp/message.h>

namespace rill::smtp {
namespace {

/// Bytes of the message in one write.
constexpr std::size_t block_size = 64 * 1024;
/// Commands sent before their replies are read: what is due of both fits into what two kernels
/// buffer, so that nobody waits for the other (RFC 2920 section 3.1).
constexpr std::size_t pipelined_count_max = 50;
/// A server that has closed while it was sent a message may have said why.
constexpr std::chrono::seconds last_words_limit{5};

std::string notify_text(notify tell) {
  constexpr std::pair<notify, const char*> words[] = {{notify::never, "NEVER"},
                                                      {notify::success, "SUCCESS"},
                                                      {notify::failure, "FAILURE"},
                                                      {notify::delay, "DELAY"}};
  std::string text;
  for (const auto& [bit, word] : words) {
    if ((static_cast<unsigned>(tell) & static_cast<unsigned>(bit)) == 0) continue;
    if (!text.empty()) text += ',';
    text += word;
    if (bit == notify::never) break;  // stands alone
  }
  return text;
}

}  // namespace

struct client::transaction {
  const envelope* to;
  std::string mail;  // the command
  std::vector<recipient_outcome> each;
  /// Why not, once that is known.
  bool is_decided = false;
  outcome what = outcome::refused;
  reply answer;
  std::string reason;
  bool is_temporary = false;

  void refuse(const reply& said) {
    is_decided = true;
    answer = said;
    reason = said.to_string();
    is_temporary = said.is_temporary();
    // Those that were refused keep their own words.
    for (recipient_outcome& one : each) {
      if (one.what == outcome::unknown) one.answer = said;
      one.what = outcome::refused;
    }
  }
  void refuse(std::string why) {
    is_decided = true;
    reason = std::move(why);
    for (recipient_outcome& one : each) one.what = outcome::refused;
  }
  std::size_t accepted_count() const {
    return static_cast<std::size_t>(std::count_if(
        each.begin(), each.end(), [](const auto& one) { return one.what != outcome::refused; }));
  }
};

namespace {

/// MAIL with what the server can make use of; or why it cannot take the message.
std::string mail_command(const envelope& to, const content_source& what, const extensions& offers,
                         std::string& why_not) {
  std::string line = "MAIL FROM:<" + to.from() + '>';
  const auto size = what.size();
  if (size && offers.size_max != 0 && *size > offers.size_max) {
    why_not = "the message has " + std::to_string(*size) + " bytes, and the server takes " +
              std::to_string(offers.size_max);
  }
  if (what.has_high_bytes()) {
    if (!offers.eight_bit) why_not = "the message has 8-bit bytes, and the server no 8BITMIME";
    line += " BODY=8BITMIME";
  }
  if (to.needs_utf8() || what.needs_utf8()) {
    if (!offers.utf8) why_not = "an address has UTF-8 in it, and the server no SMTPUTF8";
    line += " SMTPUTF8";
  }
  if (size && offers.has_size) line += " SIZE=" + std::to_string(*size);
  if (offers.dsn && !to.returned().empty()) line += " RET=" + to.returned();
  if (offers.dsn && !to.id().empty()) line += " ENVID=" + to_xtext(to.id());
  return line + "\r\n";
}

std::string rcpt_command(const recipient& one, const extensions& offers) {
  std::string line = "RCPT TO:<" + one.address + '>';
  if (offers.dsn && one.tell != notify::standard) line += " NOTIFY=" + notify_text(one.tell);
  return line + "\r\n";
}

}  // namespace

/// 421 is the server's farewell (RFC 5321 section 3.8): nothing follows it.
static bool is_farewell(const reply& said) { return said.code() == 421; }

task<> client::offer(transaction& of) {
  const auto limit = options_.timeouts.command;
  if (needs_reset_) {
    const reply said = co_await talk_->ask(client_phase::reset, "RSET\r\n", limit);
    if (is_farewell(said)) {
      talk_->drop();
      of.refuse(said);
      co_return;
    }
    if (!said.is_positive()) talk_->fail(client_phase::reset, said);
    needs_reset_ = false;
  }
  if (!offers_.pipelining) {
    const reply said = co_await talk_->ask(client_phase::mail, of.mail, limit);
    if (said.is_intermediate()) talk_->fail(client_phase::mail, smtp_error::unexpected_reply);
    if (!said.is_positive()) {
      if (is_farewell(said)) talk_->drop();
      of.refuse(said);
      co_return;
    }
    of.mail.clear();
  }
  needs_reset_ = true;
  co_await offer_recipients(of);
}

/// RCPT for each, after MAIL if that was not sent yet.
task<> client::offer_recipients(transaction& of) {
  const auto limit = options_.timeouts.command;
  const std::size_t step = offers_.pipelining ? pipelined_count_max : 1;
  std::optional<reply> mail_refusal;
  for (std::size_t first = 0; first < of.each.size(); first += step) {
    const std::size_t end = std::min(first + step, of.each.size());
    const bool has_mail = !of.mail.empty();
    std::string lines = std::exchange(of.mail, std::string());
    for (std::size_t i = first; i < end; ++i) lines += rcpt_command(of.to->to()[i], offers_);
    co_await talk_->send(has_mail ? client_phase::mail : client_phase::rcpt, std::move(lines),
                         limit);
    if (has_mail) {
      const reply said = co_await talk_->receive(client_phase::mail, limit);
      if (said.is_intermediate()) talk_->fail(client_phase::mail, smtp_error::unexpected_reply);
      if (is_farewell(said)) {
        talk_->drop();
        of.refuse(said);
        co_return;
      }
      if (!said.is_positive()) mail_refusal = said;
    }
    for (std::size_t i = first; i < end; ++i) {
      const reply said = co_await talk_->receive(client_phase::rcpt, limit);
      if (said.is_intermediate()) talk_->fail(client_phase::rcpt, smtp_error::unexpected_reply);
      if (is_farewell(said)) {
        talk_->drop();
        of.refuse(mail_refusal.value_or(said));
        co_return;
      }
      if (!mail_refusal && !said.is_positive()) {
        of.each[i].what = outcome::refused;
        of.each[i].answer = said;
      }
    }
    if (mail_refusal) {
      of.refuse(*mail_refusal);
      co_return;
    }
  }
  if (of.accepted_count() != 0) co_return;
  // Nobody is left. Worth another attempt if one of them is.
  const auto deciding = std::find_if(of.each.begin(), of.each.end(),
                                     [](const auto& one) { return one.answer.is_temporary(); });
  of.refuse(reply(deciding != of.each.end() ? deciding->answer : of.each.front().answer));
}

/// The message's beginning could not be sent: perhaps because the server has had enough of it.
task<> client::learn_refusal(transaction& of, client_phase phase, const error& failure) {
  if (!failure.is_timeout()) {
    const auto said = co_await talk_->receive_as_result(last_words_limit);
    if (said && (said->is_temporary() || said->is_permanent())) {
      talk_->drop();
      of.refuse(*said);
      co_return;
    }
  }
  talk_->fail(phase, failure);
}

task<> client::transfer(transaction& of, content_source& what) {
  const reply said = co_await talk_->ask(client_phase::data, "DATA\r\n", options_.timeouts.data);
  if (said.code() != 354) {
    if (!said.is_temporary() && !said.is_permanent()) {
      talk_->fail(client_phase::data, smtp_error::unexpected_reply);
    }
    if (is_farewell(said)) talk_->drop();
    of.refuse(said);
    co_return;
  }
  data_encoder encoder;
  std::string block;
  std::uint64_t size = 0;
  for (;;) {
    const std::string_view piece = co_await what.read_some();
    if (piece.empty()) break;
    // A piece may be a whole message: it goes out block by block all the same.
    for (std::size_t at = 0; at < piece.size(); at += block_size) {
      encoder.encode(piece.substr(at, block_size), block);
      if (encoder.error()) talk_->fail(client_phase::content, make_error_code(*encoder.error()));
      if (block.size() < block_size) continue;
      if (talk_->has_unread()) talk_->fail(client_phase::content, smtp_error::unasked_reply);
      const auto sent = co_await talk_->write(block, options_.timeouts.block);
      if (!sent) {
        co_await learn_refusal(of, client_phase::content, sent.error());
        co_return;
      }
      size += block.size();
      block.clear();
    }
  }
  if (encoder.has_high_bytes() && !what.has_high_bytes()) {
    talk_->fail(client_phase::content, smtp_error::bad_content);
  }
  if (talk_->has_unread()) talk_->fail(client_phase::content, smtp_error::unasked_reply);
  encoder.finish(block);
  talk_->note(trace_event::note, std::to_string(size + block.size()) + " bytes of message");
  of.what = outcome::unknown;  // from here on the server may have all of it
  const auto sent = co_await talk_->write(block, options_.timeouts.block);
  if (!sent) of.reason = sent.error().is_timeout() ? "timed out" : sent.error().code().message();
}

/// The answer to the whole message.
task<> client::finish(transaction& of) {
  const bool was_sent = of.reason.empty();
  const auto said = co_await talk_->receive_as_result(
      was_sent ? options_.timeouts.acceptance : std::chrono::nanoseconds(last_words_limit));
  if (said && (said->is_temporary() || said->is_permanent())) {
    // A server that refuses has not taken it, whatever else happened to the connection.
    of.what = outcome::refused;
    of.refuse(*said);
    if (!was_sent || is_farewell(*said)) talk_->drop();
    co_return;
  }
  of.is_decided = true;
  if (said && said->is_positive() && was_sent) {
    of.what = outcome::accepted;
    of.answer = *said;
    of.reason = said->to_string();
    needs_reset_ = false;
  } else {
    if (said && was_sent) {
      of.answer = *said;
      of.reason = "unexpected reply: " + said->to_string();
    } else if (was_sent) {
      of.reason = said.error().is_timeout() ? "no answer in time" : said.error().code().message();
    }
    of.reason = "the message was sent, and may have been accepted or not: " + of.reason;
    talk_->drop();
  }
  for (recipient_outcome& one : of.each) {
    if (one.what == outcome::refused) continue;
    one.what = of.what;
    one.answer = of.answer;
  }
}

task<delivery> client::send(const envelope& to, content_source& what) {
  require_open();
  if (to.to().empty()) throw std::invalid_argument("a message without recipients");
  transaction of{&to, {}, {}, false, outcome::refused, {}, {}, false};
  for (const recipient& one : to.to()) of.each.emplace_back(one.address, outcome::unknown);
  std::string why_not;
  of.mail = mail_command(to, what, offers_, why_not);
  if (!why_not.empty()) {
    of.refuse(why_not);
  } else {
    detail::step_guard guard(*talk_);
    co_await offer(of);
    if (!of.is_decided) co_await transfer(of, what);
    if (!of.is_decided) co_await finish(of);
    guard.done();
  }
  delivery made(of.what, std::move(of.answer), std::move(of.reason), std::move(of.each));
  made.temporary(of.is_temporary);
  co_return made;
}

task<delivery> client::send(const envelope& to, std::string_view text) {
  text_content content(text);
  co_return co_await send(to, content);
}

task<delivery> client::send(const mail::message& letter) {
  const envelope to = letter.envelope();
  const std::unique_ptr<content_source> content = co_await letter.open();
  co_return co_await send(to, *content);
}

}  // namespace rill::smtp
