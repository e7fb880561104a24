// Forms, from the pieces of a request's body. See form.h.
#include <rill/protocols/http/form.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>

#include <rill/protocols/http/head.h>
#include <rill/protocols/http/values.h>

namespace rill::http {
namespace {

constexpr int bad_request = 400;
constexpr int content_too_large = 413;
constexpr int unsupported_media_type = 415;
constexpr int insufficient_storage = 507;  // RFC 4918 section 11.5

using event = multipart_decoder::event;

[[noreturn]] void refuse(multipart_error error) {
  const bool is_malformed = error == multipart_error::bad_delimiter ||
                            error == multipart_error::bad_header ||
                            error == multipart_error::incomplete;
  throw status_error(is_malformed ? bad_request : content_too_large,
                     std::string(message_of(error)) + '\n');
}

[[noreturn]] void refuse_size() {
  throw status_error(content_too_large, "the fields of the form are too large\n");
}

/// The parts of a request's form, one event after the other; `more` is the end.
class part_reader {
 public:
  part_reader(request& asked, std::string_view boundary, const multipart_limits& limits)
      : asked_(&asked), decoder_(boundary, limits) {}

  task<multipart_decoder::step> next() {
    for (;;) {
      const multipart_decoder::step one = decoder_.decode(rest_);
      rest_.remove_prefix(one.used);
      if (one.what == event::failed) refuse(decoder_.error());
      if (one.what != event::more) co_return one;
      rest_ = co_await asked_->read_some();
      if (!rest_.empty()) continue;
      if (!decoder_.end()) refuse(decoder_.error());
      co_return one;
    }
  }
  const part_head& part() const noexcept { return decoder_.part(); }

 private:
  request* asked_;
  multipart_decoder decoder_;
  std::string_view rest_;
};

std::string boundary_of(const request& asked) {
  const std::string_view type = asked.find("Content-Type").value_or("");
  if (!equals_without_case(media_type(type), "multipart/form-data")) {
    throw status_error(unsupported_media_type, "a form is wanted\n");
  }
  std::optional<std::string> boundary = multipart_boundary(type);
  if (!boundary) refuse(multipart_error::bad_delimiter);
  return std::move(*boundary);
}

task<parameter_list> read_urlencoded(request& asked, form_limits limits) {
  std::string all;
  for (;;) {
    const std::string_view piece = co_await asked.read_some();
    if (piece.empty()) break;
    if (piece.size() > limits.size_max - all.size()) refuse(multipart_error::too_large);
    all += piece;
  }
  std::optional<parameter_list> fields = parse_form(all, limits.count_max);
  if (!fields) refuse(multipart_error::too_many_parts);
  co_return std::move(*fields);
}

task<parameter_list> read_fields(request& asked, form_limits limits) {
  multipart_limits parts;
  parts.part_count_max = limits.count_max;
  parts.size_max = limits.size_max;
  part_reader reader(asked, boundary_of(asked), parts);
  parameter_list fields;
  for (;;) {
    const multipart_decoder::step one = co_await reader.next();
    if (one.what == event::more) co_return fields;
    if (one.what == event::content) fields.back().second += one.content;
    if (one.what != event::part) continue;
    if (reader.part().file_name) {
      throw status_error(bad_request, "a form without files is wanted\n");
    }
    fields.emplace_back(reader.part().name, std::string());
  }
}

/// The same error, or one that says that there is no room.
[[noreturn]] void throw_disk_error(const io_error& error) {
  if (error.code().value() == ENOSPC || error.code().value() == EDQUOT) {
    throw status_error(insufficient_storage, "there is no room for the upload\n", error.what());
  }
  throw error;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == path.npos ? "." : path.substr(0, slash + 1);
}

task<file> open_unnamed(std::string folder, unsigned permissions) {
  const open_mode mode = open_mode::read | open_mode::write | open_mode::unnamed;
  try {
    co_return co_await file::open(folder, mode, permissions);
  } catch (const io_error& error) {
    throw_disk_error(error);
  }
}

}  // namespace

task<parameter_list> read_form(request& asked, form_limits limits) {
  const std::string_view type = media_type(asked.find("Content-Type").value_or(""));
  if (equals_without_case(type, "application/x-www-form-urlencoded")) {
    return read_urlencoded(asked, limits);
  }
  return read_fields(asked, limits);
}

task<void> uploaded_file::write(const_buffer bytes) {
  try {
    co_await content_.write_all_at(bytes, size_);
  } catch (const io_error& error) {
    throw_disk_error(error);
  }
  size_ += bytes.size();
}

task<void> uploaded_file::save_as(std::string path) {
  try {
    co_await content_.sync();
    content_.link(path);
    // Only now is the name safe too (fsync(2)).
    file folder = co_await file::open(folder_of(path), open_mode::read | open_mode::directory);
    co_await folder.sync();
  } catch (const io_error& error) {
    throw_disk_error(error);
  }
}

task<upload> read_upload(request& asked, std::string folder, upload_options options) {
  constexpr std::size_t write_size = 64 * 1024;
  part_reader reader(asked, boundary_of(asked), options.limits);
  upload got;
  std::size_t fields_size = 0;
  std::string unwritten;  // of the file that is coming
  bool is_field = false;
  bool is_open = false;
  for (;;) {
    const multipart_decoder::step one = co_await reader.next();
    if (one.what == event::more) co_return got;
    const part_head& part = reader.part();
    if (one.what == event::part) {
      is_field = !part.file_name;
      is_open = false;
      fields_size += is_field ? part.name.size() : 0;
      if (is_field) got.fields_.emplace_back(part.name, std::string());
    } else if (is_field) {
      fields_size += one.content.size();
      got.fields_.back().second += one.content;
    } else {
      const bool is_whole = one.what == event::part_end;
      if (!is_open && is_whole && part.file_name->empty()) continue;
      if (!is_open) {
        file made = co_await open_unnamed(folder, options.permissions);
        got.files_.emplace_back(part, std::move(made));
        is_open = true;
      }
      unwritten += one.content;
      if (is_whole || unwritten.size() >= write_size) {
        co_await got.files_.back().write(unwritten);
        unwritten.clear();
      }
    }
    if (fields_size > options.fields_size_max) refuse_size();
  }
}

}  // namespace rill::http
