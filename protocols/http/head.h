// The head of an HTTP/1 message: start line and fields, as views into the bytes that were read.
// Incremental and bounded; the same input gives the same answer however it is cut. Strict where
// leniency would let two readers see different messages (RFC 9112 section 11).
//   rill::http::request_head head;
//   switch (head.parse(bytes_so_far)) { ... }   // all bytes since the head's beginning, each time
// Not here: bodies (body.h), connections (server.h).
// Read next: head.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <rill/protocols/http/error.h>

namespace rill::http {

/// What a head may take.
struct head_limits {
  /// Bytes of the first line: 414 beyond. RFC 9112 section 3 wants 8,000 at least.
  std::size_t start_line_size_max = 16 * 1024;
  /// Bytes of the whole head: 431 beyond. Browsers send up to about 10 KiB of cookies.
  std::size_t head_size_max = 64 * 1024;
  /// Fields: 431 beyond. Each costs 16 bytes while the message is handled.
  std::size_t field_count_max = 128;
};

/// What parse() has found out.
enum class parse_state : std::uint8_t {
  incomplete,  ///< more bytes are needed
  complete,    ///< the head ends within the bytes given; see size()
  failed       ///< it is no message; see error()
};

/// How the end of a body is known (RFC 9112 section 6.3).
enum class body_framing : std::uint8_t {
  none,    ///< there is no body
  length,  ///< Content-Length
  chunked,
  until_close  ///< responses only: all that comes
};

/// A field of a head, as views into its bytes.
struct field {
  std::string_view name;   ///< as it was sent; names are compared without case
  std::string_view value;  ///< without the blanks around it
};

/// What requests and responses have in common. Views refer to the bytes last given to parse() or
/// rebase(), and become invalid with them.
class message_head {
 public:
  /// Bytes of the head, the empty line included. Once complete.
  std::size_t size() const noexcept { return size_; }
  http_error error() const noexcept { return error_; }

  std::size_t field_count() const noexcept { return fields_.size(); }
  field field_at(std::size_t index) const noexcept;
  /// The value of the first field of this name; nullopt without one.
  std::optional<std::string_view> find(std::string_view name) const noexcept;
  /// How many fields have this name.
  std::size_t count(std::string_view name) const noexcept;
  /// True if one of the fields of this name holds `element` in its list, without case:
  /// has_element("Connection", "close").
  bool has_element(std::string_view name, std::string_view element) const noexcept;

  /// 0 or 1: HTTP/1.0 or HTTP/1.1; higher minor versions count as 1.
  int minor_version() const noexcept { return minor_version_; }
  body_framing framing() const noexcept { return framing_; }
  /// Of the body; 0 unless framing() is length.
  std::uint64_t content_length() const noexcept { return content_length_; }
  /// The connection may carry another message after this one (RFC 9112 section 9.3).
  bool keeps_alive() const noexcept { return keeps_alive_; }

  /// The same bytes lie at `base` now: they were moved or copied.
  void rebase(const char* base) noexcept { base_ = base; }

 protected:
  /// Where a piece of text lies in the head.
  struct place {
    std::uint32_t at = 0;
    std::uint32_t size = 0;
  };
  /// Where a field lies.
  struct field_place {
    place name;
    place value;
  };

  message_head(const head_limits& limits, bool takes_bare_line_feed) noexcept
      : limits_(limits), takes_bare_line_feed_(takes_bare_line_feed) {}
  ~message_head() = default;
  message_head(const message_head&) = default;
  message_head& operator=(const message_head&) = default;

  std::string_view text(place of) const noexcept { return {base_ + of.at, of.size}; }
  void reset() noexcept;
  /// One line after the other until the empty one; `start_line` takes the first.
  template <class StartLine>
  parse_state parse_lines(std::string_view bytes, StartLine start_line);
  parse_state fail(http_error error) noexcept;
  bool parse_field(place line);
  bool parse_version(std::string_view text) noexcept;
  /// Connection, and unless `ignores_length` Content-Length and Transfer-Encoding, of all fields.
  bool read_framing(bool ignores_length) noexcept;

  head_limits limits_;
  const char* base_ = nullptr;
  std::vector<field_place> fields_;
  std::size_t size_ = 0;
  std::uint64_t content_length_ = 0;
  http_error error_ = http_error::incomplete;
  parse_state state_ = parse_state::incomplete;
  body_framing framing_ = body_framing::none;
  int minor_version_ = 1;
  bool keeps_alive_ = true;
  bool has_length_ = false;
  bool takes_bare_line_feed_;

 private:
  bool read_length(std::string_view value) noexcept;
  bool read_coding(std::string_view value) noexcept;

  std::size_t line_begin_ = 0;
  std::size_t searched_ = 0;
  bool has_start_line_ = false;
};

enum class target_form : std::uint8_t { origin, absolute, authority, asterisk };

/// A request's head (RFC 9112 section 3).
class request_head : public message_head {
 public:
  explicit request_head(const head_limits& limits = head_limits()) noexcept
      : message_head(limits, false) {}

  /// `bytes`: everything since the end of the message before, each time more of it. After
  /// `failed` the answer stays. Cost: each byte is looked at once or twice, in vectors; no
  /// allocation but for the table of fields, which the next head uses again.
  parse_state parse(std::string_view bytes);
  /// For the next request.
  void clear() noexcept;
  /// REQUIRES: nothing has been parsed since clear().
  void set_limits(const head_limits& limits) noexcept { limits_ = limits; }

  std::string_view method() const noexcept { return text(method_); }
  /// As it was sent.
  std::string_view target() const noexcept { return text(target_); }
  target_form form() const noexcept { return form_; }
  /// The path of the target, still encoded; "/" for an absolute target without one, "*" for the
  /// asterisk, empty for an authority.
  std::string_view path() const noexcept;
  /// What follows the "?" of the target, still encoded.
  std::string_view query() const noexcept;
  /// Host and port: of an absolute target, or of the field. Empty with HTTP/1.0 without Host.
  std::string_view authority() const noexcept { return text(authority_); }
  /// The client waits for "100 Continue" before it sends the body (RFC 9110 section 10.1.1).
  bool expects_continue() const noexcept { return expects_continue_; }

 private:
  bool parse_start_line(place line);
  bool parse_target();
  bool read_expectations(std::string_view list) noexcept;
  bool finish();

  place method_;
  place target_;
  place path_;
  place query_;
  place authority_;
  target_form form_ = target_form::origin;
  bool expects_continue_ = false;
};

/// A response's head (RFC 9112 section 4). Lines may end without CR, as some servers send them.
class response_head : public message_head {
 public:
  explicit response_head(const head_limits& limits = head_limits()) noexcept
      : message_head(limits, true) {}

  /// As request_head::parse. `method` is that of the request, which decides whether there is a
  /// body. An interim response (1xx) is a head of its own.
  parse_state parse(std::string_view bytes, std::string_view method);
  void clear() noexcept { reset(); }

  int status() const noexcept { return status_; }
  std::string_view reason() const noexcept { return text(reason_); }
  bool is_interim() const noexcept { return status_ < 200 && status_ != 101; }

 private:
  bool parse_start_line(place line);
  bool finish(std::string_view method);

  int status_ = 0;
  place reason_;
};

/// Without regard to the case of ASCII letters.
bool equals_without_case(std::string_view left, std::string_view right) noexcept;

}  // namespace rill::http
