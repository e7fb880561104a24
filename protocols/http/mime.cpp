// The table. See mime.h.
#include <rill/protocols/http/mime.h>

#include <rill/protocols/http/head.h>

namespace rill::http {
namespace {

struct row {
  std::string_view suffix;
  media_kind kind;
};

// As registered with IANA. JSON and XML have encodings of their own, and no charset (RFC 8259
// section 11, RFC 7303 section 3).
constexpr row rows[] = {
    {"html", {"text/html; charset=utf-8", false}},
    {"css", {"text/css; charset=utf-8", false}},
    {"js", {"text/javascript; charset=utf-8", false}},
    {"json", {"application/json", false}},
    {"png", {"image/png", true}},
    {"jpg", {"image/jpeg", true}},
    {"svg", {"image/svg+xml", false}},
    {"txt", {"text/plain; charset=utf-8", false}},
    {"htm", {"text/html; charset=utf-8", false}},
    {"mjs", {"text/javascript; charset=utf-8", false}},
    {"csv", {"text/csv; charset=utf-8", false}},
    {"md", {"text/markdown; charset=utf-8", false}},
    {"log", {"text/plain; charset=utf-8", false}},
    {"vtt", {"text/vtt; charset=utf-8", false}},
    {"ics", {"text/calendar; charset=utf-8", false}},
    {"jsonld", {"application/ld+json", false}},
    {"map", {"application/json", false}},
    {"webmanifest", {"application/manifest+json", false}},
    {"xml", {"application/xml", false}},
    {"xhtml", {"application/xhtml+xml", false}},
    {"atom", {"application/atom+xml", false}},
    {"rss", {"application/rss+xml", false}},
    {"wasm", {"application/wasm", false}},
    {"pdf", {"application/pdf", true}},
    {"rtf", {"application/rtf", false}},
    {"jpeg", {"image/jpeg", true}},
    {"gif", {"image/gif", true}},
    {"webp", {"image/webp", true}},
    {"avif", {"image/avif", true}},
    {"apng", {"image/apng", true}},
    {"ico", {"image/vnd.microsoft.icon", false}},
    {"bmp", {"image/bmp", false}},
    {"tif", {"image/tiff", false}},
    {"tiff", {"image/tiff", false}},
    {"woff", {"font/woff", true}},
    {"woff2", {"font/woff2", true}},
    {"ttf", {"font/ttf", false}},
    {"otf", {"font/otf", false}},
    {"mp3", {"audio/mpeg", true}},
    {"m4a", {"audio/mp4", true}},
    {"ogg", {"audio/ogg", true}},
    {"oga", {"audio/ogg", true}},
    {"opus", {"audio/ogg", true}},
    {"flac", {"audio/flac", true}},
    {"wav", {"audio/vnd.wave", false}},
    {"mp4", {"video/mp4", true}},
    {"m4v", {"video/mp4", true}},
    {"webm", {"video/webm", true}},
    {"ogv", {"video/ogg", true}},
    {"mov", {"video/quicktime", true}},
    {"gz", {"application/gzip", true}},
    {"tgz", {"application/gzip", true}},
    {"br", {"application/octet-stream", true}},
    {"bz2", {"application/x-bzip2", true}},
    {"xz", {"application/x-xz", true}},
    {"zst", {"application/zstd", true}},
    {"zip", {"application/zip", true}},
    {"7z", {"application/x-7z-compressed", true}},
    {"tar", {"application/x-tar", false}},
    {"deb", {"application/vnd.debian.binary-package", true}},
    {"epub", {"application/epub+zip", true}},
};

}  // namespace

media_kind media_kind_of(std::string_view name) noexcept {
  const std::size_t dot = name.rfind('.');
  if (dot != name.npos) {
    const std::string_view suffix = name.substr(dot + 1);
    for (const row& each : rows) {
      if (equals_without_case(suffix, each.suffix)) return each.kind;
    }
  }
  return {"application/octet-stream", false};
}

}  // namespace rill::http
