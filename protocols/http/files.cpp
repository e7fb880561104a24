// From a path to a file, and from a file to an answer. See files.h.
// In order: the path, looking for a file, validators and conditions (RFC 9110 section 13), ranges
// (section 14), the handler.
#include <rill/protocols/http/files.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <rill/protocols/http/date.h>
#include <rill/protocols/http/folder_page.h>
#include <rill/protocols/http/mime.h>
#include <rill/protocols/http/session.h>
#include <rill/protocols/http/url.h>
#include <rill/protocols/http/values.h>
#include <rill/runtime/loop.h>

namespace rill::http {

struct files::settings {
  settings(std::string folder, const file_options& chosen)
      : root(std::move(folder)),
        index(chosen.index),
        cache_control(chosen.cache_control),
        parameter(chosen.parameter),
        links(chosen.links),
        range_count_max(chosen.range_count_max),
        lists_folders(chosen.lists_folders),
        shows_hidden(chosen.shows_hidden),
        takes_compressed(chosen.takes_compressed) {}

  std::string root;
  std::string index;
  std::string cache_control;
  std::string parameter;
  link_policy links;
  std::size_t range_count_max;
  bool lists_folders;
  bool shows_hidden;
  bool takes_compressed;

  task<response> answer(request& asked) const;
  task<response> answer_folder(request& asked, const file& root_folder, const file& folder,
                               std::string path) const;
  task<response> answer_file(request& asked, const file& root_folder, std::string path, file source,
                             file_status status) const;
};

namespace {

constexpr int moved_permanently = 301;
constexpr int partial_content = 206;
constexpr int not_modified = 304;
constexpr int bad_request = 400;
constexpr int forbidden = 403;
constexpr int not_found = 404;
constexpr int method_not_allowed = 405;
constexpr int precondition_failed = 412;
constexpr int range_not_satisfiable = 416;

response refused(int status) { return detail::refusal(status, {}); }

// ---------------------------------------------------------------- the path

/// The end of the path that the route's parameter stands for, as it was sent: the parameter itself
/// has been decoded, and a slash in it may have been "%2F".
std::string_view encoded_rest(std::string_view path, std::string_view decoded_rest) noexcept {
  const auto encodings = static_cast<std::size_t>(std::count(path.begin(), path.end(), '%'));
  const std::size_t decoded_size = path.size() - 2 * std::min(encodings, path.size() / 3);
  if (decoded_rest.size() > decoded_size) return path;
  std::size_t at = 0;
  for (std::size_t i = decoded_size - decoded_rest.size(); i != 0; --i) {
    at += path[at] == '%' ? 3 : 1;
  }
  return path.substr(at);
}

/// "/a/b" below the root, resolved; nullopt if there can be no such file.
std::optional<std::string> path_below(const request& asked, std::string_view parameter) {
  const std::string_view rest = asked.parameter(parameter);
  if (rest.data() == nullptr) return resolve_path(asked.path());  // a route without the parameter
  return resolve_path('/' + std::string(encoded_rest(asked.path(), rest)));
}

bool is_hidden(std::string_view path) noexcept {
  constexpr std::string_view well_known = ".well-known";
  for (std::size_t at = path.find("/."); at != path.npos; at = path.find("/.", at + 1)) {
    const std::string_view name = path.substr(at + 1, path.find('/', at + 1) - at - 1);
    if (name != well_known) return true;
  }
  return false;
}

/// Relative, so that nobody makes "//evil.example/.." of it, and so that it holds behind a proxy
/// that has taken a prefix off.
response redirect_to_folder(const request& asked) {
  const std::string_view path = asked.path();
  std::string location = "./";
  location.append(path.substr(path.rfind('/') + 1)).append("/");
  if (!asked.query().empty()) location.append("?").append(asked.query());
  return response::redirect(location, moved_permanently);
}

// ---------------------------------------------------------------- looking for a file

/// What a path has led to: an open file and its status, or the status of the answer.
struct found {
  explicit found(int status_of_refusal) noexcept : refusal(status_of_refusal) {}
  found(file opened, const file_status& told) : source(std::move(opened)), status(told) {}
  bool is(file_kind kind) const noexcept { return refusal == 0 && status.kind == kind; }

