// A folder, its handler, and what clients of it get: for tests of files.h.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include "support.h"
#include "support/files.h"
#include <rill/net/memory_stream.h>
#include <rill/protocols/http/files.h>
#include <rill/protocols/http/head.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/session.h>
#include <rill/runtime/nursery.h>

namespace rill::test {

/// What a server has sent until it ended the connection.
struct http_answer {
  int status() const { return text.size() < 12 ? 0 : std::atoi(text.c_str() + 9); }
  std::string_view head() const { return std::string_view(text).substr(0, head_size()); }
  std::string_view body() const { return std::string_view(text).substr(head_size()); }
  /// The value of a field; "-" without it.
  std::string field(std::string_view name) const {
    http::response_head parsed;
    if (parsed.parse(text, "GET") != http::parse_state::complete) return "no head";
    return std::string(parsed.find(name).value_or("-"));
  }
  std::size_t head_size() const { return std::min(text.find("\r\n\r\n") + 4, text.size()); }

  std::string text;
};

/// What `on_error` of the sessions was told last.
inline std::string& last_report() {
  static std::string text;
  return text;
}
inline void keep_report(const http::request&, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    last_report() = known.what();
  }
}

/// "/srv" in a folder of its own is the root; what lies beside it nobody may get.
class file_server {
 public:
  explicit file_server(const http::file_options& options = http::file_options()) {
    std::filesystem::create_directory(root());
    set_options(options);
  }

  std::string root() const { return folder_.path("srv"); }
  std::string path(const std::string& name) const { return root() + '/' + name; }
  std::string beside(const std::string& name) const { return folder_.path(name); }
  /// A file that was last written at `time`, in seconds since 1970.
  std::string add(const std::string& name, std::string_view content, std::int64_t time = day) {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << content;
    set_time(path(name), time);
    return path(name);
  }
  static void set_time(const std::string& of, std::int64_t time) {
    const timespec times[2] = {{time, 0}, {time, 0}};
    ::utimensat(AT_FDCWD, of.c_str(), times, 0);
  }
  void set_options(const http::file_options& options) { serve_from(root(), options); }
  void serve_from(const std::string& other_root, const http::file_options& options) {
    routes_ = std::make_unique<http::router>();
    routes_->add("GET", "/files/{path...}", http::files(other_root, options));
    routes_->add("PUT", "/put/{path...}", http::files(other_root, options));
  }
  http::router& routes() { return *routes_; }

  /// `fields` are whole lines with CRLF.
  static std::string request(std::string_view target, std::string_view fields = {},
                             std::string_view method = "GET") {
    return std::string(method) + ' ' + std::string(target) + " HTTP/1.1\r\nHost: a\r\n" +
           std::string(fields) + "Connection: close\r\n\r\n";
  }
  /// Over a stream in memory.
  http_answer answer_to(const std::string& input) {
    http_answer all;
    run_loop([&]() -> task<> {
      auto pair = memory_stream_pair();
      http::session_options options;
      options.on_error = keep_report;
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start(
            [&](memory_stream peer) { return http::session(std::move(peer), *routes_, options); },
            std::move(pair.second));
        co_await pair.first.write_all(const_buffer(input));
        while (const lease part = co_await pair.first.read_lease()) all.text += part.text();
        co_await pair.first.close();
      });
    });
    return all;
  }
  http_answer get(std::string_view target, std::string_view fields = {}) {
    return answer_to(request(target, fields));
  }

  static constexpr std::int64_t day = 784111777;  // Sun, 06 Nov 1994 08:49:37 GMT

 private:
  temporary_folder folder_;
  std::unique_ptr<http::router> routes_;
};

}  // namespace rill::test
