// Files of a folder, as a handler: ranges, conditional requests, compressed forms, index pages.
//   routes.get("/files/{path...}", http::files("/srv/www"));
// Not here: what a body out of a file is (response.h), and how it is sent (session.h).
// Read next: files.cpp, tests/http/files_test.cpp.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include <rill/protocols/http/request.h>
#include <rill/protocols/http/response.h>
#include <rill/runtime/file.h>
#include <rill/runtime/task.h>

namespace rill::http {

/// Texts are copied by the handler.
struct file_options {
  /// What a folder is answered with, from within it. Empty: nothing.
  std::string_view index = "index.html";
  /// A folder without an index is answered with a page of its names; else with 404.
  bool lists_folders = false;
  /// Links are followed as long as they stay below the root; others are not found.
  link_policy links = link_policy::below;
  /// Names that begin with a dot, such as ".git", are not found, on any part of the way; all but
  /// ".well-known" (RFC 8615).
  bool shows_hidden = false;
  /// "a.js.br" and "a.js.gz" beside "a.js" are sent in its place to those who take them, unless
  /// they are older.
  bool takes_compressed = true;
  /// The field Cache-Control, such as "public, max-age=3600". Empty: none.
  std::string_view cache_control;
  /// A request for more ranges gets the whole file (RFC 9110 section 14.2 allows it).
  std::size_t range_count_max = 16;
  /// The name of the rest of the path in the route's pattern; without it the whole path is the
  /// file's.
  std::string_view parameter = "path";
};
static_assert(std::is_trivially_destructible_v<file_options>);

/// A handler that answers GET and HEAD with the files below a folder; 405 for other methods.
///
/// Answers: 200, 206, 301 (a folder without its last slash), 304, 400 (a path that leaves the root,
///   is malformed, or holds NUL, a backslash or an encoded slash), 403 (no permission; no regular
///   file), 404, 412, 416, 503 (descriptors or memory are short).
/// Errors: io_error for what the client has no part in: the root is not there, the disk fails.
/// Confinement: a path is decoded once, its dots are resolved, and the kernel opens it below the
///   root and nowhere else (file::open_below), whatever is renamed meanwhile. The root is opened
///   for each request, so it may be replaced under a running server.
/// Freshness: nothing is cached. Entity tags are made of time, size and inode; dates and tags
/// follow
///   RFC 9110 section 13.2.2, ranges section 14.
/// Cost: two opens, a status and two closes for a file, one more of each for a compressed form that
///   is looked for, and a few allocations. The bytes go from the page cache to the socket.
/// Thread rule: any number of loops at once.
class files {
 public:
  explicit files(std::string root, const file_options& options = file_options());

  [[nodiscard]] task<response> operator()(request& asked) const;

 private:
  struct settings;
  std::shared_ptr<const settings> settings_;
};

}  // namespace rill::http
