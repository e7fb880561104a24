// Fetches a URL, with the options that curl has made a habit. Ends with 0 only if the response came
// whole (-f: and has a status below 400). Secrets stay off the command line and the screen.
//
//   build/release/bin/http_client http://localhost:8080/            the page
//   build/release/bin/http_client -v -L -o page.html http://example.org/
//   build/release/bin/http_client --json '{"a":1}' http://localhost:8080/echo
//   RILL_PASSWORD=... build/release/bin/http_client -u me http://localhost:8080/private
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "program.h"
#include <rill/protocols/http/client.h>
#include <rill/runtime/file.h>
#include <rill/runtime/run.h>

namespace {

namespace http = rill::http;

struct options {
  std::string url;
  std::string method;
  std::vector<std::string> headers;
  std::vector<std::string> data;
  std::string binary;
  std::vector<std::string> json;
  std::vector<std::string> form;
  std::string upload;
  std::string output;
  bool remote_name = false;
  bool head_only = false;
  bool include_head = false;
  bool verbose = false;
  bool silent = false;
  bool shows_errors = true;
  bool follow = false;
  unsigned redirect_max = 50;
  bool fail = false;
  bool compressed = false;
  bool insecure = false;
  std::string authorities;
  std::string user;
  std::string password_file;
  std::string agent = "rill";
  std::vector<std::string> resolve;
  std::optional<std::string> proxy;
  std::string no_proxy;
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(10);
  std::chrono::milliseconds time_max = std::chrono::hours(24);
  unsigned retry_count = 0;
  std::string kernel = "auto";
};

/// "-" is the standard input.
std::string read_file(const std::string& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// "@name" means what is in the file.
std::string value_or_file(const std::string& text) {
  return text.starts_with('@') ? read_file(text.substr(1)) : text;
}

// ---------------------------------------------------------------- the request

void add_authorization(http::client_request& ask, const options& chosen) {
  if (chosen.user.empty()) return;
  std::string password;
  if (!chosen.password_file.empty()) {
    password = read_file(chosen.password_file);
    password.erase(password.find_last_not_of("\r\n") + 1);
  } else if (const char* const variable = std::getenv("RILL_PASSWORD")) {
    password = variable;
  } else {
    throw std::runtime_error("-u needs --password-file or RILL_PASSWORD");
  }
  ask.basic_auth(chosen.user, password);
}

/// What stands behind "; NAME=" in "file;type=text/plain;filename=other", which loses it.
std::optional<std::string> take_attribute(std::string& from, const std::string& name) {
  const std::size_t begin = from.find(';' + name + '=');
  if (begin == from.npos) return std::nullopt;
  const std::size_t value = begin + name.size() + 2;
  const std::size_t end = std::min(from.find(';', value), from.size());
  std::string taken = from.substr(value, end - value);
  from.erase(begin, end - begin);
  return taken;
}

/// "name=value", "name=<file" for a value that stands there, "name=@file;type=...;filename=...".
void add_form_field(http::client_request& ask, const std::string& text) {
  const std::size_t equal = text.find('=');
  if (equal == text.npos) throw std::runtime_error("'" + text + "' is not NAME=VALUE");
  const std::string name = text.substr(0, equal);
  const std::string value = text.substr(equal + 1);
  ask.multipart();
  if (value.starts_with('<')) {
    ask.form(name, read_file(value.substr(1)));
  } else if (value.starts_with('@')) {
    std::string path = value.substr(1);
    const auto type = take_attribute(path, "type");
    const auto file_name = take_attribute(path, "filename");
    ask.file(name, file_name.value_or(path.substr(path.rfind('/') + 1)), read_file(path),
             type.value_or("application/octet-stream"));
  } else {
    ask.form(name, value);
  }
}

/// "Name: value"; "Name;" for one without a value; "Name:" leaves out what we would send.
void add_header(http::client_request& ask, const std::string& text) {
  const std::size_t end = text.find_first_of(":;");
  const bool is_empty = end + 1 == text.size();
  if (end == text.npos || (text[end] == ';' && !is_empty)) {
    throw std::runtime_error("'" + text + "' is not NAME: VALUE");
  }
  const std::string name = text.substr(0, end);
  const std::size_t begin = std::min(text.find_first_not_of(' ', end + 1), text.size());
  if (text[end] == ':' && begin == text.size()) {
    ask.without(name);
  } else {
    ask.header(name, text.substr(begin));
  }
}

/// A form's data: from a file without its line ends, as from a person's editor.
std::string data_of(const std::string& text) {
  std::string data = value_or_file(text);
  if (text.starts_with('@')) std::erase_if(data, [](char c) { return c == '\r' || c == '\n'; });
  return data;
}

/// The file `path`, read as it is sent.
rill::task<http::request_body> file_body(const std::string& path) {
  rill::file source = co_await rill::file::open(path);
  const rill::file_status status = co_await source.stat();
  co_await source.close();
  const auto produce = [path](http::body_writer& to) -> rill::task<void> {
    rill::file from = co_await rill::file::open(path);
    std::vector<std::byte> bytes(64 * 1024);
    for (std::uint64_t at = 0;;) {
      const std::size_t size = co_await from.read_at(bytes, at);
      if (size == 0) break;
      const rill::const_buffer piece(bytes.data(), size);
      co_await to.write(piece);
      at += size;
    }
  };
  co_return http::request_body::stream(produce, status.size, "application/octet-stream", true);
}

std::string method_of(const options& chosen) {
  if (!chosen.method.empty()) return chosen.method;
  if (chosen.head_only) return "HEAD";
  if (!chosen.upload.empty()) return "PUT";
  const bool has_body = !chosen.data.empty() || !chosen.binary.empty() || !chosen.json.empty() ||
                        !chosen.form.empty();
  return has_body ? "POST" : "GET";
}

rill::task<http::client_request> make_request(const options& chosen) {
  http::client_request ask(method_of(chosen), chosen.url);
  if (!chosen.data.empty()) {
    std::string all;
    for (const std::string& each : chosen.data) {
      if (!all.empty()) all += '&';
      all += data_of(each);
    }
    ask.body(http::request_body(std::move(all), "application/x-www-form-urlencoded"));
  }
  if (!chosen.binary.empty()) {
    ask.body(http::request_body(value_or_file(chosen.binary), "application/x-www-form-urlencoded"));
  }
  if (!chosen.json.empty()) {
    std::string all;
    for (const std::string& each : chosen.json) all += value_or_file(each);
    ask.json(std::move(all)).header("Accept", "application/json");
  }
  for (const std::string& each : chosen.form) add_form_field(ask, each);
  if (!chosen.upload.empty()) ask.body(co_await file_body(chosen.upload));
  add_authorization(ask, chosen);
  for (const std::string& each : chosen.headers) add_header(ask, each);
  ask.redirect_max(chosen.follow ? chosen.redirect_max : 0);
  co_return ask;
}

http::client_options make_client_options(const options& chosen) {
  http::client_options made;
  made.user_agent = chosen.agent;
  made.timeouts.connect = chosen.connect_timeout;
  made.timeouts.total = chosen.time_max;
  made.retry.count_max = chosen.retry_count;
  made.redirect_count_max = chosen.redirect_max;
  made.accepts_compressed = chosen.compressed;
  made.tls.verify = !chosen.insecure;
  if (!chosen.authorities.empty()) {
    made.tls.authorities_pem = read_file(chosen.authorities);
    made.tls.system_authorities = false;
  }
  if (chosen.proxy) made.proxies.emplace(*chosen.proxy).except(chosen.no_proxy);
  if (chosen.verbose) {
    made.on_trace = [](http::trace_event what, std::string_view text) {
      const char* mark = "* ";
      if (what == http::trace_event::request) mark = "> ";
      if (what == http::trace_event::response) mark = "< ";
      while (!text.empty()) {
        const std::size_t size = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, text.find_last_not_of("\r\n", size) + 1);
        std::fprintf(stderr, "%s%.*s\n", mark, static_cast<int>(std::min(line.size(), size)),
                     line.data());
        text.remove_prefix(std::min(size + 1, text.size()));
      }
    };
  }
  return made;
}

/// "HOST:PORT:ADDRESS", where the address may hold colons.
void add_address(http::client& client, const std::string& text) {
  const std::size_t first = text.find(':');
  const std::size_t second = first == text.npos ? first : text.find(':', first + 1);
  if (second == text.npos) throw std::runtime_error("'" + text + "' is not HOST:PORT:ADDRESS");
  std::string address = text.substr(second + 1);
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  }
  const int port = std::atoi(text.substr(first + 1, second - first - 1).c_str());
  client.set_address(text.substr(0, first), static_cast<std::uint16_t>(port), address);
}

