// Writing a message: its fields, its parts, and files between them. See message.h.
#include <rill/protocols/smtp/message.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <span>
#include <stdexcept>

#include <rill/protocols/smtp/encoding.h>
#include <rill/runtime/file.h>
#include <rill/runtime/loop.h>

namespace rill::mail {
namespace {

/// A multiple of 57, of which a line of base64 is made.
constexpr std::size_t read_size = 57 * 864;

void require(bool holds, const char* why) {
  if (!holds) throw std::invalid_argument(why);
}

void require_text(std::string_view text) {
  const bool is_sound = is_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
                          return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f;
                        });
  require(is_sound, "a control, line end or bad UTF-8 in a field of a message");
}

bool is_token(std::string_view text) {
  constexpr std::string_view special = "()<>@,;:\\\"/[]?=";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return c > ' ' && c <= '~' && special.find(c) == std::string_view::npos;
  });
}

void require_type(std::string_view text) {
  const std::size_t slash = text.find('/');
  require(slash != std::string_view::npos && is_token(text.substr(0, slash)) &&
              is_token(text.substr(slash + 1)),
          "not a media type");
}

void require_id(std::string_view text) {
  const bool is_sound = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c <= '~' && c != '<' && c != '>' && c != '(' && c != ')';
  });
  constexpr std::size_t size_max = 200;
  require(is_sound && text.size() <= size_max, "not an id of a message or part");
}

std::string_view last_part(std::string_view path) { return path.substr(path.rfind('/') + 1); }

/// 128 bits of the kernel's random numbers.
std::string random_word() {
  constexpr std::string_view digits = "0123456789abcdefghijklmnopqrstuv";
  std::array<std::byte, 26> bytes{};
  loop::current().kernel().random(bytes);
  std::string text;
  for (const std::byte each : bytes) text += digits[std::to_integer<std::size_t>(each) & 0x1fU];
  return text;
}

/// "Sun, 06 Nov 1994 08:49:37 +0000" (RFC 5322 section 3.3).
std::string date_text(std::chrono::sys_seconds when) {
  constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto day = std::chrono::floor<std::chrono::days>(when);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(when - day);
  char text[64];
  std::snprintf(text, sizeof(text), "%s, %02u %s %04d %02d:%02d:%02d +0000",
                days[std::chrono::weekday(day).c_encoding()], static_cast<unsigned>(date.day()),
                months[static_cast<unsigned>(date.month()) - 1], static_cast<int>(date.year()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()));
  return text;
}

/// Bytes of what append_base64_lines makes of so many.
std::uint64_t base64_size(std::uint64_t size) { return (size + 2) / 3 * 4 + (size + 56) / 57 * 2; }

}  // namespace

// ---------------------------------------------------------------- setters

message& message::from(const mailbox& who) {
  from_.push_back(who);
  return *this;
}
message& message::to(const mailbox& who) {
  to_.push_back(who);
  return *this;
}
message& message::cc(const mailbox& who) {
  cc_.push_back(who);
  return *this;
}
message& message::bcc(const mailbox& who) {
  bcc_.push_back(who);
  return *this;
}
message& message::reply_to(const mailbox& who) {
  reply_to_.push_back(who);
  return *this;
}
message& message::subject(std::string_view text) {
  require_text(text);
  subject_ = text;
  return *this;
}
message& message::text(std::string_view body) {
  require(is_utf8(body), "a text that is not UTF-8");
  text_ = body;
  return *this;
}
message& message::html(std::string_view body) {
  require(is_utf8(body), "a text that is not UTF-8");
  html_ = body;
  return *this;
}
message& message::date(std::chrono::sys_seconds when) {
  date_ = when;
  return *this;
}
message& message::id(std::string_view text) {
  require_id(text);
  id_ = text;
  return *this;
}

message& message::field(std::string_view name, std::string_view value) {
  require(is_token(name) && name.size() <= 60, "not a name of a field");
  require_text(value);
  std::string lower(name);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  constexpr std::string_view own[] = {"from", "to",      "cc",         "bcc",         "reply-to",
                                      "date", "subject", "message-id", "mime-version"};
  const bool is_own = std::find(std::begin(own), std::end(own), lower) != std::end(own);
  require(!is_own && !lower.starts_with("content-"), "a field that has a setter of its own");
  fields_.emplace_back(name, value);
  return *this;
}

message& message::attach(std::string_view name, std::string_view type, std::string bytes) {
  require_text(name);
  require_type(type);
  attachment& made = attached_.emplace_back();
  made.name = name;
  made.type = type;
  made.bytes = std::move(bytes);
  return *this;
}

message& message::attach_file(std::string path, std::string_view name, std::string_view type) {
  const std::string shown(name.empty() ? last_part(path) : name);
  const std::string what(type.empty() ? type_of(shown) : type);
  require(!path.empty(), "no path of a file");
  attach(shown, what, {});
  attached_.back().path = std::move(path);
  return *this;
}

