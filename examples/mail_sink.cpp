// Receives mail for anybody, and shows it or puts it into a Maildir: for trying out what sends
// mail. Nothing leaves the machine, and unless told otherwise nothing comes from elsewhere. Showing
// and renaming block the loop: it is no server for many.
//
//   build/release/bin/mail_sink                      shows what comes to port 1025 of localhost
//   build/release/bin/mail_sink --format json        one line of JSON for each message
//   build/release/bin/mail_sink --maildir /tmp/mail  a file for each, in /tmp/mail/new
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "program.h"
#include <rill/net/printable.h>
#include <rill/net/serve.h>
#include <rill/protocols/smtp/address.h>
#include <rill/protocols/smtp/session.h>
#include <rill/runtime/file.h>
#include <rill/runtime/run.h>

namespace {

namespace smtp = rill::smtp;

/// Each may hold a message of --size-max in memory, and twice that while it grows.
constexpr std::size_t connection_max = 50;

struct options {
  std::string host = "localhost";
  std::uint16_t port = 1025;
  std::string format = "text";
  std::string maildir;
  std::string certificate;
  std::string key;
  std::string user;
  std::string password_file;
  bool auth_without_tls = false;
  std::uint64_t size_max = std::uint64_t{25} * 1024 * 1024;
  std::string kernel = "auto";
};

/// As JSON has it; what is not UTF-8 is taken for Latin-1, so that no byte is lost.
std::string json_text(std::string_view text) {
  const bool is_utf8 = rill::mail::is_utf8(text);
  std::string made = "\"";
  for (const char c : text) {
    const auto value = static_cast<unsigned char>(c);
    char escaped[8];
    if (c == '"' || c == '\\') {
      made.append("\\").append(1, c);
    } else if (value < ' ' || value == 0x7f || (value >= 0x80 && !is_utf8)) {
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", value);
      made += escaped;
    } else {
      made += c;
    }
  }
  return made + '"';
}

std::string json_of(const smtp::received_mail& mail) {
  std::string line = "{\"peer\":" + json_text(mail.from.address);
  line += ",\"hello\":" + json_text(mail.from.hello);
  line += std::string(",\"tls\":") + (mail.from.is_secure ? "true" : "false");
  line += ",\"user\":" + json_text(mail.from.user);
  line += ",\"from\":" + json_text(mail.sender.address) + ",\"to\":[";
  for (const smtp::path_argument& each : mail.recipients) {
    if (line.back() != '[') line += ',';
    line += json_text(each.address);
  }
  return line + "],\"content\":" + json_text(mail.content) + "}\n";
}

/// Controls would let a message write on the terminal as it pleases.
std::string text_of(const smtp::received_mail& mail) {
  std::string text = "---- from <" + mail.sender.address + "> to";
  for (const smtp::path_argument& each : mail.recipients) text += " <" + each.address + '>';
  text += ", " + std::to_string(mail.content.size()) + " bytes\n";
  std::string_view rest = mail.content;
  while (!rest.empty()) {
    const std::size_t size = std::min(rest.find("\r\n"), rest.size());
    text += rill::printable(rest.substr(0, size)) + '\n';
    rest.remove_prefix(std::min(size + 2, rest.size()));
  }
  return text;
}

class sink final : public smtp::service {
 public:
  sink(const options& chosen, std::string password)
      : chosen_(&chosen), password_(std::move(password)) {}

  rill::task<smtp::reply> take(smtp::received_mail mail) override {
    const std::uint64_t number = ++count_;
    if (!chosen_->maildir.empty()) {
      co_await keep(mail, number);
    } else {
      const std::string shown = chosen_->format == "json" ? json_of(mail) : text_of(mail);
      const bool is_shown = std::fwrite(shown.data(), 1, shown.size(), stdout) == shown.size();
      if (!is_shown || std::fflush(stdout) != 0) co_return smtp::reply(451, "4.3.0 output lost");
    }
    co_return smtp::reply(250, "2.0.0 taken as " + std::to_string(number));
  }
  std::optional<std::string> password_of(std::string_view user) override {
    if (user != chosen_->user || user.empty()) return std::nullopt;
    return password_;
  }