// ---------------------------------------------------------------- the response

/// How much has come, on a terminal.
class progress_bar {
 public:
  explicit progress_bar(bool is_shown) : is_shown_(is_shown && ::isatty(STDERR_FILENO) == 1) {}
  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;
  ~progress_bar() {
    if (was_shown_) std::fputc('\n', stderr);
  }

  void show(std::uint64_t done, std::optional<std::uint64_t> all) {
    if (!is_shown_) return;
    const auto now = std::chrono::steady_clock::now();
    const bool is_last = all && done == *all;
    if (was_shown_ && !is_last && now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    was_shown_ = true;
    constexpr double mebibyte = 1024.0 * 1024.0;
    const double size = static_cast<double>(done) / mebibyte;
    if (!all || *all == 0) {
      std::fprintf(stderr, "\r%10.1f MiB", size);
      return;
    }
    constexpr int width = 40;
    const double share = static_cast<double>(done) / static_cast<double>(*all);
    const std::string bar(static_cast<std::size_t>(share * width), '#');
    std::fprintf(stderr, "\r[%-*s] %3.0f %% %10.1f MiB", width, bar.c_str(), share * 100, size);
  }

 private:
  bool is_shown_;
  bool was_shown_ = false;
  std::chrono::steady_clock::time_point last_{};
};

/// The last part of the path that was asked for, as curl's -O has it: where a server redirects to
/// is not to choose a file of ours.
std::string remote_name(const std::string& url) {
  const auto from = http::url::parse(url);
  const std::string name = from ? from->path.substr(from->path.rfind('/') + 1) : std::string();
  if (name.empty() || name == "." || name == "..") {
    throw std::runtime_error("-O: the URL names no file");
  }
  return name;
}

class output {
 public:
  rill::task<> open(const std::string& path) {
    file_.emplace(co_await rill::file::open(
        path, rill::open_mode::write | rill::open_mode::create | rill::open_mode::truncate));
  }
  rill::task<> write(std::string_view text) {
    if (file_) {
      const rill::const_buffer bytes(text);
      co_await file_->write_all_at(bytes, at_);
      at_ += text.size();
    } else if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
      throw std::runtime_error("standard output was closed");
    }
  }
  rill::task<> close() {
    if (file_) {
      co_await file_->close();
    } else if (std::fflush(stdout) != 0) {
      throw std::runtime_error("standard output was closed");
    }
  }

