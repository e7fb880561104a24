// Names, sizes and times of a folder's entries, as HTML. See folder_page.h.
#include <rill/protocols/http/folder_page.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

#include <rill/protocols/http/date.h>
#include <rill/protocols/http/url.h>
#include <rill/runtime/blocking.h>
#include <rill/runtime/timeout.h>

namespace rill::http::detail {
namespace {

constexpr std::size_t entry_count_max = 10'000;  // a page of about two megabytes

struct entry {
  std::string name;
  bool is_folder = false;
  std::uint64_t size = 0;
  std::int64_t modified = 0;  // seconds since 1970
};

struct closes_folder {
  void operator()(DIR* open) const noexcept { ::closedir(open); }
};

[[noreturn]] void fail(int number) {
  throw io_error(std::error_code(number, std::system_category()), "list", "a folder");
}

std::vector<entry> read_folder(int descriptor, bool shows_hidden, bool shows_links) {
  // An open description of its own: reading a folder moves the position in it.
  const int own = ::openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (own < 0) fail(errno);
  const std::unique_ptr<DIR, closes_folder> folder(::fdopendir(own));
  if (folder == nullptr) {
    const int number = errno;
    ::close(own);
    fail(number);
  }
  std::vector<entry> all;
  while (all.size() < entry_count_max) {
    const dirent* const next = ::readdir(folder.get());
    if (next == nullptr) break;
    const std::string_view name = next->d_name;
    if (name == "." || name == ".." || (name.starts_with('.') && !shows_hidden)) continue;
    struct stat status{};
    if (::fstatat(own, next->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    // Where a link leads is not told here: it may be elsewhere.
    const bool is_shown = S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) ||
                          (S_ISLNK(status.st_mode) && shows_links);
    if (!is_shown) continue;
    entry made;
    made.name = name;
    made.is_folder = S_ISDIR(status.st_mode);
    made.size = S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 0;
    made.modified = status.st_mtim.tv_sec;
    all.push_back(std::move(made));
  }
  std::sort(all.begin(), all.end(), [](const entry& left, const entry& right) {
    return std::tie(right.is_folder, left.name) < std::tie(left.is_folder, right.name);
  });
  return all;
}

/// The descriptor must stay open as long as the pool looks at it: not to be cancelled.
task<std::vector<entry>> entries_of(const file& folder, bool shows_hidden, bool shows_links) {
  co_return co_await run_blocking(read_folder, folder.descriptor(), shows_hidden, shows_links);
}

std::string page_of(std::string_view title, const std::vector<entry>& all) {
  std::string page = "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>";
  page += escape_html(title);
  page += "</title>\n</head>\n<body>\n<h1>";
  page += escape_html(title);
  page += "</h1>\n<table>\n<tr><td><a href=\"../\">../</a></td></tr>\n";
  for (const entry& each : all) {
    const std::string_view end = each.is_folder ? "/" : "";
    // "./": a name with a colon would be a scheme (RFC 3986 section 4.2).
    page.append("<tr><td><a href=\"./").append(percent_encode(each.name)).append(end);
    page += "\">";
    page += escape_html(each.name);
    page.append(end).append("</a></td><td>");
    page += date_text(http_time(std::chrono::seconds(each.modified)));
    page += "</td><td>";
    if (!each.is_folder) page += std::to_string(each.size);
    page += "</td></tr>\n";
  }
  return page + "</table>\n</body>\n</html>\n";
}

}  // namespace

task<response> list_folder(const file& folder, std::string_view title, bool shows_hidden,
                           link_policy links) {
  const std::vector<entry> all =
      co_await shielded(entries_of(folder, shows_hidden, links != link_policy::refused));
  co_return response::html(page_of(title, all));
}

}  // namespace rill::http::detail
