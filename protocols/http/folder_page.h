// The page that lists a folder. Private: files.cpp makes it part of its answers.
#pragma once

#include <string_view>

#include <rill/protocols/http/response.h>
#include <rill/runtime/file.h>
#include <rill/runtime/task.h>

namespace rill::http::detail {

/// A page of HTML with a link to each name in an open folder, folders first. `title` is text that
/// strangers may have chosen. Hidden names and, where `links` are refused, links are left out.
/// Cost: a call in the thread pool; a folder of more names than 10,000 is listed in part.
task<response> list_folder(const file& folder, std::string_view title, bool shows_hidden,
                           link_policy links);

}  // namespace rill::http::detail
