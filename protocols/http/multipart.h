// Forms as browsers send them with files: multipart/form-data (RFC 7578) in the framing of RFC 2046
// section 5.1. Bytes in; parts and pieces of their content out. The same input gives the same
// answer however it is cut, and memory is bounded by the limits. Not here: reading one from a
// request, files on a disk (form.h). Read next: form.h, multipart.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rill::http {

enum class multipart_error : std::uint8_t {
  bad_delimiter,     ///< something else than blanks behind a boundary
  bad_header,        ///< of a part: malformed, without a name, or what two readers read differently
  header_too_large,  ///< more than multipart_limits::header_size_max
  too_many_parts,
  part_too_large,
  too_large,
  incomplete  ///< the end came before the closing boundary
};
/// "the header of a part is malformed"
std::string_view message_of(multipart_error error) noexcept;

/// What a body of several parts may hold.
struct multipart_limits {
  std::size_t part_count_max = 1000;
  /// Bytes of one part's header fields.
  std::size_t header_size_max = 8 * 1024;
  /// Bytes of one part's content.
  std::uint64_t part_size_max = UINT64_MAX;
  /// Bytes of everything, delimiters and what stands around the parts included.
  std::uint64_t size_max = UINT64_MAX;
};

/// What a part says of itself. All of it is what a stranger wrote: any bytes but NUL, and `..`, `/`
/// or `C:\` in the name of a file. Never make a path of it.
struct part_head {
  std::string name;
  std::optional<std::string> file_name;  ///< there is one, perhaps empty, if it is a file
  std::string type = "text/plain";       ///< Content-Type
};

/// The boundary in Content-Type; nullopt if that is not multipart/form-data with a proper one: 1 to
/// 70 characters of RFC 2046 section 5.1.1.
std::optional<std::string> multipart_boundary(std::string_view content_type);

/// "--BOUNDARY", header fields and the empty line. Content and CRLF follow, then the next part.
/// Quotation marks and line ends in names are written as browsers do: %22, %0D, %0A. Throws
/// std::invalid_argument for other controls.
std::string write_part_head(std::string_view boundary, const part_head& part);
/// "--BOUNDARY--" and CRLF: behind the last part.
std::string write_multipart_end(std::string_view boundary);

/// Finds the parts in the bytes of a multipart body (RFC 7578).
class multipart_decoder {
 public:
  /// REQUIRES: a boundary as multipart_boundary() gives it.
  explicit multipart_decoder(std::string_view boundary,
                             const multipart_limits& limits = multipart_limits());

  enum class event : std::uint8_t {
    more,      ///< all that was given is used
    part,      ///< a part begins: see part()
    content,   ///< a piece of its content
    part_end,  ///< the part is whole
    failed     ///< see error()
  };
  /// One step of decode().
  struct step {
    event what = event::more;
    std::string_view content;  ///< in the bytes given or in the decoder, until the next call
    std::size_t used = 0;      ///< bytes that are done with
  };
  /// Goes on until something happens. Call it again with what is not used, until it wants more.
  step decode(std::string_view bytes);
  /// All has been given. True: it was whole. False: see error().
  bool end() noexcept;

  const part_head& part() const noexcept { return part_; }
  multipart_error error() const noexcept { return error_; }

 private:
  enum class state : std::uint8_t {
    preamble,
    delimiter,            // behind "--BOUNDARY"
    delimiter_blanks,     // transport padding (RFC 2046 section 5.1.1)
    delimiter_line_feed,  // LF
    closing,              // the second dash
    closing_blanks,
    closing_line_feed,
    epilogue,
    header,
    content,
    full,  // the content has reached its limit, and there is more of it
    failed
  };

  step next(std::string_view bytes);
  step find_delimiter(std::string_view bytes);
  step content_step(std::string_view content, std::size_t used) noexcept;
  step delimiter_step(std::size_t used) noexcept;
  step delimiter_byte(char c) noexcept;
  step header_bytes(std::string_view bytes);
  bool read_header();
  bool read_disposition(std::string_view value);
  void begin_line() noexcept;
  std::size_t match(std::string_view bytes, std::size_t from) noexcept;
  step fail(multipart_error error) noexcept;

  multipart_limits limits_;
  std::string delimiter_;  // CR LF "--BOUNDARY"
  state state_ = state::preamble;
  multipart_error error_ = multipart_error::incomplete;
  // So many bytes of the delimiter have come; those from held_ on are content if it is none.
  std::size_t matched_ = 0;
  std::size_t held_ = 0;
  std::size_t part_count_ = 0;
  std::uint64_t part_size_ = 0;
  std::uint64_t size_ = 0;
  std::string header_;
  part_head part_;
};

}  // namespace rill::http