 private:
  /// Goes with its name unless that was given to somebody else: nothing stays in tmp when the disk
  /// is full or the session was cancelled.
  class temporary_name {
   public:
    explicit temporary_name(std::string path) : path_(std::move(path)) {}
    temporary_name(const temporary_name&) = delete;
    temporary_name& operator=(const temporary_name&) = delete;
    ~temporary_name() {
      if (!path_.empty()) ::unlink(path_.c_str());
    }
    const std::string& path() const noexcept { return path_; }
    void rename(const std::string& into) {
      if (std::rename(path_.c_str(), into.c_str()) != 0) {
        throw rill::io_error(std::error_code(errno, std::system_category()), "rename", into);
      }
      path_.clear();
    }

   private:
    std::string path_;
  };

  /// Into tmp, to the disk, and by one rename into new: a reader sees whole messages only
  /// (maildir(5)). The rename is on the disk too when 250 is said.
  rill::task<> keep(const smtp::received_mail& mail, std::uint64_t number) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const std::string name =
        std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(now).count()) + ".P" +
        std::to_string(::getpid()) + 'Q' + std::to_string(number) + ".rill";
    temporary_name from(chosen_->maildir + "/tmp/" + name);
    rill::file to = co_await rill::file::open(
        from.path(), rill::open_mode::write | rill::open_mode::create | rill::open_mode::exclusive,
        0600);
    co_await to.write_all_at(std::as_bytes(std::span(mail.content)), 0);
    co_await to.sync();
    co_await to.close();
    const std::string folder = chosen_->maildir + "/new";
    from.rename(folder + '/' + name);
    rill::file listed =
        co_await rill::file::open(folder, rill::open_mode::read | rill::open_mode::directory);
    co_await listed.sync();
    co_await listed.close();
  }

  const options* chosen_;
  std::string password_;
  std::uint64_t count_ = 0;
};

void make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return;
  throw rill::io_error(std::error_code(errno, std::system_category()), "mkdir", path);
}

rill::task<> mail_sink(const options& chosen) {
  std::string password;
  if (!chosen.password_file.empty()) {
    password = co_await rill::read_file(chosen.password_file, 4096);
    password.erase(password.find_last_not_of("\r\n") + 1);
  } else if (const char* const variable = std::getenv("RILL_PASSWORD")) {
    password = variable;
  }
  if (!chosen.maildir.empty()) {
    for (const char* const part : {"", "/tmp", "/new", "/cur"}) make_folder(chosen.maildir + part);
  }
  sink service(chosen, std::move(password));
  smtp::session_options how;
  how.size_max = chosen.size_max;
  how.offers_auth = !chosen.user.empty();
  how.requires_auth = how.offers_auth;
  how.auth_without_tls = chosen.auth_without_tls;
  if (!chosen.certificate.empty()) {
    how.tls.emplace(co_await rill::tls::server_context::from_files(chosen.certificate, chosen.key));
  }
  auto listener = co_await rill::tcp_listener::bind(chosen.host, chosen.port);
  const std::vector<rill::endpoint> locals = listener.locals();
  program::announce(program::ready_lines("smtp", locals));
  const auto session = [&](rill::tcp_stream peer) {
    return smtp::session(std::move(peer), service, how);
  };
  rill::serve_limits limits;
  limits.connection_max = connection_max;
  co_await rill::serve(listener, session, limits);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Receives mail for anybody, and shows it.");
  program::add_host(app, chosen.host, "where to listen (localhost)");
  program::add_number(app, "--port", chosen.port, "(1025)");
  app.add_option("--format", chosen.format, "text or json (text)")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_option("--maildir", chosen.maildir, "put messages there instead of showing them");
  auto* const certificate =
      app.add_option("--certificate", chosen.certificate, "offer STARTTLS with this chain (PEM)");
  app.add_option("--key", chosen.key, "its key (PEM)")->needs(certificate);
  app.add_option("--user", chosen.user, "require AUTH as this user");
  app.add_option("--password-file", chosen.password_file, "the password ($RILL_PASSWORD)");
  app.add_flag("--auth-without-tls", chosen.auth_without_tls, "also where others can read it");
  program::add_number(app, "--size-max", chosen.size_max, "bytes of a message (25 MiB)");
  program::add_kernel(app, chosen.kernel);
  app.callback([&] {
    if (!chosen.user.empty() && chosen.certificate.empty() && !chosen.auth_without_tls) {
      throw CLI::ValidationError("--user needs --certificate or --auth-without-tls");
    }
  });
  program::parse_or_exit(app, argc, argv);
  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, mail_sink, std::cref(chosen));
}
