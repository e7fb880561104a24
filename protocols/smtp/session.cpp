// One connection of a server: what may come when, and what it is answered. See session.h.
#include <rill/protocols/smtp/session.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <new>
#include <system_error>

#include <openssl/crypto.h>

#include <rill/net/base64.h>
#include <rill/protocols/smtp/address.h>
#include <rill/protocols/smtp/auth.h>
#include <rill/protocols/smtp/data.h>
#include <rill/runtime/loop.h>

namespace rill::smtp {
namespace {

/// Replies that are collected while commands come pipelined.
constexpr std::size_t replies_size_max = 16 * 1024;
/// What a client that was sent away may still have under way: read and dropped, for closing at once
/// would reset the connection, and the reply would be lost.
constexpr std::chrono::seconds farewell_timeout{2};
constexpr std::size_t farewell_size_max = 1024 * 1024;
/// Of a message that is too large so much more is read, for the sake of an answer at its end.
constexpr std::uint64_t overrun_size_max = std::uint64_t{16} * 1024 * 1024;

std::optional<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (status != std::errc() || rest != end || text.empty() || text.size() > 20) return std::nullopt;
  return value;
}

bool is_upper_equal(std::string_view text, std::string_view upper) {
  return std::equal(text.begin(), text.end(), upper.begin(), upper.end(), [](char c, char of) {
    return (c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c) == of;
  });
}

bool takes_arguments(verb what) {
  return what != verb::data && what != verb::rset && what != verb::quit && what != verb::starttls;
}

bool is_same_secret(const std::string& left, const std::string& right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

class server_session {
 public:
  server_session(std::unique_ptr<detail::transport> carried, std::string address, service& to,
                 const session_options& options)
      : carried_(std::move(carried)), service_(&to), options_(&options) {
    peer_.address = std::move(address);
    peer_.is_secure = carried_->is_secure();
  }

  task<> run();

 private:
  void say(int code, std::string_view text) { say(reply(code, text)); }
  void say(const reply& said) { due_ += said.wire(); }
  /// Of a command at the wrong time, or that is none.
  void mistake(int code, std::string_view text);
  /// The last thing that is said.
  void leave(int code, std::string_view text) {
    say(code, text);
    is_over_ = true;
  }
  task<> flush();
  task<bool> fill(loop_clock::time_point deadline);
  task<std::optional<std::string>> read_line();
  task<> linger();

  task<> execute(const std::string& line);
  void hello(const command& asked);
  task<> mail(std::string_view argument);
  bool check_mail_parameters(const path_argument& sender);
  task<> rcpt(std::string_view argument);
  bool check_rcpt_parameters(const path_argument& recipient);
  task<> data();
  task<> start_tls();
  task<> auth(std::string_view argument);
  task<std::optional<std::string>> challenge(std::string text);
  task<bool> check_login(auth_mechanism mechanism, std::string_view initial, bool& is_cancelled);
  std::optional<std::string> known_password(const std::string& user);
  bool check_password(const std::string& user, const std::string& password);
  template <class Ask>
  task<reply> ask_service(Ask ask);
  void report(const std::exception_ptr& error);

  std::unique_ptr<detail::transport> carried_;
  service* service_;
  const session_options* options_;
  session_peer peer_;
  std::string due_;
  bool is_over_ = false;
  bool is_lost_ = false;
  std::size_t mistake_count_ = 0;
  bool is_extended_ = false;
  bool is_lookup_broken_ = false;
  // Of the message under way.
  std::optional<path_argument> sender_;
  bool is_utf8_ = false;
  std::vector<path_argument> recipients_;
};

// ---------------------------------------------------------------- the wire

task<> server_session::flush() {
  if (due_.empty() || is_lost_) co_return;
  const std::string bytes = std::exchange(due_, std::string());
  const auto deadline = loop_clock::after(loop_clock::now(), options_->command_timeout);
  const auto sent = co_await carried_->write(const_buffer(bytes), deadline);
  if (!sent) is_over_ = is_lost_ = true;
}

/// False: the connection is over.
task<bool> server_session::fill(loop_clock::time_point deadline) {
  const auto came = co_await carried_->fill(deadline);
  if (came && *came != 0) co_return true;
  if (!came && came.error().is_timeout()) {
    leave(421, "4.4.2 too long without a word");
  } else {
    is_over_ = is_lost_ = true;
  }
  co_return false;
}

/// nullopt: the connection is over.
task<std::optional<std::string>> server_session::read_line() {
  auto deadline = loop_clock::after(loop_clock::now(), options_->command_timeout);
  for (;;) {
    const line_step step = take_line(carried_->buffered().text(), options_->line_size_max);
    if (step.state == line_state::complete) {
      std::string line(step.line);
      carried_->consume(step.used);
      if (due_.size() > replies_size_max) co_await flush();
      co_return line;
    }
    if (step.state == line_state::too_long) {
      leave(500, "5.5.2 line too long");
      co_return std::nullopt;
    }
    if (step.state == line_state::bare_break) {
      leave(521, "5.5.2 lines end with CRLF");
      co_return std::nullopt;
    }
    if (!due_.empty()) {
      co_await flush();
      deadline = loop_clock::after(loop_clock::now(), options_->command_timeout);
    }
    if (is_over_) co_return std::nullopt;
    const bool has_come = co_await fill(deadline);
    if (!has_come) co_return std::nullopt;
  }
}

task<> server_session::linger() {
  const auto until = loop_clock::after(loop_clock::now(), farewell_timeout);
  const auto ended = co_await carried_->end_writing(until);
  std::size_t size = 0;
  while (ended && size < farewell_size_max) {
    carried_->consume(carried_->buffered().size());
    const auto came = co_await carried_->fill(until);
    if (!came || *came == 0) co_return;
    size += *came;
  }
}

task<> server_session::run() {
  say(220, options_->name + " ESMTP");
  while (!is_over_) {
    const auto line = co_await read_line();
    if (line) co_await execute(*line);
  }
  co_await flush();
  if (is_lost_) co_return;
  co_await linger();
}

void server_session::mistake(int code, std::string_view text) {
  if (++mistake_count_ > options_->mistake_count_max) {
    leave(421, "4.7.0 too many mistakes");
  } else {
    say(code, text);
  }
}

// ---------------------------------------------------------------- commands

task<> server_session::execute(const std::string& line) {
  const command asked = parse_command(line);
  if (!asked.argument.empty() && !takes_arguments(asked.what)) {
    mistake(501, "5.5.4 no arguments here");  // RFC 5321 section 4.1.1, RFC 3207 section 4
    co_return;
  }
  switch (asked.what) {
    case verb::helo:
    case verb::ehlo:
      hello(asked);
      break;
    case verb::mail:
      co_await mail(asked.argument);
      break;
    case verb::rcpt:
      co_await rcpt(asked.argument);
      break;
    case verb::data:
      co_await data();
      break;
    case verb::rset:
      sender_.reset();
      recipients_.clear();
      say(250, "2.0.0 forgotten");
      break;
    case verb::noop:
      say(250, "2.0.0 here");
      break;
    case verb::quit:
      leave(221, "2.0.0 bye");
      break;
    case verb::vrfy:
      say(252, "2.1.5 send something and see");
      break;
    case verb::help:
      say(214, "2.0.0 see RFC 5321");
      break;
    case verb::starttls:
      co_await start_tls();
      break;
    case verb::auth:
      co_await auth(asked.argument);
      break;
    case verb::expn:
      mistake(502, "5.5.1 not here");
      break;
    case verb::unknown:
      mistake(500, "5.5.2 unknown command");
      break;
  }
}

void server_session::hello(const command& asked) {
  if (asked.argument.empty()) {
    mistake(501, "5.5.4 who is there?");
    return;
  }
  sender_.reset();
  recipients_.clear();
  peer_.hello = asked.argument;
  is_extended_ = asked.what == verb::ehlo;
  if (!is_extended_) {
    say(250, options_->name);
    return;
  }
  std::string text =
      options_->name + "\nENHANCEDSTATUSCODES\nSIZE " + std::to_string(options_->size_max);
  if (options_->offers_pipelining) text += "\nPIPELINING";
  if (options_->offers_8bit) text += "\n8BITMIME";
  if (options_->offers_utf8) text += "\nSMTPUTF8";
  if (options_->offers_dsn) text += "\nDSN";
  if (options_->tls && !peer_.is_secure) text += "\nSTARTTLS";
  const bool may_login = peer_.is_secure || options_->auth_without_tls;
  if (options_->offers_auth && may_login) text += "\nAUTH PLAIN LOGIN CRAM-MD5 XOAUTH2";
  say(250, text);
}

void server_session::report(const std::exception_ptr& error) {
  if (options_->on_error) {
    options_->on_error(peer_, error);
    return;
  }
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "smtp %s: %s\n", peer_.address.c_str(), failure.what());
  } catch (...) {
    std::fprintf(stderr, "smtp %s: unknown exception\n", peer_.address.c_str());
  }
}

