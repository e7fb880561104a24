// From a connection to one that is ready for messages: greeting, EHLO, STARTTLS, AUTH. See
// client.h. Read next: client_send.cpp.
#include <rill/protocols/smtp/client.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include <rill/net/connect.h>
#include <rill/protocols/smtp/address.h>
#include <rill/protocols/smtp/conversation.h>

namespace rill::smtp {
namespace {

using detail::conversation;

/// RFC 5321 section 4.5.3.1.4: a command with its end. AUTH takes 12,288 (RFC 4954 section 4), but
/// not every server does in one line.
constexpr std::size_t command_size_max = 512;
/// Challenges of one AUTH: the mechanisms have two.
constexpr unsigned challenge_count_max = 4;

std::string to_upper(std::string_view text) {
  std::string made(text);
  for (char& c : made) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return made;
}

std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

/// "[127.0.0.1]" (RFC 5321 section 4.1.3): there is no name that we know to be ours.
std::string literal_of(const endpoint& local) {
  const auto ip = local.ip();
  if (!ip) return "localhost";
  if (ip->address().is_v4()) return '[' + ip->address().to_string() + ']';
  std::string text = ip->address().to_string();
  return "[IPv6:" + text.substr(0, text.find('%')) + ']';
}

}  // namespace

client_timeouts& client_timeouts::at_most(std::chrono::nanoseconds limit) noexcept {
  for (auto* each :
       {&connect, &handshake, &greeting, &command, &data, &block, &acceptance, &quit}) {
    *each = std::min(*each, limit);
  }
  return *this;
}

extensions::extensions(const reply& hello) {
  for (std::size_t i = 1; i < hello.lines().size(); ++i) {
    std::string line = to_upper(hello.lines()[i]);
    // As servers wrote it before there was an RFC, and still do: "AUTH=LOGIN PLAIN".
    if (line.starts_with("AUTH=")) line[4] = ' ';
    std::string_view rest = line;
    const std::string_view keyword = take_word(rest);
    if (keyword == "STARTTLS") starttls = true;
    if (keyword == "PIPELINING") pipelining = true;
    if (keyword == "8BITMIME") eight_bit = true;
    if (keyword == "SMTPUTF8") utf8 = true;
    if (keyword == "DSN") dsn = true;
    if (keyword == "ENHANCEDSTATUSCODES") enhanced_status = true;
    if (keyword == "SIZE") {
      has_size = true;
      const std::string_view number = take_word(rest);
      std::uint64_t value = 0;
      const auto end = std::from_chars(number.data(), number.data() + number.size(), value);
      if (end.ec == std::errc()) size_max = value;
    }
    if (keyword == "AUTH") {
      for (std::string_view word = take_word(rest); !word.empty(); word = take_word(rest)) {
        const auto found = find_mechanism(word);
        if (found && std::find(mechanisms.begin(), mechanisms.end(), *found) == mechanisms.end()) {
          mechanisms.push_back(*found);
        }
      }
    }
  }
}

// ---------------------------------------------------------------- a client

client::client(std::unique_ptr<conversation> talk, client_options options)
    : talk_(std::move(talk)), options_(std::move(options)) {}
client::client(client&& other) noexcept = default;
client& client::operator=(client&& other) noexcept = default;
client::~client() = default;

bool client::is_open() const noexcept { return talk_ != nullptr && talk_->is_open(); }
bool client::is_secure() const noexcept { return is_open() && talk_->carried().is_secure(); }

task<client> client::connect(std::string host, service to, client_options options) {
  const std::string peer =
      (host.find(':') == std::string::npos ? host : '[' + host + ']') + ':' + to.text();
  connect_options how;
  how.timeout = options.timeouts.connect;
  how.with = options.with;
  std::unique_ptr<detail::transport> made;
  try {
    tcp_stream stream = co_await rill::connect(host, to, how);
    if (options.hello.empty()) options.hello = literal_of(stream.local());
    made = std::make_unique<detail::transport_over<tcp_stream>>(std::move(stream));
  } catch (const io_error& error) {
    throw client_error(client_phase::connect, peer, error.code(), error.what());
  }
  options.with = nullptr;
  co_return co_await open(std::move(made), std::move(host), peer, std::move(options));
}

task<client> client::open(std::unique_ptr<detail::transport> made, std::string host,
                          std::string peer, client_options options) {
  if (options.hello.empty()) options.hello = "localhost";
  if (!mail::is_domain(options.hello)) throw std::invalid_argument("not a name for EHLO");
  // No TLS within TLS, whoever asks for it: a user, or a server that offers it all the same.
  const bool is_secure_already = made->is_secure();
  if (is_secure_already && options.secured == security::implicit) {
    throw std::invalid_argument("the stream is TLS already");
  }
  auto talk = std::make_unique<conversation>(std::move(made), std::move(peer), options.replies,
                                             options.on_trace);
  client opened(std::move(talk), std::move(options));
  const client_options& chosen = opened.options_;
  if (chosen.secured == security::implicit) {
    co_await opened.secure(client_phase::handshake, host);
  }
  const reply greeting =
      co_await opened.talk_->receive(client_phase::greeting, chosen.timeouts.greeting);
  if (greeting.code() != 220) {
    if (greeting.is_temporary() || greeting.is_permanent()) {
      opened.talk_->fail(client_phase::greeting, greeting);
    }
    opened.talk_->fail(client_phase::greeting, smtp_error::unexpected_reply);
  }
  const bool needs_tls = !is_secure_already && chosen.secured == security::starttls;
  co_await opened.say_hello(!needs_tls && !chosen.login.has_value());
  const bool may_have_tls = !is_secure_already && chosen.secured == security::starttls_if_offered &&
                            opened.offers_.starttls;
  if (needs_tls || may_have_tls) co_await opened.start_tls(host);
  if (chosen.login) co_await opened.authenticate();
  co_return opened;
}

/// `may_be_old`: a server that knows HELO only is good enough.
task<> client::say_hello(bool may_be_old) {
  const auto limit = options_.timeouts.command;
  reply said = co_await talk_->ask(client_phase::hello, "EHLO " + options_.hello + "\r\n", limit);
  if (said.is_positive()) {
    offers_ = extensions(said);
    co_return;
  }
  offers_ = extensions();
  if (said.is_permanent() && may_be_old) {
    said = co_await talk_->ask(client_phase::hello, "HELO " + options_.hello + "\r\n", limit);
    if (said.is_positive()) co_return;
  }
  if (said.is_intermediate()) talk_->fail(client_phase::hello, smtp_error::unexpected_reply);
  talk_->fail(client_phase::hello, said);
}

task<> client::secure(client_phase phase, const std::string& host) {
  try {
    if (!options_.context) options_.context.emplace(options_.tls);
    auto secured =
        co_await talk_->carried().connect_tls(*options_.context, host, options_.timeouts.handshake);
    talk_->replace(std::move(secured));
  } catch (const io_error& error) {
    talk_->fail(phase, error.code(), error.what());
  }
  talk_->note(trace_event::note, "TLS with " + host);
}

task<> client::start_tls(const std::string& host) {
  if (!offers_.starttls) talk_->fail(client_phase::starttls, smtp_error::starttls_not_offered);
  const reply said =
      co_await talk_->ask(client_phase::starttls, "STARTTLS\r\n", options_.timeouts.command);
  if (said.code() != 220) {
    if (said.is_temporary() || said.is_permanent()) talk_->fail(client_phase::starttls, said);
    talk_->fail(client_phase::starttls, smtp_error::unexpected_reply);
  }
  if (talk_->has_unread()) talk_->fail(client_phase::starttls, smtp_error::bytes_before_tls);
  offers_ = extensions();
  co_await secure(client_phase::handshake, host);
  co_await say_hello(!options_.login.has_value());
}

task<> client::authenticate() {
  constexpr client_phase phase = client_phase::auth;
  const credentials& who = *options_.login;
  if (!is_secure() && !options_.login_without_tls) talk_->fail(phase, smtp_error::auth_needs_tls);
  std::optional<auth_mechanism> chosen;
  for (const auth_mechanism each :
       {auth_mechanism::plain, auth_mechanism::login, auth_mechanism::cram_md5}) {
    const bool is_offered = std::find(offers_.mechanisms.begin(), offers_.mechanisms.end(), each) !=
                            offers_.mechanisms.end();
    // Where everybody listens, the one that does not show the password.
    const bool is_better = !chosen || (!is_secure() && each == auth_mechanism::cram_md5);
    if (is_offered && is_better) chosen = each;
  }
  if (who.mechanism()) chosen = who.mechanism();
  const bool is_offered = chosen && std::find(offers_.mechanisms.begin(), offers_.mechanisms.end(),
                                              *chosen) != offers_.mechanisms.end();
  if (!is_offered) talk_->fail(phase, smtp_error::no_mechanism);

  auth_exchange exchange(*chosen, who);
  std::string line = "AUTH " + std::string(name_of(*chosen));
  const std::string shown = line + " ****";
  const std::optional<std::string> initial = exchange.initial();
  const bool fits = initial && line.size() + initial->size() + 3 <= command_size_max;
  if (fits) line += ' ' + *initial;
  const auto limit = options_.timeouts.command;
  reply said = co_await talk_->ask(phase, line + "\r\n", limit, shown);
  if (fits && said.code() == 334) (void)exchange.answer("sent");
  for (unsigned count = 0; said.code() == 334 && count < challenge_count_max; ++count) {
    auto answer = exchange.answer(said.lines().front());
    if (!answer) talk_->fail(phase, smtp_error::bad_challenge);
    said = co_await talk_->ask(phase, *answer + "\r\n", limit, "****");
  }
  if (said.is_positive()) co_return;
  if (said.is_temporary() || said.is_permanent()) talk_->fail(phase, said);
  talk_->fail(phase, smtp_error::unexpected_reply);
}

// ---------------------------------------------------------------- small commands

void client::require_open() const {
  if (!is_open()) throw std::logic_error("the connection is closed");
}

task<> client::reset() {
  require_open();
  detail::step_guard guard(*talk_);
  const reply said =
      co_await talk_->ask(client_phase::reset, "RSET\r\n", options_.timeouts.command);
  if (!said.is_positive()) talk_->fail(client_phase::reset, said);
  needs_reset_ = false;
  guard.done();
}

task<> client::quit() {
  if (!is_open()) co_return;
  const detail::step_guard guard(*talk_);
  if (talk_->has_unread()) co_return;
  talk_->note(trace_event::sent, "QUIT");
  const auto sent = co_await talk_->write("QUIT\r\n", options_.timeouts.quit);
  if (!sent) co_return;
  const auto said = co_await talk_->receive_as_result(options_.timeouts.quit);
  if (said) co_await talk_->carried().close();
}

}  // namespace rill::smtp
