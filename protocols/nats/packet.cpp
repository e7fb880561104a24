// Taking the protocol apart and putting it together. See packet.h.
#include <rill/protocols/nats/packet.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>

#include <rill/protocols/nats/subject.h>

namespace rill::nats {
namespace {

constexpr std::string_view line_end = "\r\n";

struct word {
  std::string_view text;
  packet_type type;
  bool of_server;
  bool of_client;
  bool has_headers = false;
};

constexpr word words[] = {
    {"INFO", packet_type::info, true, false},
    {"MSG", packet_type::message, true, false},
    {"HMSG", packet_type::message, true, false, true},
    {"PING", packet_type::ping, true, true},
    {"PONG", packet_type::pong, true, true},
    {"+OK", packet_type::ok, true, false},
    {"-ERR", packet_type::error, true, false},
    {"CONNECT", packet_type::connect, false, true},
    {"PUB", packet_type::publish, false, true},
    {"HPUB", packet_type::publish, false, true, true},
    {"SUB", packet_type::subscribe, false, true},
    {"UNSUB", packet_type::unsubscribe, false, true},
};

bool is_blank(char c) noexcept { return c == ' ' || c == '\t'; }
bool is_message(packet_type type) noexcept { return type == packet_type::message; }

std::string_view first_word(std::string_view line) noexcept {
  std::size_t size = 0;
  while (size < line.size() && !is_blank(line[size]) && line[size] != '\r') ++size;
  return line.substr(0, size);
}

/// The protocol's words may be written in any case.
bool is_word(std::string_view text, std::string_view upper) noexcept {
  return std::equal(text.begin(), text.end(), upper.begin(), upper.end(), [](char a, char b) {
    return (a >= 'a' && a <= 'z' ? static_cast<char>(a - 'a' + 'A') : a) == b;
  });
}

const word* find_word(std::string_view text, bool of_server) noexcept {
  for (const word& each : words) {
    if ((of_server ? each.of_server : each.of_client) && is_word(text, each.text)) return &each;
  }
  return nullptr;
}

struct arguments {
  static constexpr std::size_t count_max = 5;
  std::string_view of[count_max];
  std::size_t count = 0;
};

/// What stands between blanks; nullopt if there is more than any operation has.
std::optional<arguments> split(std::string_view text) noexcept {
  arguments made;
  std::size_t at = 0;
  for (;;) {
    while (at < text.size() && is_blank(text[at])) ++at;
    if (at == text.size()) return made;
    if (made.count == arguments::count_max) return std::nullopt;
    const std::size_t begin = at;
    while (at < text.size() && !is_blank(text[at])) ++at;
    made.of[made.count++] = text.substr(begin, at - begin);
  }
}

std::optional<std::uint64_t> number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (status != std::errc() || rest != end) return std::nullopt;
  return value;
}

bool has_control(std::string_view text) noexcept {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f;
  });
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_sid(std::string_view text) noexcept {
  constexpr std::size_t size_max = 64;
  return !text.empty() && text.size() <= size_max;
}

std::string_view unquoted(std::string_view text) noexcept {
  if (text.size() >= 2 && text.front() == '\'' && text.back() == '\'') {
    text.remove_prefix(1);
    text.remove_suffix(1);
  }
  return text;
}

bool read_subscribe(const arguments& given, packet& read) noexcept {
  if (given.count < 2 || given.count > 3) return false;
  read.subject = given.of[0];
  read.queue = given.count == 3 ? given.of[1] : std::string_view();
  read.sid = given.of[given.count - 1];
  return is_pattern(read.subject) && is_sid(read.sid);
}

bool read_unsubscribe(const arguments& given, packet& read) noexcept {
  if (given.count < 1 || given.count > 2) return false;
  read.sid = given.of[0];
  if (given.count == 2) {
    const auto count = number(given.of[1]);
    if (!count) return false;
    read.max_count = *count;
  }
  return is_sid(read.sid);
}

}  // namespace