  int refusal = 0;
  std::optional<file> source;
  file_status status;
};

/// How a client is told that a file cannot be opened; 0: the server's own trouble.
int status_of(const error& cause) noexcept {
  switch (cause.code().value()) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case EXDEV:  // out of the root
      return not_found;
    case EACCES:
    case EPERM:
    case ENXIO:  // a socket, a device without a driver
    case ENODEV:
      return forbidden;
    default:
      return 0;
  }
}

/// `path` begins with a slash. Throws io_error for what the client has no part in.
task<found> look(const file& root, std::string_view path, link_policy links) {
  constexpr int try_count_max = 8;  // EAGAIN: something was renamed at that moment
  const std::string_view name = path.substr(path.find_first_not_of('/'));
  for (int tries = 1;; ++tries) {
    result<file> opened = co_await as_result(
        file::open_below(root, name, links, open_mode::read | open_mode::no_wait));
    if (opened) {
      const file_status status = co_await opened->stat();
      co_return found(std::move(*opened), status);
    }
    const int refusal = status_of(opened.error());
    if (refusal != 0) co_return found(refusal);
    if (opened.error() == std::errc::resource_unavailable_try_again && tries < try_count_max) {
      continue;
    }
    throw io_error(opened.error(), root.path() + '/' + std::string(name));
  }
}

// ---------------------------------------------------------------- validators and conditions

http_time seconds_of(std::chrono::sys_time<std::chrono::nanoseconds> time) {
  return std::chrono::floor<std::chrono::seconds>(time);
}

/// What is known of the bytes that are sent.
struct validators {
  validators(const file_status& of, std::int64_t wall_now);

  std::string tag;
  http_time modified;  // not after `now` (RFC 9110 section 8.8.2.1)
  http_time now;
};

/// A file that is written in place gets another time, one that is replaced another inode, and a
/// copy that keeps time and inode is no longer as large. Two writes within one tick of the
/// kernel's clock may leave one time: until that is over the tag is a weak one (section 8.8.1).
validators::validators(const file_status& of, std::int64_t wall_now)
    : now(seconds_of(
          std::chrono::sys_time<std::chrono::nanoseconds>(std::chrono::nanoseconds(wall_now)))) {
  constexpr std::int64_t tick = 20'000'000;  // ns: twice that of a kernel with 100 Hz
  const std::int64_t time = of.modified.time_since_epoch().count();
  modified = std::min(seconds_of(of.modified), now);
  const bool is_settled = wall_now - time >= tick || time > wall_now;
  tag = is_settled ? "\"" : "W/\"";
  const std::uint64_t numbers[] = {static_cast<std::uint64_t>(time), of.size, of.inode};
  for (const std::uint64_t each : numbers) {
    char digits[16];
    tag.append(digits, std::to_chars(digits, digits + sizeof(digits), each, 16).ptr);
    tag += '-';
  }
  tag.back() = '"';
}

/// All values of a list that may come in several fields.
std::optional<std::string> list_of(const request& asked, std::string_view name) {
  std::optional<std::string> all;
  for (std::size_t i = 0; i != asked.head().field_count(); ++i) {
    const field each = asked.head().field_at(i);
    if (!equals_without_case(each.name, name)) continue;
    if (all) {
      all->append(", ").append(each.value);
    } else {
      all.emplace(each.value);
    }
  }
  return all;
}

/// The value of a field that comes once; nullopt also if it comes more than once.
std::optional<std::string_view> single(const request& asked, std::string_view name) {
  if (asked.head().count(name) != 1) return std::nullopt;
  return asked.find(name);
}

std::optional<http_time> date_of(const request& asked, std::string_view name, http_time now) {
  const auto text = single(asked, name);
  return text ? parse_date(*text, now) : std::nullopt;
}

/// RFC 9110 section 13.2.2 up to its Range: 0, 304 or 412.
int check_conditions(const request& asked, const validators& valid) {
  if (const auto wanted = list_of(asked, "If-Match")) {
    if (!has_entity_tag(*wanted, valid.tag, false)) return precondition_failed;
  } else if (const auto since = date_of(asked, "If-Unmodified-Since", valid.now)) {
    if (valid.modified > *since) return precondition_failed;
  }
  if (const auto known = list_of(asked, "If-None-Match")) {
    return has_entity_tag(*known, valid.tag, true) ? not_modified : 0;
  }
  const auto since = date_of(asked, "If-Modified-Since", valid.now);
  return since && valid.modified <= *since ? not_modified : 0;
}

/// If-Range: the client has a part of these very bytes (RFC 9110 section 13.1.5).
bool has_part(const request& asked, const validators& valid) {
  if (asked.head().count("If-Range") == 0) return true;
  const auto known = single(asked, "If-Range");
  if (!known) return false;
  if (known->ends_with('"')) return has_entity_tag(*known, valid.tag, false);
  // A date is strong once the file cannot change any more within the same second (8.8.2.2).
  return parse_date(*known, valid.now) == valid.modified && valid.modified < valid.now;
}

// ---------------------------------------------------------------- ranges

bool overlap(std::span<const byte_range> ranges) noexcept {
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (ranges[i].first <= ranges[j].last && ranges[j].first <= ranges[i].last) return true;
    }
  }
  return false;
}

