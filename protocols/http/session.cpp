// What of a session depends on no stream. See session.h.
#include <rill/protocols/http/session.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rill/protocols/http/date.h>
#include <rill/protocols/http/fields.h>
#include <rill/protocols/http/status.h>
#include <rill/protocols/http/status_error.h>

namespace rill::http::detail {
namespace {

void append_number(std::string& to, std::uint64_t number) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  to.append(digits, end);
}

/// "Date: Sun, 06 Nov 1994 08:49:37 GMT": written once a second.
std::string_view date_line(std::int64_t wall_now) {
  constexpr std::int64_t second = 1'000'000'000;
  struct line {
    std::int64_t time = INT64_MIN;
    std::string text;
  };
  thread_local line last;
  const std::int64_t time = wall_now / second;
  if (last.time != time) {
    const date_text text{http_time(std::chrono::seconds(time))};
    last.text = "Date: ";
    last.text.append(text).append("\r\n");
    last.time = time;
  }
  return last.text;
}

/// Heads are needed one at a time, but for requests whose handlers or bodies take their time.
constexpr std::size_t head_stock_max = 128;
/// Texts are needed by all connections whose answers are being sent in one turn of the loop.
constexpr std::size_t text_stock_max = 4096;
/// The first piece of memory of a text: a small answer without a second allocation.
constexpr std::size_t text_size_initial = 480;
/// Of all texts in stock, so that large answers leave none of their memory behind.
constexpr std::size_t text_stock_size_max = 2 * 1024 * 1024;

std::vector<std::unique_ptr<request_head>>& head_stock() {
  thread_local std::vector<std::unique_ptr<request_head>> all;
  return all;
}

struct texts {
  std::vector<std::string> all;
  std::size_t size = 0;  // of their memory
};

texts& text_stock() {
  thread_local texts stock;
  return stock;
}

/// Of what a handler has thrown that is no status_error.
int status_of_failure(const std::exception_ptr& failure) noexcept {
  constexpr int internal_server_error = 500;
  constexpr int service_unavailable = 503;
  try {
    std::rethrow_exception(failure);
  } catch (const std::bad_alloc&) {
    return service_unavailable;
  } catch (const std::system_error& error) {
    // EAGAIN: openat2(2) could not decide where a path leads while names were changed.
    if (rill::detail::is_shortage(error.code()) ||
        error.code() == std::errc::resource_unavailable_try_again) {
      return service_unavailable;
    }
  } catch (...) {
  }
  return internal_server_error;
}

}  // namespace

borrowed_head::borrowed_head(const head_limits& limits) {
  auto& all = head_stock();
  if (all.empty()) {
    held_ = std::make_unique<request_head>();
  } else {
    held_ = std::move(all.back());
    all.pop_back();
  }
  held_->set_limits(limits);
}

borrowed_head::~borrowed_head() {
  auto& all = head_stock();
  if (all.size() == head_stock_max) return;
  held_->clear();
  try {
    all.push_back(std::move(held_));
  } catch (const std::bad_alloc&) {  // then it is not kept
  }
}

borrowed_text::borrowed_text() {
  texts& stock = text_stock();
  if (stock.all.empty()) {
    held_.reserve(text_size_initial);
    return;
  }
  held_ = std::move(stock.all.back());
  stock.all.pop_back();
  stock.size -= held_.capacity();
}

borrowed_text::~borrowed_text() {
  texts& stock = text_stock();
  const std::size_t size = held_.capacity();
  if (stock.all.size() == text_stock_max || size > text_stock_size_max - stock.size) return;
  held_.clear();
  try {
    stock.all.push_back(std::move(held_));
    stock.size += size;
  } catch (const std::bad_alloc&) {  // then it is not kept
  }
}

