// Forms of a request: fields in memory, files on a disk.
//   const http::parameter_list fields = co_await http::read_form(asked);
//   http::upload got = co_await http::read_upload(asked, "/var/lib/app");
//   co_await got.files().front().save_as("/var/lib/app/picture-17");  // a name of our own
// What the client called its files is never made a path of.
// Not here: the codec (multipart.h), queries (url.h).
// Read next: form.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rill/net/buffer.h>
#include <rill/protocols/http/multipart.h>
#include <rill/protocols/http/request.h>
#include <rill/protocols/http/status_error.h>
#include <rill/protocols/http/url.h>
#include <rill/runtime/file.h>
#include <rill/runtime/task.h>

namespace rill::http {

/// What a form may hold.
struct form_limits {
  /// Bytes of the body: 413 beyond. session_options::body may be less.
  std::size_t size_max = 1024 * 1024;
  /// Fields: 413 beyond.
  std::size_t count_max = 1000;
};
static_assert(std::is_trivially_destructible_v<form_limits>);

/// Names and values of a form without files, urlencoded or multipart, in their order.
/// Errors: status_error 400 for one that is malformed or has a file in it, 413 for one that is too
///   large, 415 for another media type; what request::read_some throws. All may pass.
[[nodiscard]] task<parameter_list> read_form(request& asked, form_limits limits = form_limits());

/// What an upload may hold, and where its files go.
struct upload_options {
  /// One file has 4 GiB at most; its content is in memory never. session_options::body limits the
  /// whole, with 16 MiB unless it is set higher. Each file is an open descriptor.
  multipart_limits limits{100, 8 * 1024, 4ULL << 30, UINT64_MAX};
  /// Bytes of all text fields, names included, which are in memory: 413 beyond.
  std::size_t fields_size_max = 1024 * 1024;
  /// Of files, less the process's umask.
  unsigned permissions = 0600;
};
static_assert(std::is_trivially_destructible_v<upload_options>);

/// A file that has come. It has no name on the disk, and is gone with this object unless it is
/// saved.
class uploaded_file {
 public:
  uploaded_file(part_head said, file content) noexcept
      : said_(std::move(said)), content_(std::move(content)) {}

  const std::string& field_name() const noexcept { return said_.name; }
  /// What the client calls it: any bytes, "../../etc/passwd" among them. For showing, escaped.
  const std::string& client_name() const noexcept { return *said_.file_name; }
  /// What the client says it is; it may be something else.
  const std::string& type() const noexcept { return said_.type; }
  std::uint64_t size() const noexcept { return size_; }
  /// Open for reading and writing.
  file& content() noexcept { return content_; }

  /// Names the file once its bytes are on the disk, and completes when the name is there too: both
  /// outlive a loss of power. `path` must lie on the file system of the upload folder and must not
  /// be taken. Errors: status_error 507; io_error of sync and link (EEXIST, EXDEV ...).
  /// Cancellation, or an error of the last step: the file has its name or has not.
  [[nodiscard]] task<void> save_as(std::string path);

  // For read_upload: at the end of the file.
  [[nodiscard]] task<void> write(const_buffer bytes);

 private:
  part_head said_;
  file content_;
  std::uint64_t size_ = 0;
};

/// What came with a form: its fields, and its files on disk.
class upload {
 public:
  upload() noexcept {}

  const parameter_list& fields() const noexcept { return fields_; }
  std::vector<uploaded_file>& files() noexcept { return files_; }

 private:
  friend task<upload> read_upload(request& asked, std::string folder, upload_options options);

  parameter_list fields_;
  std::vector<uploaded_file> files_;
};

/// Reads a multipart form to its end: text fields into memory, files into `folder`, as they come,
/// in writes of 64 KiB; a disk that is slow makes the client wait. A file that was not chosen in
/// the browser (no name and no content) is left out.
///
/// Errors: status_error 400, 413 and 415 as read_form; 507 when the disk or the quota is full;
///   io_error of the disk, which becomes 500; EOPNOTSUPP where the file system of `folder` has no
///   unnamed files (open_mode::unnamed).
/// Cancellation, an error, the end of the process: of files that were not saved nothing is left.
[[nodiscard]] task<upload> read_upload(request& asked, std::string folder,
                                       upload_options options = upload_options());

}  // namespace rill::http