 private:
  std::optional<rill::file> file_;
  std::uint64_t at_ = 0;
};

rill::task<> http_client(const options& chosen, bool& is_complete) {
  http::client client(make_client_options(chosen));
  for (const std::string& each : chosen.resolve) add_address(client, each);
  http::client_request ask = co_await make_request(chosen);
  const bool to_file = !chosen.output.empty() || chosen.remote_name;
  progress_bar bar(!chosen.silent && !chosen.verbose && (to_file || ::isatty(STDOUT_FILENO) == 0));
  const auto show = [&](std::uint64_t done, std::optional<std::uint64_t> all) {
    bar.show(done, all);
  };
  ask.on_download(show).on_upload(show);

  http::client_response got = co_await client.open(ask);
  if (chosen.fail) got.raise_for_status();
  output to;
  if (chosen.remote_name) {
    co_await to.open(remote_name(chosen.url));
  } else if (!chosen.output.empty() && chosen.output != "-") {
    co_await to.open(chosen.output);
  }
  if (chosen.include_head || chosen.head_only) {
    for (const auto& each : got.history()) co_await to.write(each.head_text);
    co_await to.write(got.head_text());
  }
  for (;;) {
    const std::string_view piece = co_await got.read_some();
    if (piece.empty()) break;
    co_await to.write(piece);
  }
  co_await to.close();
  is_complete = true;
}

