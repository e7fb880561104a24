// What a client wants of a content coding such as gzip: encoded bytes in, decoded ones out.
#pragma once

#include <string>
#include <string_view>
#include <system_error>

namespace rill::http {

class content_decoder {
 public:
  content_decoder() = default;
  content_decoder(const content_decoder&) = delete;
  content_decoder& operator=(const content_decoder&) = delete;
  virtual ~content_decoder() = default;

  /// Takes all of `bytes` and adds to `out` what they decode to. An error lasts: the bytes are no
  /// such encoding, or become too much (a bomb).
  virtual std::error_code decode(std::string_view bytes, std::string& out) = 0;
  /// The encoded bytes ended where they may.
  virtual bool is_complete() const noexcept = 0;
};

}  // namespace rill::http