void append_head(std::string& to, const response& of, const request_head& asked,
                 const response_framing& framing, std::int64_t wall_now) {
  if (of.status() == 200) {  // nearly always
    to.append("HTTP/1.1 200 OK\r\n");
  } else {
    to.append("HTTP/1.1 ");
    append_number(to, static_cast<unsigned>(of.status()));
    to.append(" ").append(reason_of(of.status())).append("\r\n");
  }
  to.append(date_line(wall_now));
  // A sender of Upgrade names it there (RFC 9110 section 7.8).
  const bool switches = of.status() == 101;
  const bool offers = switches || of.status() == 426;
  if (!framing.keeps_alive && !switches) {
    to.append(offers ? "Connection: close, Upgrade\r\n" : "Connection: close\r\n");
  } else if (offers) {
    to.append("Connection: Upgrade\r\n");
  } else if (asked.minor_version() == 0) {
    to.append("Connection: keep-alive\r\n");
  }
  if (framing.is_chunked) {
    to.append("Transfer-Encoding: chunked\r\n");
  } else if (framing.has_length) {
    to.append("Content-Length: ");
    append_number(to, framing.length);
    to.append("\r\n");
  }
  to.append(of.fields()).append("\r\n");
}

std::optional<response> upgrade_obstacle(const response& made, const request_head& asked,
                                         bool is_draining) {
  constexpr int bad_request = 400;
  constexpr int upgrade_required = 426;
  constexpr int service_unavailable = 503;
  const std::string_view protocol = made.find("Upgrade");
  if (asked.content_length() != 0 || asked.framing() == body_framing::chunked) {
    return refusal(bad_request, "a request with a body cannot be upgraded\n");
  }
  if (asked.minor_version() == 0 || !asked.has_element("Connection", "Upgrade") ||
      !asked.has_element("Upgrade", protocol)) {
    response refused = refusal(upgrade_required, "upgrade to " + std::string(protocol) + '\n');
    refused.set("Upgrade", protocol);
    return refused;
  }
  if (is_draining) return refusal(service_unavailable, "the server is about to end\n");
  return std::nullopt;
}

std::string explain(http_error error) { return make_error_code(error).message() + '\n'; }

response refusal(int status, std::string_view text) {
  return response(status, text.empty() ? std::string(reason_of(status)) + '\n' : std::string(text),
                  "text/plain; charset=utf-8");
}

void report(const session_options& options, const request& asked, const std::exception_ptr& error) {
  if (options.on_error != nullptr) {
    options.on_error(asked, error);
    return;
  }
  std::string what = "unknown exception";
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    what = known.what();
  } catch (...) {
  }
  // Method and path hold visible characters only.
  const std::string line =
      std::string(asked.method()) + ' ' + std::string(asked.path()) + ": " + what + '\n';
  std::fputs(line.c_str(), stderr);
}

response refusal(const session_options& options, const request& asked,
                 const std::exception_ptr& error) {
  constexpr int server_error = 500;
  try {
    std::rethrow_exception(error);
  } catch (const status_error& known) {
    if (known.status() >= server_error) report(options, asked, error);
    return refusal(known.status(), known.text());
  } catch (...) {
    report(options, asked, error);
    return refusal(status_of_failure(error), {});
  }
}

response in_place_of(const response& planned, response failure) {
  constexpr std::array<std::string_view, 14> of_content{
      "Content-Type",  "Content-Encoding", "Content-Language", "Content-Location",
      "Content-Range", "Content-Digest",   "Repr-Digest",      "Content-Disposition",
      "ETag",          "Last-Modified",    "Accept-Ranges",    "Cache-Control",
      "Expires",       "Location"};
  for_each_field(planned, [&](std::string_view name, std::string_view value) {
    const bool is_of_content =
        std::any_of(of_content.begin(), of_content.end(),
                    [&](std::string_view each) { return equals_without_case(each, name); });
    if (!is_of_content) failure.add(name, value);
  });
  return failure;
}

void write_log(access_log& to, const endpoint& peer, const request_head* head, int status,
               std::uint64_t body_size) {
  exchange_record record;
  record.peer = peer.is_ip() ? &peer : nullptr;
  record.head = head;
  record.time = http_time(std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::nanoseconds(loop::current().kernel().wall_now())));
  record.status = status;
  record.body_size = body_size;
  to.add(record);
}

std::string_view chunk_head(std::size_t size, char (&memory)[20]) noexcept {
  char* const end = std::to_chars(memory, memory + sizeof(memory) - 2, size, 16).ptr;
  end[0] = '\r';
  end[1] = '\n';
  return {memory, static_cast<std::size_t>(end + 2 - memory)};
}

}  // namespace rill::http::detail