/// Whoever wants many ranges, or bytes twice, gets the file (RFC 9110 section 14.2). So does who
/// wants a range of nothing: some put a range on every request, as a limit.
range_request ranges_of(const request& asked, const validators& valid, std::uint64_t size,
                        std::size_t count_max) {
  if (asked.method() != "GET" || size == 0) return {};
  const auto value = single(asked, "Range");
  if (!value || !has_part(asked, valid)) return {};
  range_request wanted = parse_range(*value, size);
  if (wanted.parts.size() > count_max || overlap(wanted.parts)) return {};
  return wanted;
}

/// "bytes 0-499/1234"
std::string content_range(const byte_range& range, std::uint64_t size) {
  return "bytes " + std::to_string(range.first) + '-' + std::to_string(range.last) + '/' +
         std::to_string(size);
}

/// Nothing in the file is likely to read like it.
std::string make_boundary() {
  constexpr std::string_view digits = "0123456789abcdef";
  std::array<std::byte, 16> bytes{};
  loop::current().kernel().random(bytes);
  std::string made;
  for (const std::byte each : bytes) {
    made += digits[std::to_integer<unsigned>(each) >> 4];
    made += digits[std::to_integer<unsigned>(each) & 15U];
  }
  return made;
}

/// multipart/byteranges (RFC 9110 section 14.6).
response many_parts(file source, std::span<const byte_range> ranges, std::uint64_t size,
                    std::string_view type) {
  const std::string boundary = make_boundary();
  std::vector<file_part> parts;
  for (const byte_range& each : ranges) {
    std::string before = parts.empty() ? "--" : "\r\n--";
    before.append(boundary).append("\r\nContent-Type: ").append(type);
    before.append("\r\nContent-Range: ").append(content_range(each, size)).append("\r\n\r\n");
    parts.emplace_back(each.first, each.size(), std::move(before));
  }
  response made(partial_content);
  made.set_body(file_body(std::move(source), std::move(parts), "\r\n--" + boundary + "--\r\n"),
                "multipart/byteranges; boundary=" + boundary);
  return made;
}

/// The bytes that are wanted, without the fields that all answers have.
response body_of(file source, const range_request& wanted, std::uint64_t size,
                 std::string_view type) {
  if (wanted.answer != range_answer::parts) {
    return response::from_file(std::move(source), 0, size, type);
  }
  if (wanted.parts.size() > 1) return many_parts(std::move(source), wanted.parts, size, type);
  const byte_range& only = wanted.parts.front();
  std::vector<file_part> parts;
  parts.emplace_back(only.first, only.size());
  response made(partial_content);
  made.set_body(file_body(std::move(source), std::move(parts)), type);
  made.add("Content-Range", content_range(only, size));
  return made;
}

/// The suffix of a compressed form, with its dot.
std::string_view suffix_of(std::string_view coding) noexcept {
  return coding == "br" ? ".br" : ".gz";
}

}  // namespace

// ---------------------------------------------------------------- the handler