void packet_reader::append(std::string_view bytes) {
  if (begin_ != 0) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  buffer_ += bytes;
}

packet_state packet_reader::fail(nats_error why) noexcept {
  failed_ = true;
  error_ = why;
  return packet_state::failed;
}

packet_state packet_reader::next(packet& read) {
  if (failed_) return packet_state::failed;
  const std::string_view text = std::string_view(buffer_).substr(begin_);
  if (line_size_ != 0) {
    read = packet();
    return read_line(text.substr(0, line_size_ - line_end.size()), read);
  }
  const std::string_view start = first_word(text);
  const word* const found = find_word(start, from_ == sender::server);
  const std::size_t size_max = line_size_max(found == nullptr ? packet_type::ping : found->type);
  const std::size_t end = text.find('\n', searched_);
  if (end == text.npos) {
    searched_ = text.size();
    // One more may be the CR.
    if (text.size() > size_max + 1) return fail(nats_error::control_line_too_long);
    return packet_state::incomplete;
  }
  if (end > size_max + 1) return fail(nats_error::control_line_too_long);
  if (end == 0 || text[end - 1] != '\r') return fail(nats_error::bad_line);
  read = packet();
  return read_line(text.substr(0, end - 1), read);
}

std::size_t packet_reader::line_size_max(packet_type type) const noexcept {
  switch (type) {
    case packet_type::info:
    case packet_type::connect:
      return limits_.info_size_max;
    case packet_type::message:
      return limits_.message_line_size_max;
    default:
      return limits_.control_line_size_max;
  }
}

packet_state packet_reader::read_line(std::string_view line, packet& read) {
  const std::string_view start = first_word(line);
  const word* const found = find_word(start, from_ == sender::server);
  // Controls in a subject are its publisher's affair, and no reason to be cut off.
  const bool is_broken = found != nullptr && is_message(found->type) ? line.find('\r') != line.npos
                                                                     : has_control(line);
  if (is_broken) return fail(nats_error::bad_line);
  if (found == nullptr) return fail(nats_error::unknown_operation);
  read.type = found->type;
  const std::string_view rest = line.substr(start.size());
  switch (read.type) {
    case packet_type::publish:
    case packet_type::message:
      line_size_ = line.size() + line_end.size();
      return read_with_payload(read, rest, found->has_headers);
    case packet_type::info:
    case packet_type::connect:
      read.text = trimmed(rest);
      if (read.text.empty()) return fail(nats_error::bad_arguments);
      break;
    case packet_type::error:
      read.text = unquoted(trimmed(rest));
      break;
    case packet_type::subscribe:
    case packet_type::unsubscribe: {
      const auto given = split(rest);
      const bool is_right =
          given && (read.type == packet_type::subscribe ? read_subscribe(*given, read)
                                                        : read_unsubscribe(*given, read));
      if (!is_right) return fail(nats_error::bad_arguments);
      break;
    }
    case packet_type::ping:
    case packet_type::pong:
    case packet_type::ok:
      if (!trimmed(rest).empty()) return fail(nats_error::bad_arguments);
      break;
  }
  begin_ += line.size() + line_end.size();
  searched_ = 0;
  return packet_state::complete;
}

/// MSG subject sid [reply] size; HMSG ... header_size size; PUB subject [reply] size; HPUB.
packet_state packet_reader::read_with_payload(packet& read, std::string_view rest,
                                              bool has_headers) {
  const auto given = split(rest);
  const std::size_t before = read.type == packet_type::message ? 2 : 1;
  const std::size_t sizes = has_headers ? 2 : 1;
  if (!given || given->count < before + sizes || given->count > before + sizes + 1) {
    return fail(nats_error::bad_arguments);
  }
  read.subject = given->of[0];
  if (before == 2) read.sid = given->of[1];
  if (given->count == before + sizes + 1) read.reply = given->of[before];
  const auto total = number(given->of[given->count - 1]);
  const auto headers = has_headers ? number(given->of[given->count - 2]) : std::uint64_t{0};
  if (!total || !headers || *headers > *total) return fail(nats_error::bad_arguments);
  const bool is_right = is_message(read.type) ? is_sid(read.sid)
                                              : is_subject(read.subject) &&
                                                    (read.reply.empty() || is_subject(read.reply));
  if (!is_right) return fail(nats_error::bad_arguments);
  has_large_headers_ = *headers > limits_.header_size_max;
  if (has_large_headers_ && !is_message(read.type)) return fail(nats_error::headers_too_large);
  if (*total > limits_.payload_size_max) return fail(nats_error::payload_too_large);
  header_size_ = static_cast<std::size_t>(*headers);
  total_size_ = static_cast<std::size_t>(*total);
  return read_payload(read);
}