/// What the service says, exceptions included.
template <class Ask>
task<reply> server_session::ask_service(Ask ask) {
  std::exception_ptr error;
  bool is_short = false;
  try {
    co_return co_await ask();
  } catch (const std::bad_alloc&) {
    error = std::current_exception();
    is_short = true;
  } catch (const std::system_error& failure) {
    error = std::current_exception();
    is_short = failure.code() == std::errc::no_space_on_device ||
               failure.code() == std::errc::too_many_files_open ||
               failure.code() == std::errc::too_many_files_open_in_system ||
               failure.code() == std::errc::not_enough_memory;
  } catch (...) {
    error = std::current_exception();
  }
  report(error);
  co_return is_short ? reply(452, "4.3.1 short of room") : reply(451, "4.3.0 trouble here");
}

bool server_session::check_mail_parameters(const path_argument& sender) {
  for (const auto& [name, value] : sender.parameters) {
    if (name == "SIZE" && is_extended_) {
      const auto size = to_number(value);
      if (!size) {
        mistake(501, "5.5.4 no such size");
        return false;
      }
      if (*size > options_->size_max) {
        say(552, "5.3.4 the message is too large");
        return false;
      }
      continue;
    }
    const bool is_dsn = options_->offers_dsn && (name == "RET" || name == "ENVID");
    const bool is_body = options_->offers_8bit && name == "BODY" &&
                         (is_upper_equal(value, "7BIT") || is_upper_equal(value, "8BITMIME"));
    const bool is_utf8 = options_->offers_utf8 && name == "SMTPUTF8" && value.empty();
    const bool is_auth = options_->offers_auth && name == "AUTH" && !value.empty();
    if (!is_extended_ || !(is_dsn || is_body || is_utf8 || is_auth)) {
      mistake(555, "5.5.4 unknown parameter");
      return false;
    }
  }
  return true;
}