message& message::inline_image(std::string_view content_id, std::string_view type,
                               std::string bytes) {
  require_id(content_id);
  require_type(type);
  attachment& made = inline_.emplace_back();
  made.type = type;
  made.content_id = content_id;
  made.bytes = std::move(bytes);
  return *this;
}

message& message::inline_file(std::string path, std::string_view content_id,
                              std::string_view type) {
  const std::string what(type.empty() ? type_of(path) : type);
  require(!path.empty(), "no path of a file");
  inline_image(content_id, what, {});
  inline_.back().path = std::move(path);
  return *this;
}

smtp::envelope message::envelope() const {
  require(!from_.empty(), "a message without a sender");
  smtp::envelope made(from_.front().address());
  for (const auto* list : {&to_, &cc_, &bcc_}) {
    for (const mailbox& each : *list) made.add(each.address());
  }
  require(!made.to().empty(), "a message to nobody");
  return made;
}

// ---------------------------------------------------------------- what is sent

/// Text, and the files that stand between two pieces of it.
class message::source final : public smtp::content_source {
 public:
  struct piece {
    std::string text;
    const attachment* what = nullptr;  // a file behind the text
    std::uint64_t size = 0;            // of the file
  };

  source(std::vector<piece> pieces, bool needs_utf8)
      : pieces_(std::move(pieces)), needs_utf8_(needs_utf8) {
    for (const piece& each : pieces_) size_ += each.text.size() + base64_size(each.size);
  }

  task<std::string_view> read_some() override {
    while (next_ < pieces_.size()) {
      piece& now = pieces_[next_];
      if (!is_in_file_) {
        is_in_file_ = true;
        if (!now.text.empty()) co_return now.text;
      }
      if (now.what == nullptr) {
        end_piece();
        continue;
      }
      if (!file_) {
        file_.emplace(co_await file::open(now.what->path));
        offset_ = 0;
      }
      std::string bytes(read_size, '\0');
      const auto room = std::as_writable_bytes(std::span<char>(bytes));
      const std::size_t came = co_await file_->read_all_at(room, offset_);
      offset_ += came;
      if (offset_ > now.size || (came < read_size && offset_ != now.size)) {
        throw io_error(std::make_error_code(std::errc::io_error), "read a file that changes",
                       now.what->path);
      }
      if (came < read_size) end_piece();
      if (came == 0) continue;
      lines_.clear();
      append_base64_lines(lines_, std::string_view(bytes).substr(0, came));
      co_return lines_;
    }
    co_return std::string_view();
  }
  std::optional<std::uint64_t> size() const override { return size_; }
  bool has_high_bytes() const override { return needs_utf8_; }
  bool needs_utf8() const override { return needs_utf8_; }

 private:
  void end_piece() {
    file_.reset();
    is_in_file_ = false;
    ++next_;
  }

  std::vector<piece> pieces_;
  bool needs_utf8_;
  std::uint64_t size_ = 0;
  std::size_t next_ = 0;
  bool is_in_file_ = false;  // the text of the piece was given out
  std::optional<file> file_;
  std::uint64_t offset_ = 0;
  std::string lines_;
};

class message::writer {
 public:
  explicit writer(const message& of) noexcept : of_(&of) { pieces_.emplace_back(); }

  task<> write() {
    write_fields();
    co_await write_mixed();
    if (!text().ends_with("\r\n")) text() += "\r\n";
  }
  std::vector<source::piece> take() { return std::move(pieces_); }

 private:
  std::string& text() { return pieces_.back().text; }
  void add_mailboxes(std::string_view name, const std::vector<mailbox>& list) {
    std::string value;
    for (const mailbox& each : list) {
      if (!value.empty()) value += ", ";
      if (each.name().empty()) {
        value += each.address();
      } else {
        value.append(encode_phrase(each.name())).append(" <").append(each.address()).append(">");
      }
    }
    if (!list.empty()) text() += fold_field(name, value);
  }

  void write_fields() {
    const auto now =
        std::chrono::floor<std::chrono::seconds>(std::chrono::sys_time<std::chrono::nanoseconds>(
            std::chrono::nanoseconds(loop::current().kernel().wall_now())));
    text() += fold_field("Date", date_text(of_->date_.value_or(now)));
    add_mailboxes("From", of_->from_);
    // RFC 5322 section 3.6.2.
    if (of_->from_.size() > 1) add_mailboxes("Sender", {of_->from_.front()});
    add_mailboxes("Reply-To", of_->reply_to_);
    add_mailboxes("To", of_->to_);
    add_mailboxes("Cc", of_->cc_);
    std::string id = of_->id_;
    if (id.empty()) {
      const std::string_view domain =
          of_->from_.empty() ? std::string_view() : domain_of(of_->from_.front().address());
      id = random_word() + '@' +
           std::string(domain.empty() || has_high_bytes(domain) ? "localhost" : domain);
    }
    text() += fold_field("Message-ID", '<' + id + '>');
    if (of_->subject_) text() += fold_field("Subject", encode_text(*of_->subject_));
    for (const auto& [name, value] : of_->fields_) text() += fold_field(name, encode_text(value));
    text() += "MIME-Version: 1.0\r\n";
  }