/// Seconds, as curl has it, or a duration as our other programs have it; 0: a day.
void add_seconds(CLI::App& app, const std::string& name, std::chrono::milliseconds& value,
                 const std::string& help) {
  app.add_option_function<std::string>(
      name,
      [&value](const std::string& text) {
        const bool is_plain = text.find_first_not_of("0123456789.") == text.npos;
        constexpr double day = 86400.0;
        const double given = is_plain ? std::atof(text.c_str()) : 0.0;
        const double seconds = given == 0.0 ? day : given;
        value = is_plain ? std::chrono::milliseconds(
                               static_cast<std::int64_t>(std::min(seconds, day) * 1000.0))
                         : program::parse_duration(text);
      },
      help);
}

void add_options(CLI::App& app, options& chosen) {
  app.add_option("URL", chosen.url, "what to fetch")->required();
  app.add_option("-X,--request", chosen.method, "the method (GET; POST with data)");
  app.add_option("-H,--header", chosen.headers, "a field, 'Name: value'; 'Name:' leaves out ours")
      ->allow_extra_args(false);
  app.add_option("-d,--data", chosen.data, "a body of form data, or @FILE less its line ends")
      ->allow_extra_args(false);
  app.add_option("--data-binary", chosen.binary, "a body, or @FILE as it is");
  app.add_option("--json", chosen.json, "a body of JSON, or @FILE; @-: the standard input")
      ->allow_extra_args(false);
  app.add_option("-F,--form", chosen.form,
                 "a field of a form: NAME=VALUE, NAME=<FILE, NAME=@FILE;type=...;filename=...")
      ->allow_extra_args(false);
  app.add_option("-T,--upload-file", chosen.upload, "PUT this file, read as it is sent");
  app.add_option("-o,--output", chosen.output, "write the body to this file");
  app.add_flag("-O,--remote-name", chosen.remote_name, "... to one with the name in the URL");
  app.add_flag("-I,--head", chosen.head_only, "ask for the head alone, and print it");
  app.add_flag("-i,--include", chosen.include_head, "print the head before the body");
  app.add_flag("-v,--verbose", chosen.verbose, "tell on stderr what happens, without secrets");
  app.add_flag("-s,--silent", chosen.silent, "no progress bar");
  app.add_flag("-S,--show-error", chosen.shows_errors, "errors are told always");
  app.add_flag("-L,--location", chosen.follow, "follow redirects");
  app.add_option("--max-redirs", chosen.redirect_max, "so many of them (50)");
  app.add_flag("-f,--fail", chosen.fail, "a status from 400 on is an error, without a body");
  app.add_flag("--compressed", chosen.compressed, "ask for a compressed body, and decode it");
  app.add_option("-u,--user", chosen.user, "the user's name, for basic authentication")
      ->check([](const std::string& text) {
        return text.find(':') == text.npos
                   ? std::string()
                   : std::string("a password belongs into --password-file or RILL_PASSWORD");
      });
  app.add_option("--password-file", chosen.password_file, "the password ($RILL_PASSWORD)");
  app.add_option("-A,--user-agent", chosen.agent, "who we say we are (rill)");
  app.add_flag("-k,--insecure", chosen.insecure, "believe every certificate");
  app.add_option("--cacert", chosen.authorities, "trust these authorities alone (PEM)");
  app.add_option("--resolve", chosen.resolve, "HOST:PORT:ADDRESS: connect there instead")
      ->allow_extra_args(false);
  app.add_option("-x,--proxy", chosen.proxy, "http://HOST:PORT (the environment's; empty: none)");
  app.add_option("--noproxy", chosen.no_proxy, "with --proxy: hosts to be reached directly");
  add_seconds(app, "--connect-timeout", chosen.connect_timeout, "until connected (10)");
  add_seconds(app, "-m,--max-time", chosen.time_max, "for all of it (a day)");
  app.add_option("--retry", chosen.retry_count, "try again so often (0)");
  program::add_kernel(app, chosen.kernel);
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Fetches URL and writes what comes to standard output.");
  add_options(app, chosen);
  program::parse_or_exit(app, argc, argv);
  if (chosen.url.find("://") == std::string::npos) chosen.url = "http://" + chosen.url;

  rill::run_options how;
  how.kernel = chosen.kernel;
  bool is_complete = false;
  const int code = rill::run(how, http_client, std::cref(chosen), std::ref(is_complete));
  return is_complete ? code : std::max(code, 1);  // interrupted: it did not come whole
}