task<> server_session::mail(std::string_view argument) {
  if (peer_.hello.empty() || sender_) {
    mistake(503, peer_.hello.empty() ? "5.5.1 EHLO first" : "5.5.1 one message at a time");
    co_return;
  }
  if ((options_->requires_tls && !peer_.is_secure) ||
      (options_->requires_auth && peer_.user.empty())) {
    const bool needs_tls = options_->requires_tls && !peer_.is_secure;
    mistake(530, needs_tls ? "5.7.0 STARTTLS first" : "5.7.0 AUTH first");
    co_return;
  }
  const auto sender = parse_path(argument, "FROM", true);
  if (!sender) {
    mistake(501, "5.1.7 malformed sender");
    co_return;
  }
  if (!check_mail_parameters(*sender)) co_return;
  is_utf8_ = sender->find("SMTPUTF8").has_value();
  if (!is_utf8_ && mail::has_high_bytes(sender->address)) {
    say(553, "5.6.7 needs SMTPUTF8");
    co_return;
  }
  const reply said =
      co_await ask_service([&]() -> task<reply> { return service_->begin(peer_, *sender); });
  if (said.is_positive()) sender_ = *sender;
  say(said);
}

bool server_session::check_rcpt_parameters(const path_argument& recipient) {
  for (const auto& [name, value] : recipient.parameters) {
    const bool is_dsn =
        options_->offers_dsn && !value.empty() && (name == "NOTIFY" || name == "ORCPT");
    if (!is_dsn || !is_extended_) {
      mistake(555, "5.5.4 unknown parameter");
      return false;
    }
  }
  return true;
}

task<> server_session::rcpt(std::string_view argument) {
  if (!sender_) {
    mistake(503, "5.5.1 MAIL first");
    co_return;
  }
  const auto recipient = parse_path(argument, "TO", false);
  if (!recipient) {
    mistake(501, "5.1.3 malformed recipient");
    co_return;
  }
  if (!check_rcpt_parameters(*recipient)) co_return;
  if (!is_utf8_ && mail::has_high_bytes(recipient->address)) {
    say(553, "5.6.7 needs SMTPUTF8");
    co_return;
  }
  if (recipients_.size() >= options_->recipient_count_max) {
    say(452, "4.5.3 too many recipients");
    co_return;
  }
  const reply said =
      co_await ask_service([&]() -> task<reply> { return service_->add(peer_, *recipient); });
  if (said.is_positive()) recipients_.push_back(*recipient);
  say(said);
}

