// Values of single fields: lists with qualities, ranges, entity tags, cookies.
// Each reader is total: any text gives an answer, and work is linear in its length.
// Not here: fields that decide about framing (head.h), dates (date.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rill::http {

/// The next element of a comma-separated list, without the blanks around it; a comma within a
/// quoted string is part of it. Takes it off `list`; empty elements are passed over, and nullopt
/// is the end (RFC 9110 section 5.6.1).
std::optional<std::string_view> next_element(std::string_view& list) noexcept;

/// How much a client wants `coding`, in thousandths, by its Accept-Encoding (RFC 9110 section
/// 12.5.3): 0 is not acceptable. Without the field pass nullopt: only "identity" is wanted then,
/// which is what every client can read.
int quality_of_coding(std::optional<std::string_view> accept_encoding,
                      std::string_view coding) noexcept;

/// The one of `offered`, best first, that the client wants most; "identity" if it wants none.
std::string_view choose_coding(std::optional<std::string_view> accept_encoding,
                               std::span<const std::string_view> offered) noexcept;

/// Bytes of a representation, first and last included.
struct byte_range {
  std::uint64_t first;
  std::uint64_t last;
  std::uint64_t size() const noexcept { return last - first + 1; }
  friend bool operator==(const byte_range&, const byte_range&) = default;
};

enum class range_answer : std::uint8_t {
  whole,    ///< no Range that means anything: send everything with 200
  parts,    ///< send these with 206
  refused,  ///< none of them exists: 416
};

/// What a Range field asks for.
struct range_request {
  range_answer answer = range_answer::whole;
  std::vector<byte_range> parts;
};

/// Reads Range (RFC 9110 section 14.2) for a representation of `size` bytes. Other units and
/// malformed values are passed over, as the RFC has it; so are more than 32 ranges, and ranges that
/// together are larger than the whole: nobody needs them, and they are used to overload servers
/// (RFC 9110 section 17.15).
range_request parse_range(std::string_view value, std::uint64_t size);

/// True if the list of If-Match or If-None-Match is "*" or holds `tag`, which is written with its
/// quotes. A weak comparison takes W/"x" and "x" for equal (RFC 9110 section 8.8.3.2).
bool has_entity_tag(std::string_view list, std::string_view tag, bool weak_comparison) noexcept;

/// The value of a cookie of the field Cookie (RFC 6265 section 4.2); nullopt without it. The first
/// of several, which is the one of the most specific path.
std::optional<std::string_view> find_cookie(std::string_view value, std::string_view name) noexcept;

/// "type/subtype" of Content-Type, without its parameters.
std::string_view media_type(std::string_view content_type) noexcept;
/// The value of a parameter such as charset or boundary, unquoted; nullopt without it. Names are
/// compared without case.
std::optional<std::string> media_parameter(std::string_view content_type, std::string_view name);

}  // namespace rill::http
