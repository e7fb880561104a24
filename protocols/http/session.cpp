// What of a session depends on no stream. See session.h.
#include <rill/protocols/http/session.h>

#include <charconv>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <system_error>

#include <rill/protocols/http/date.h>
#include <rill/protocols/http/status.h>

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

}  // namespace

void append_head(std::string& to, const response& of, const request_head& asked,
                 const response_framing& framing, std::int64_t wall_now) {
  to.append("HTTP/1.1 ");
  append_number(to, static_cast<unsigned>(of.status()));
  to.append(" ").append(reason_of(of.status())).append("\r\n");
  to.append(date_line(wall_now));
  if (!framing.keeps_alive) {
    to.append("Connection: close\r\n");
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

response refusal(http_error error) {
  return refusal(status_of(error), make_error_code(error).message() + '\n');
}

response refusal(int status, std::string_view text) {
  return response(status, text.empty() ? std::string(reason_of(status)) + '\n' : std::string(text),
                  "text/plain; charset=utf-8");
}

int status_of_failure(const std::exception_ptr& failure) noexcept {
  constexpr int internal_server_error = 500;
  constexpr int service_unavailable = 503;
  try {
    std::rethrow_exception(failure);
  } catch (const std::bad_alloc&) {
    return service_unavailable;
  } catch (const std::system_error& error) {
    for (const std::errc each :
         {std::errc::too_many_files_open, std::errc::too_many_files_open_in_system,
          std::errc::not_enough_memory, std::errc::no_buffer_space,
          std::errc::resource_unavailable_try_again}) {
      if (error.code() == each) return service_unavailable;
    }
  } catch (...) {
  }
  return internal_server_error;
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

std::string_view chunk_head(std::size_t size, char (&memory)[20]) noexcept {
  char* const end = std::to_chars(memory, memory + sizeof(memory) - 2, size, 16).ptr;
  end[0] = '\r';
  end[1] = '\n';
  return {memory, static_cast<std::size_t>(end + 2 - memory)};
}

}  // namespace rill::http::detail