task<> server_session::data() {
  if (!sender_ || recipients_.empty()) {
    if (sender_) {
      mistake(554, "5.5.1 no valid recipients");
    } else {
      mistake(503, "5.5.1 MAIL first");
    }
    co_return;
  }
  if (!carried_->buffered().empty()) {
    leave(521, "5.5.0 DATA has not been answered yet");
    co_return;
  }
  say(354, "go on; a dot ends it");
  co_await flush();
  received_mail got(peer_, std::move(*sender_), std::move(recipients_));
  sender_.reset();
  recipients_.clear();
  data_decoder decoder(options_->size_max);
  const auto end = loop_clock::after(loop_clock::now(), options_->message_timeout);
  for (;;) {
    const data_decoder::step step = decoder.decode(carried_->buffered().text(), got.content);
    carried_->consume(step.used);
    if (step.what == data_decoder::state::complete) break;
    if (step.what == data_decoder::state::bare_break) {
      leave(521, "5.5.2 lines end with CRLF");
      co_return;
    }
    if (is_over_) co_return;
    // A read of what has come already meets no deadline, and a flood is never late.
    if (loop_clock::now() >= end) {
      leave(421, "4.4.2 too long for one message");
      co_return;
    }
    if (decoder.is_too_large() && decoder.size() - options_->size_max > overrun_size_max) {
      leave(552, "5.3.4 the message is too large");
      co_return;
    }
    const bool has_come =
        co_await fill(std::min(end, loop_clock::after(loop_clock::now(), options_->block_timeout)));
    if (!has_come) co_return;
  }
  if (decoder.is_too_large()) {
    say(552, "5.3.4 the message is too large");
    co_return;
  }
  say(co_await ask_service([&]() -> task<reply> { return service_->take(std::move(got)); }));
}

// ---------------------------------------------------------------- TLS and AUTH

task<> server_session::start_tls() {
  if (!options_->tls || peer_.is_secure) {
    mistake(502, "5.5.1 no STARTTLS here");
    co_return;
  }
  // Whoever wrote them need not be the one who shakes hands (CVE-2011-0411).
  if (!carried_->buffered().empty()) {
    leave(521, "5.5.0 STARTTLS has not been answered yet");
    co_return;
  }
  say(220, "2.0.0 go on");
  co_await flush();
  if (is_over_) co_return;
  try {
    carried_ = co_await carried_->accept_tls(*options_->tls, options_->handshake_timeout);
  } catch (const io_error&) {
    is_over_ = is_lost_ = true;
    co_return;
  }
  const std::string address = std::move(peer_.address);
  peer_ = session_peer();
  peer_.address = address;
  peer_.is_secure = true;
  is_extended_ = false;
  sender_.reset();
  recipients_.clear();
}

/// nullopt: the client has given up, or its answer is not base64, or it is gone.
task<std::optional<std::string>> server_session::challenge(std::string text) {
  say(334, rill::detail::encode_base64(text));
  const auto line = co_await read_line();
  if (!line || *line == "*") co_return std::nullopt;
  co_return rill::detail::decode_base64(*line);
}

/// As service::password_of, exceptions included: then nobody is known, and auth() says why.
std::optional<std::string> server_session::known_password(const std::string& user) {
  try {
    return service_->password_of(user);
  } catch (...) {
    report(std::current_exception());
    is_lookup_broken_ = true;
    return std::nullopt;
  }
}

bool server_session::check_password(const std::string& user, const std::string& password) {
  const auto known = known_password(user);
  if (!known || user.empty() || !is_same_secret(*known, password)) return false;
  peer_.user = user;
  return true;
}

