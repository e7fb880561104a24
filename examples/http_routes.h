// What http_server and the demo answer. Every handler is a few lines: a page to copy from.
// Not here: listening and serving (http_server.cpp).
#pragma once

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <openssl/evp.h>

#include <rill/protocols/http/compress.h>
#include <rill/protocols/http/events.h>
#include <rill/protocols/http/files.h>
#include <rill/protocols/http/form.h>
#include <rill/protocols/http/json.h>
#include <rill/protocols/http/request_id.h>
#include <rill/protocols/http/router.h>
#include <rill/protocols/http/status_error.h>
#include <rill/runtime/sleep.h>

namespace routes {

namespace http = rill::http;

/// The number that stands in the path for {name}; 404 if it is none, or beyond `max`.
inline std::size_t number_in(const http::request& asked, std::string_view name, std::size_t max) {
  const std::string_view text = asked.parameter(name);
  std::size_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || number > max) {
    throw http::status_error(404, "a number from 0 to " + std::to_string(max) + ", please\n");
  }
  return number;
}

inline http::response page(http::request& asked) {
  const std::time_t now = std::time(nullptr);
  char time[32];
  tm local{};
  std::strftime(time, sizeof time, "%Y-%m-%d %H:%M:%S", ::localtime_r(&now, &local));
  return http::response::html(
      "<!DOCTYPE html>\n<html>\n<head><title>My rill Server</title></head>\n<body>\n"
      "<h1>Hello from rill!</h1>\n<p>You requested: " +
      http::escape_html(asked.head().target()) + "</p>\n<p>Current time: " + time +
      "</p>\n<p>Your address: " + http::escape_html(asked.peer().to_string()) +
      "</p>\n</body>\n</html>\n");
}

inline rill::task<http::response> echo(http::request& asked) {
  const std::string type(asked.find("Content-Type").value_or("application/octet-stream"));
  std::string body = co_await asked.read_body();
  co_return http::response(200, std::move(body), type);
}

inline http::response headers(http::request& asked) {
  std::string text;
  for (std::size_t i = 0; i < asked.head().field_count(); ++i) {
    const http::field each = asked.head().field_at(i);
    text.append(each.name).append(": ").append(each.value).append("\n");
  }
  return http::response::text(std::move(text));
}

inline http::response status(http::request& asked) {
  const std::size_t code = number_in(asked, "code", 599);
  if (code < 200) throw http::status_error(404, "a status from 200 to 599, please\n");
  http::response made(static_cast<int>(code));
  made.set_body("status " + std::to_string(code) + '\n', "text/plain; charset=utf-8");
  return made;
}

inline rill::task<http::response> delay(http::request& asked) {
  const std::size_t seconds = number_in(asked, "seconds", 60);
  co_await rill::sleep_for(std::chrono::seconds(seconds));
  co_return http::response::text("waited " + std::to_string(seconds) + " s\n");
}

inline http::response chunks(http::request& asked) {
  const std::size_t count = number_in(asked, "count", 1'000'000);
  const auto write = [count](http::body_writer& to) -> rill::task<void> {
    for (std::size_t i = 1; i <= count; ++i) {
      const std::string line = "chunk " + std::to_string(i) + " of " + std::to_string(count) + '\n';
      co_await to.write(line);
    }
  };
  return http::response::stream(write, "text/plain; charset=utf-8");
}

inline http::response bytes(http::request& asked) {
  const std::size_t size = number_in(asked, "size", 1024 * 1024 * 1024);
  const auto write = [size](http::body_writer& to) -> rill::task<void> {
    const std::string piece(64 * 1024, 'r');
    for (std::size_t left = size; left != 0;) {
      const std::string_view next = std::string_view(piece).substr(0, left);
      co_await to.write(next);
      left -= next.size();
    }
  };
  constexpr std::size_t whole_max = 1024 * 1024;
  if (size > whole_max) return http::response::stream(write, "application/octet-stream");
  return http::response(200, std::string(size, 'r'), "application/octet-stream");
}

inline http::response events(http::request&) {
  return http::event_response([](http::event_stream to) -> rill::task<void> {
    for (unsigned count = 1;; ++count) {
      const std::string id = std::to_string(count);
      const std::string text = "event " + id;
      co_await to.send(text, "", id);
      co_await rill::sleep_for(std::chrono::seconds(1));
    }
  });
}

inline rill::task<std::string> sha256(rill::file& of, std::uint64_t size) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest(EVP_MD_CTX_new(),
                                                                       EVP_MD_CTX_free);
  if (digest == nullptr || EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("SHA-256 is not to be had");
  }
  std::string piece(64 * 1024, '\0');
  for (std::uint64_t at = 0; at < size;) {
    const std::size_t came = co_await of.read_at(std::as_writable_bytes(std::span(piece)), at);
    if (came == 0) break;
    EVP_DigestUpdate(digest.get(), piece.data(), came);
    at += came;
  }
  unsigned char sum[32];
  EVP_DigestFinal_ex(digest.get(), sum, nullptr);
  std::string text;
  for (const unsigned char each : sum) {
    text += "0123456789abcdef"[each >> 4];
    text += "0123456789abcdef"[each & 15];
  }
  co_return text;
}

/// Nothing is kept: the files have no names, and are gone at the end.
inline rill::task<http::response> upload(http::request& asked) {
  http::upload got = co_await http::read_upload(asked, "/tmp");
  nlohmann::json answer = nlohmann::json::array();
  for (http::uploaded_file& each : got.files()) {
    const std::string sum = co_await sha256(each.content(), each.size());
    nlohmann::json said;
    said["field"] = each.field_name();
    said["name"] = each.client_name();
    said["size"] = each.size();
    said["sha256"] = sum;
    answer.push_back(std::move(said));
  }
  co_return http::json_response(answer);
}

/// `root` is the folder below /files/; empty: there is none.
inline void add(http::router& to, const std::string& root) {
  to.use(http::request_id()).use(http::compressed());
  to.fallback(page);
  to.get("/plaintext",
         [](http::request&) { return http::response::fixed("Hello, World!", "text/plain"); });
  to.get("/json", [](http::request&) {
    return http::response::fixed(R"({"message":"Hello, World!"})", "application/json");
  });
  to.get("/healthz", [](http::request&) { return http::response::text("ok\n"); });
  to.get("/headers", headers).get("/status/{code}", status).get("/delay/{seconds}", delay);
  to.get("/stream/{count}", chunks).get("/bytes/{size}", bytes).get("/events", events);
  to.post("/echo", echo).post("/upload", upload);
  if (!root.empty()) to.get("/files/{path...}", http::files(root));
}

/// For tools that probe: every request, whatever its method and path, is answered 200 with its own
/// body.
class reflection final : public http::service {
 public:
  http::answer handle(http::request& asked) override { return echo(asked); }
};

}  // namespace routes
