// Middleware that compresses the bodies of answers for clients that take it.
//   routes.use(http::compressed());
// Not here: the codings (coding.h), files that are there compressed (files.h).
// Read next: compress.cpp.
#pragma once

#include <cstddef>
#include <type_traits>

#include <rill/protocols/http/router.h>

namespace rill::http {

/// Which answers are compressed, and how hard.
struct compress_options {
  /// Smaller bodies go as they are: the saving would not pay for the fields. Bodies that are
  /// produced piece by piece have no size, and are compressed.
  std::size_t size_min = 1024;
  /// 1 (fast) to 9 (small). At 5 both take 12 to 18 ns a byte of text, and br is smaller by 5 %.
  int gzip_level = 5;
  int brotli_level = 5;
  /// br is offered beside gzip, and first.
  bool offers_brotli = true;
};
static_assert(std::is_trivially_destructible_v<compress_options>);

/// By Accept-Encoding with its weights (RFC 9110 section 12.5.3). Text, JSON, JavaScript, XML, SVG,
/// WebAssembly and fonts are compressed. Not touched: answers that have a Content-Encoding already
/// or Cache-Control: no-transform, parts (206), and those without a body.
///
/// The answer gets Vary: Accept-Encoding, also where it stays plain; a strong ETag becomes weak, as
/// the bytes differ now (RFC 9110 section 8.8.1).
/// What a producer flushes can be read by the client at once, so server-sent events arrive; each
///   flush costs some bytes.
/// Cost: bodies beyond 64 KiB are compressed and sent in slices of that, between which other tasks
///   run: about 1 ms of work in a turn at the default levels. Memory as content_encoder.
/// A stream that stays open for hours holds its encoder as long: give it no-transform where there
///   are thousands.
/// Beware: a page that shows a secret beside what a stranger may choose tells its length, and so
///   the secret, bit by bit (BREACH). Answer those without this middleware, or no-transform.
middleware compressed(compress_options options = compress_options());

}  // namespace rill::http