packet_state packet_reader::read_payload(packet& read) {
  const std::string_view rest = std::string_view(buffer_).substr(begin_ + line_size_);
  const std::string_view after = rest.substr(std::min(total_size_, rest.size()));
  if (!line_end.starts_with(after.substr(0, line_end.size()))) {
    return fail(nats_error::bad_payload_end);
  }
  if (after.size() < line_end.size()) return packet_state::incomplete;
  read.has_large_headers = has_large_headers_;
  if (!has_large_headers_) read.headers = rest.substr(0, header_size_);
  read.payload = rest.substr(header_size_, total_size_ - header_size_);
  begin_ += line_size_ + total_size_ + line_end.size();
  line_size_ = 0;
  searched_ = 0;
  return packet_state::complete;
}

// ---------------------------------------------------------------- writing

namespace {

void append_number(std::string& to, std::uint64_t value) {
  char digits[20];
  const char* const end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  to.append(static_cast<const char*>(digits), end);
}

void append_sizes(std::string& to, std::string_view reply, std::string_view headers,
                  std::string_view payload) {
  if (!reply.empty()) to.append(reply) += ' ';
  if (!headers.empty()) {
    append_number(to, headers.size());
    to += ' ';
  }
  append_number(to, headers.size() + payload.size());
  to += line_end;
  to.append(headers).append(payload) += line_end;
}

}  // namespace

void append_info(std::string& to, std::string_view json) {
  to.append("INFO ").append(json) += line_end;
}

void append_connect(std::string& to, std::string_view json) {
  to.append("CONNECT ").append(json) += line_end;
}

void append_publish(std::string& to, std::string_view subject, std::string_view reply,
                    std::string_view headers, std::string_view payload) {
  to.append(headers.empty() ? "PUB " : "HPUB ").append(subject) += ' ';
  append_sizes(to, reply, headers, payload);
}

void append_subscribe(std::string& to, std::string_view subject, std::string_view queue,
                      std::string_view sid) {
  to.append("SUB ").append(subject) += ' ';
  if (!queue.empty()) to.append(queue) += ' ';
  to.append(sid) += line_end;
}

void append_unsubscribe(std::string& to, std::string_view sid, std::uint64_t max_count) {
  to.append("UNSUB ").append(sid);
  if (max_count != 0) {
    to += ' ';
    append_number(to, max_count);
  }
  to += line_end;
}

void append_message(std::string& to, std::string_view subject, std::string_view sid,
                    std::string_view reply, std::string_view headers, std::string_view payload) {
  to.append(headers.empty() ? "MSG " : "HMSG ").append(subject) += ' ';
  to.append(sid) += ' ';
  append_sizes(to, reply, headers, payload);
}

void append_ping(std::string& to) { to += "PING\r\n"; }
void append_pong(std::string& to) { to += "PONG\r\n"; }

void append_error(std::string& to, std::string_view reason) {
  to.append("-ERR '").append(reason) += "'\r\n";
}

std::size_t publish_size(std::string_view subject, std::string_view reply, std::size_t header_size,
                         std::size_t payload_size) noexcept {
  constexpr std::size_t words_and_numbers = 56;  // "HPUB ", blanks, two numbers, two line ends
  return words_and_numbers + subject.size() + reply.size() + header_size + payload_size;
}

}  // namespace rill::nats