task<bool> server_session::check_login(auth_mechanism mechanism, std::string_view initial,
                                       bool& is_cancelled) {
  std::optional<std::string> first;
  if (!initial.empty())
    first = initial == "=" ? std::string() : rill::detail::decode_base64(initial);
  if (initial.empty() && mechanism != auth_mechanism::cram_md5) {
    first = co_await challenge(mechanism == auth_mechanism::login ? "Username:" : "");
  }
  if (mechanism == auth_mechanism::cram_md5) {
    std::uint64_t number[2] = {};
    loop::current().kernel().random(std::as_writable_bytes(std::span(number)));
    const std::string text = '<' + std::to_string(number[0]) + '.' + std::to_string(number[1]) +
                             '@' + options_->name + '>';
    const auto answer = co_await challenge(text);
    is_cancelled = !answer.has_value();
    if (!answer) co_return false;
    const std::size_t blank = answer->rfind(' ');
    if (blank == std::string::npos) co_return false;
    const std::string user = answer->substr(0, blank);
    const auto known = known_password(user);
    if (!known || !is_same_secret(hmac_md5(*known, text), answer->substr(blank + 1))) {
      co_return false;
    }
    peer_.user = user;
    co_return true;
  }
  is_cancelled = !first.has_value();
  if (!first) co_return false;
  if (mechanism == auth_mechanism::plain) {
    const std::size_t user_at = first->find('\0');
    const std::size_t secret_at =
        user_at == std::string::npos ? user_at : first->find('\0', user_at + 1);
    if (secret_at == std::string::npos) co_return false;
    const std::string user = first->substr(user_at + 1, secret_at - user_at - 1);
    // Nobody may act as somebody else here (RFC 4616 section 2).
    if (user_at != 0 && first->substr(0, user_at) != user) co_return false;
    co_return check_password(user, first->substr(secret_at + 1));
  }
  if (mechanism == auth_mechanism::login) {
    const auto password = co_await challenge("Password:");
    is_cancelled = !password.has_value();
    if (!password) co_return false;
    co_return check_password(*first, *password);
  }
  // "user=ann\1auth=Bearer TOKEN\1\1"
  const std::string_view text = *first;
  constexpr std::string_view before = "\1auth=Bearer ";
  const std::size_t token_at = text.find(before);
  if (text.starts_with("user=") && text.ends_with("\1\1") && token_at != text.npos) {
    const std::size_t begin = token_at + before.size();
    const std::string user(text.substr(5, token_at - 5));
    if (check_password(user, std::string(text.substr(begin, text.size() - begin - 2)))) {
      co_return true;
    }
  }
  co_await challenge("{\"status\":\"401\"}");  // answered by an empty line
  co_return false;
}

task<> server_session::auth(std::string_view argument) {
  if (!options_->offers_auth || !is_extended_ || !peer_.user.empty() || sender_) {
    mistake(503, "5.5.1 not now");
    co_return;
  }
  if (!peer_.is_secure && !options_->auth_without_tls) {
    mistake(538, "5.7.11 not without TLS");
    co_return;
  }
  const std::string_view name = argument.substr(0, argument.find(' '));
  std::string_view initial = argument.substr(std::min(name.size() + 1, argument.size()));
  initial.remove_prefix(std::min(initial.find_first_not_of(' '), initial.size()));
  const auto mechanism = find_mechanism(name);
  if (!mechanism || (!initial.empty() && (*mechanism == auth_mechanism::cram_md5))) {
    mistake(mechanism ? 501 : 504, "5.5.4 no such way");
    co_return;
  }
  bool is_cancelled = false;
  is_lookup_broken_ = false;
  const bool is_known = co_await check_login(*mechanism, initial, is_cancelled);
  if (is_over_) co_return;
  if (is_known) {
    say(235, "2.7.0 welcome");
  } else if (is_lookup_broken_) {
    say(454, "4.7.0 trouble here");
  } else if (is_cancelled) {
    mistake(501, "5.7.0 given up, or no base64");
  } else {
    mistake(535, "5.7.8 wrong user or password");
  }
}

}  // namespace

// ---------------------------------------------------------------- a service

task<reply> service::begin(const session_peer&, const path_argument&) {
  co_return reply(250, "2.1.0 fine");
}
task<reply> service::add(const session_peer&, const path_argument&) {
  co_return reply(250, "2.1.5 fine");
}
std::optional<std::string> service::password_of(std::string_view) { return std::nullopt; }

task<> detail::serve_session(std::unique_ptr<transport> carried, std::string address, service& to,
                             const session_options& options) {
  server_session one(std::move(carried), std::move(address), to, options);
  co_await one.run();
}

}  // namespace rill::smtp