files::files(std::string root, const file_options& options)
    : settings_(std::make_shared<const settings>(std::move(root), options)) {}

task<response> files::operator()(request& asked) const {
  // The settings live as long as the task, whatever becomes of this handler.
  return [](std::shared_ptr<const settings> kept, request& of) -> task<response> {
    co_return co_await kept->answer(of);
  }(settings_, asked);
}

task<response> files::settings::answer(request& asked) const {
  if (asked.method() != "GET" && asked.method() != "HEAD") {
    co_return refused(method_not_allowed).add("Allow", "GET, HEAD");
  }
  std::optional<std::string> path = path_below(asked, parameter);
  if (!path) co_return refused(bad_request);
  if (!shows_hidden && is_hidden(*path)) co_return refused(not_found);
  const file root_folder = co_await file::open(root, open_mode::directory);
  // A folder's path without its slash, so that one look tells what is there.
  const std::string dotted = path->ends_with('/') ? *path + '.' : *path;
  found there = co_await look(root_folder, dotted, links);
  if (there.refusal != 0) co_return refused(there.refusal);
  if (there.is(file_kind::directory)) {
    if (!path->ends_with('/')) co_return redirect_to_folder(asked);
    co_return co_await answer_folder(asked, root_folder, *there.source, std::move(*path));
  }
  if (!there.is(file_kind::regular)) co_return refused(forbidden);
  co_return co_await answer_file(asked, root_folder, std::move(*path), std::move(*there.source),
                                 there.status);
}

task<response> files::settings::answer_folder(request& asked, const file& root_folder,
                                              const file& folder, std::string path) const {
  if (!index.empty()) {
    const std::string name = path + index;
    found page = co_await look(root_folder, name, links);
    if (page.is(file_kind::regular)) {
      co_return co_await answer_file(asked, root_folder, name, std::move(*page.source),
                                     page.status);
    }
    if (page.refusal == forbidden) co_return refused(forbidden);
  }
  if (!lists_folders) co_return refused(not_found);
  response listed = co_await detail::list_folder(folder, path, shows_hidden, links);
  listed.add("X-Content-Type-Options", "nosniff");
  co_return listed;
}

task<response> files::settings::answer_file(request& asked, const file& root_folder,
                                            std::string path, file source,
                                            file_status status) const {
  const media_kind kind = media_kind_of(path);
  const bool chooses = takes_compressed && !kind.is_packed;
  std::string_view coding = "identity";
  if (chooses) {
    const std::optional<std::string> accepted = list_of(asked, "Accept-Encoding");
    std::vector<std::string_view> offered{"br", "gzip"};
    for (;;) {
      coding = choose_coding(accepted, offered);
      if (coding == "identity") break;
      const std::string name = path + std::string(suffix_of(coding));
      found packed = co_await look(root_folder, name, links);
      // Of the same second or newer: an old one was forgotten.
      if (packed.is(file_kind::regular) &&
          seconds_of(packed.status.modified) >= seconds_of(status.modified)) {
        source = std::move(*packed.source);
        status = packed.status;
        break;
      }
      std::erase(offered, coding);
    }
  }
  const validators valid(status, loop::current().kernel().wall_now());
  const int condition = check_conditions(asked, valid);
  if (condition == precondition_failed) co_return refused(precondition_failed);
  response made(not_modified);
  if (condition != not_modified) {
    const range_request wanted = ranges_of(asked, valid, status.size, range_count_max);
    if (wanted.answer == range_answer::refused) {
      response none = refused(range_not_satisfiable);
      none.add("Content-Range", "bytes */" + std::to_string(status.size));
      co_return none;
    }
    made = body_of(std::move(source), wanted, status.size, kind.type);
    made.add("Accept-Ranges", "bytes").add("Last-Modified", date_text(valid.modified));
    made.add("X-Content-Type-Options", "nosniff");
    if (coding != "identity") made.add("Content-Encoding", coding);
  }
  // What a 304 has too (RFC 9110 section 15.4.5).
  made.add("ETag", valid.tag);
  if (chooses) made.add("Vary", "Accept-Encoding");
  if (!cache_control.empty()) made.add("Cache-Control", cache_control);
  co_return made;
}

}  // namespace rill::http
