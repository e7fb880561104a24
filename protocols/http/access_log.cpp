// Lines of the access log, and their way to the disk. See access_log.h.
#include <rill/protocols/http/access_log.h>

#include <algorithm>
#include <optional>
#include <span>

#include <rill/net/text.h>
#include <rill/protocols/http/auth.h>
#include <rill/runtime/timeout.h>

namespace rill::http {
namespace {

/// So that no byte of a stranger's ends a field or the line. `also` is escaped too.
void append_safe(std::string& line, std::string_view text, char also) {
  constexpr std::size_t size_max = 2048;
  for (const char c : text.substr(0, size_max)) {
    const bool is_plain = c >= ' ' && c < '\x7f' && c != '"' && c != '\\' && c != also;
    if (is_plain) {
      line += c;
    } else {
      rill::detail::append_escaped(line, c);
    }
  }
  if (text.size() > size_max) line += "...";
}

void append_quoted(std::string& line, std::optional<std::string_view> text) {
  line += " \"";
  append_safe(line, text.value_or("-"), '"');
  line += '"';
}

std::string peer_of(const endpoint* peer) {
  if (peer == nullptr) return "-";
  const auto ip = peer->ip();
  return ip ? ip->address().to_string() : "unix";
}

std::string user_of(const request_head* head) {
  if (head == nullptr) return "-";
  const auto given = parse_basic(head->find("Authorization").value_or(""));
  return given && !given->user.empty() ? given->user : "-";
}

/// "06/Nov/1994:08:49:37 +0000", made of "Sun, 06 Nov 1994 08:49:37 GMT".
void append_time(std::string& line, http_time time) {
  const date_text written(time);
  const std::string_view date = written;
  line.append(date.substr(5, 2)).append("/").append(date.substr(8, 3)).append("/");
  line.append(date.substr(12, 4)).append(":").append(date.substr(17, 8)).append(" +0000");
}

}  // namespace

std::string log_line(const exchange_record& of) {
  std::string line = peer_of(of.peer) + " - ";
  append_safe(line, user_of(of.head), ' ');
  line += " [";
  append_time(line, of.time);
  line += "] \"";
  if (of.head == nullptr) {
    line += '-';
  } else {
    append_safe(line, of.head->method(), '"');
    line += ' ';
    append_safe(line, of.head->target(), '"');
    line += of.head->minor_version() == 0 ? " HTTP/1.0" : " HTTP/1.1";
  }
  line += "\" " + std::to_string(of.status) + ' ' + std::to_string(of.body_size);
  append_quoted(line, of.head == nullptr ? std::nullopt : of.head->find("Referer"));
  append_quoted(line, of.head == nullptr ? std::nullopt : of.head->find("User-Agent"));
  return line + '\n';
}

void access_log::add_line(std::string_view line) {
  if (line.size() >
      limits_.pending_size_max - std::min(limits_.pending_size_max, pending_.size())) {
    ++lost_count_;
    return;
  }
  pending_ += line;
  has_lines_.set();
  if (pending_.size() >= limits_.batch_size) has_batch_.set();
}

void access_log::stop() noexcept {
  is_stopping_ = true;
  has_lines_.set();
  has_batch_.set();
}

task<> access_log::run() {
  std::string batch;
  for (;;) {
    co_await has_lines_.wait();
    try {
      if (!is_stopping_) co_await with_timeout(limits_.delay, has_batch_.wait());
    } catch (const timeout_error&) {
      // Few lines in that time: a small batch.
    }
    if (pending_.empty() && is_stopping_) co_return;
    batch.clear();
    batch.swap(pending_);
    if (!is_stopping_) {
      has_lines_.reset();
      has_batch_.reset();
    }
    co_await write(batch);
  }
}

task<> access_log::write(std::string_view batch) {
  try {
    co_await to_.write_all_at(std::as_bytes(std::span<const char>(batch)), 0);
  } catch (const io_error&) {
    lost_count_ += static_cast<std::uint64_t>(std::count(batch.begin(), batch.end(), '\n'));
  }
}

}  // namespace rill::http
