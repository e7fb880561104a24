// Sends a message by way of a mail server: TLS is required unless told otherwise, the password
// stays off the command line. Ends with 0 if the server has taken it for everybody, 75 if the same
// may succeed later (sysexits.h), else 1.
//
//   RILL_PASSWORD=... build/release/bin/send_mail --server mail.example.org:587 --user ann
//     --from ann@example.org --to bob@example.org --subject Hello --body "How are you?"
//     --attach picture.png
//   build/release/bin/send_mail --server localhost:1025 --starttls never ...   to mail_sink
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "program.h"
#include <rill/protocols/smtp/client.h>
#include <rill/protocols/smtp/message.h>
#include <rill/runtime/run.h>
#include <rill/runtime/sleep.h>

namespace {

namespace smtp = rill::smtp;

constexpr int code_failed = 1;
constexpr int code_temporary = 75;  // EX_TEMPFAIL

struct options {
  std::string server;
  std::string starttls = "required";
  bool tls = false;
  std::string user;
  std::string password_file;
  std::string from;
  std::vector<std::string> to;
  std::vector<std::string> cc;
  std::vector<std::string> bcc;
  std::string subject;
  std::string body;
  std::string body_file;
  std::string html;
  std::vector<std::string> attach;
  std::string authorities;
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  unsigned retry_count = 0;
  bool verbose = false;
  std::string kernel = "auto";
};

struct place {
  std::string host;
  std::string port;
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// "host", "host:25", "[::1]:25".
place parse_server(const options& chosen) {
  const std::string& text = chosen.server;
  const std::size_t bracket = text.starts_with('[') ? text.find(']') : 0;
  const std::size_t colon = bracket == text.npos ? bracket : text.find(':', bracket);
  place made{text.substr(0, colon), chosen.tls ? "465" : "587"};
  if (colon != text.npos) made.port = text.substr(colon + 1);
  if (made.host.starts_with('[')) made.host = made.host.substr(1, made.host.size() - 2);
  return made;
}

smtp::client_options make_client_options(const options& chosen) {
  smtp::client_options made;
  made.secured = chosen.tls                        ? smtp::security::implicit
                 : chosen.starttls == "never"      ? smtp::security::none
                 : chosen.starttls == "if-offered" ? smtp::security::starttls_if_offered
                                                   : smtp::security::starttls;
  if (!chosen.user.empty()) {
    std::string password;
    if (!chosen.password_file.empty()) {
      password = read_file(chosen.password_file);
      password.erase(password.find_last_not_of("\r\n") + 1);
    } else if (const char* const variable = std::getenv("RILL_PASSWORD")) {
      password = variable;
    } else {
      throw std::runtime_error("--user needs --password-file or RILL_PASSWORD");
    }
    made.login.emplace(chosen.user, password);
  }
  if (!chosen.authorities.empty()) {
    made.tls.authorities_pem = read_file(chosen.authorities);
    made.tls.system_authorities = false;
  }
  made.timeouts.at_most(chosen.timeout);
  if (chosen.verbose) {
    made.on_trace = [](smtp::trace_event what, std::string_view line) {
      const char* const mark = what == smtp::trace_event::sent       ? "> "
                               : what == smtp::trace_event::received ? "< "
                                                                     : "* ";
      std::fprintf(stderr, "%s%.*s\n", mark, static_cast<int>(line.size()), line.data());
    };
  }
  return made;
}

rill::mail::message make_message(const options& chosen) {
  rill::mail::message letter;
  letter.from(chosen.from).subject(chosen.subject);
  for (const std::string& each : chosen.to) letter.to(each);
  for (const std::string& each : chosen.cc) letter.cc(each);
  for (const std::string& each : chosen.bcc) letter.bcc(each);
  if (!chosen.body_file.empty()) {
    letter.text(read_file(chosen.body_file));
  } else if (!chosen.body.empty() || chosen.html.empty()) {
    letter.text(chosen.body);
  }
  if (!chosen.html.empty()) letter.html(read_file(chosen.html));
  for (const std::string& each : chosen.attach) letter.attach_file(each);
  return letter;
}

/// What has come of one attempt.
struct attempt {
  int code = 0;
  bool is_worth_another = false;
  std::string reason;
};

attempt judge(const smtp::delivery& done) {
  attempt made;
  if (done.what() == smtp::outcome::accepted && done.is_complete()) return made;
  // Of what may have been accepted nothing is sent again, not by us and not by whoever reads 75.
  made.is_worth_another = done.what() == smtp::outcome::refused && done.is_temporary();
  made.code = made.is_worth_another ? code_temporary : code_failed;
  made.reason = done.reason();
  if (done.what() == smtp::outcome::unknown) return made;
  std::string each_reason;
  for (const smtp::recipient_outcome& each : done.recipients()) {
    if (each.what == smtp::outcome::accepted || each.answer.code() == 0) continue;
    if (!each_reason.empty()) each_reason += "; ";
    each_reason += each.address + ": " + each.answer.to_string();
  }
  if (!each_reason.empty()) made.reason = each_reason;
  if (done.what() == smtp::outcome::accepted) made.reason = "not for everybody: " + made.reason;
  return made;
}

rill::task<attempt> try_once(const options& chosen, const rill::mail::message& letter) {
  const place where = parse_server(chosen);
  attempt made;
  try {
    smtp::client_options how = make_client_options(chosen);
    smtp::client server = co_await smtp::client::connect(where.host, where.port, std::move(how));
    const smtp::delivery done = co_await server.send(letter);
    made = judge(done);
    co_await server.quit();
  } catch (const smtp::client_error& error) {
    made.is_worth_another = error.is_temporary();
    made.code = made.is_worth_another ? code_temporary : code_failed;
    made.reason = error.what();
  }
  co_return made;
}

rill::task<int> send_mail(const options& chosen) {
  std::string reason;
  int code = code_failed;
  try {
    const rill::mail::message letter = make_message(chosen);
    std::chrono::seconds pause{1};
    for (unsigned left = chosen.retry_count;; --left) {
      const attempt made = co_await try_once(chosen, letter);
      code = made.code;
      reason = made.reason;
      if (!made.is_worth_another || left == 0) break;
      if (chosen.verbose) std::fprintf(stderr, "* %s; again in a while\n", reason.c_str());
      co_await rill::sleep_for(pause);
      pause = std::min(pause * 2, std::chrono::seconds(60));
    }
  } catch (const std::exception& error) {
    reason = error.what();  // of a file, or of an address that is none: in vain later, too
    code = code_failed;
  }
  if (code == 0) {
    std::puts("Email sent successfully!");
  } else {
    std::printf("Email failed: %s\n", reason.c_str());
  }
  co_return code;
}

void add_options(CLI::App& app, options& chosen) {
  app.add_option("--server", chosen.server, "HOST:PORT (587; with --tls 465)")->required();
  app.add_option("--starttls", chosen.starttls, "required, if-offered or never (required)")
      ->check(CLI::IsMember({"required", "if-offered", "never"}));
  app.add_flag("--tls", chosen.tls, "TLS from the first byte, as on port 465");
  app.add_option("--user", chosen.user, "authenticate as this user");
  app.add_option("--password-file", chosen.password_file, "the password ($RILL_PASSWORD)");
  app.add_option("--from", chosen.from, "\"Ann <ann@example.org>\"")->required();
  app.add_option("--to", chosen.to, "a recipient; more than once for several")
      ->allow_extra_args(false);
  app.add_option("--cc", chosen.cc, "gets a copy")->allow_extra_args(false);
  app.add_option("--bcc", chosen.bcc, "gets one that the others do not know of")
      ->allow_extra_args(false);
  app.add_option("--subject", chosen.subject, "in any language");
  auto* const body = app.add_option("--body", chosen.body, "the text");
  app.add_option("--body-file", chosen.body_file, "the text, from a file")->excludes(body);
  app.add_option("--html", chosen.html, "a file with the text as HTML");
  app.add_option("--attach", chosen.attach, "a file; more than once for several")
      ->allow_extra_args(false);
  app.add_option("--cacert", chosen.authorities, "trust these authorities alone (PEM)");
  program::add_duration(app, "--timeout", chosen.timeout, "of each wait (RFC 5321's, to 10m)");
  app.add_option("--retry", chosen.retry_count, "after a temporary failure so many times more (0)");
  app.add_flag("-v,--verbose", chosen.verbose, "show the conversation, without secrets");
  program::add_kernel(app, chosen.kernel);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Sends a message by way of a mail server.");
  add_options(app, chosen);
  program::parse_or_exit(app, argc, argv);
  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, send_mail, std::cref(chosen));
}
