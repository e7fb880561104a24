// What a file is, by the end of its name. A small table of what the web is made of; what is not in
// it is a row of bytes, which no browser guesses at (X-Content-Type-Options: nosniff).
// Read next: files.h.
#pragma once

#include <string_view>

namespace rill::http {

/// What a file is, as its name says.
struct media_kind {
  /// For Content-Type; text says charset=utf-8. "application/octet-stream" where nothing is known.
  std::string_view type;
  /// Compressed by itself: pictures, films, archives. Nobody keeps another compressed form of it.
  bool is_packed;
};

/// By the part of `name` after its last dot, whatever its case. Cost: no allocation.
media_kind media_kind_of(std::string_view name) noexcept;

}  // namespace rill::http