  /// With the first part begun. Gives the boundary.
  std::string begin_multipart(std::string_view kind) {
    const std::string boundary = "=_" + random_word();  // "=_" stands in no encoded body
    text().append("Content-Type: multipart/").append(kind).append(";\r\n boundary=\"");
    text().append(boundary).append("\"\r\n\r\n--").append(boundary).append("\r\n");
    return boundary;
  }
  // The line end before a boundary belongs to it, not to the part (RFC 2046 section 5.1.1).
  void next_part(const std::string& boundary) { text() += "\r\n--" + boundary + "\r\n"; }
  void end_multipart(const std::string& boundary) { text() += "\r\n--" + boundary + "--\r\n"; }

  void write_text(std::string_view kind, std::string_view body) {
    text().append("Content-Type: text/").append(kind).append("; charset=utf-8\r\n");
    text() += "Content-Transfer-Encoding: quoted-printable\r\n\r\n";
    text() += to_quoted_printable(body);
  }

  task<> write_file(const attachment& what) {
    text().append("Content-Type: ").append(what.type);
    if (!what.name.empty()) text() += encode_parameter("name", what.name);
    text() += "\r\nContent-Transfer-Encoding: base64\r\n";
    text()
        .append("Content-Disposition: ")
        .append(what.content_id.empty() ? "attachment" : "inline");
    if (!what.name.empty()) text() += encode_parameter("filename", what.name);
    text() += "\r\n";
    if (!what.content_id.empty()) text() += "Content-ID: <" + what.content_id + ">\r\n";
    text() += "\r\n";
    if (what.path.empty()) {
      append_base64_lines(text(), what.bytes);
      co_return;
    }
    file from = co_await file::open(what.path);
    const file_status status = co_await from.stat();
    if (status.kind != file_kind::regular) {
      throw io_error(std::make_error_code(std::errc::invalid_argument), "attach", what.path);
    }
    pieces_.back().what = &what;
    pieces_.back().size = status.size;
    pieces_.emplace_back();
    co_await from.close();
  }

  task<> write_mixed() {
    if (of_->attached_.empty()) {
      co_await write_related();
      co_return;
    }
    const std::string boundary = begin_multipart("mixed");
    co_await write_related();
    for (const attachment& each : of_->attached_) {
      next_part(boundary);
      co_await write_file(each);
    }
    end_multipart(boundary);
  }

  /// Plain text and HTML beside each other, the best last; images belong to the HTML.
  task<> write_related() {
    const bool has_both = of_->text_ && of_->html_;
    if (!of_->html_) {
      write_text("plain", of_->text_.value_or(""));
      co_return;
    }
    std::string both;
    if (has_both) {
      both = begin_multipart("alternative");
      write_text("plain", *of_->text_);
      next_part(both);
    }
    if (of_->inline_.empty()) {
      write_text("html", *of_->html_);
    } else {
      const std::string related = begin_multipart("related");
      write_text("html", *of_->html_);
      for (const attachment& each : of_->inline_) {
        next_part(related);
        co_await write_file(each);
      }
      end_multipart(related);
    }
    if (has_both) end_multipart(both);
  }

  const message* of_;
  std::vector<source::piece> pieces_;
};

task<std::unique_ptr<smtp::content_source>> message::open() const {
  require(!from_.empty(), "a message without a sender");
  require(inline_.empty() || html_, "an inline image without HTML");
  writer out(*this);
  co_await out.write();
  bool needs_utf8 = false;
  for (const auto* list : {&from_, &to_, &cc_, &reply_to_}) {
    for (const mailbox& each : *list) needs_utf8 = needs_utf8 || has_high_bytes(each.address());
  }
  co_return std::make_unique<source>(out.take(), needs_utf8);
}

std::string_view type_of(std::string_view file_name) noexcept {
  constexpr std::pair<std::string_view, std::string_view> known[] = {
      {".txt", "text/plain"},
      {".html", "text/html"},
      {".csv", "text/csv"},
      {".pdf", "application/pdf"},
      {".json", "application/json"},
      {".zip", "application/zip"},
      {".gz", "application/gzip"},
      {".xml", "application/xml"},
      {".png", "image/png"},
      {".jpg", "image/jpeg"},
      {".jpeg", "image/jpeg"},
      {".gif", "image/gif"},
      {".svg", "image/svg+xml"},
      {".webp", "image/webp"},
      {".mp3", "audio/mpeg"},
      {".mp4", "video/mp4"},
      {".eml", "application/octet-stream"}};
  for (const auto& [ending, type] : known) {
    if (file_name.ends_with(ending)) return type;
  }
  return "application/octet-stream";
}

}  // namespace rill::mail
