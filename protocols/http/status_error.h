// What a handler, or what it calls, throws to answer with a status: 400 for a form that is none,
// 507 when the disk is full.
//   throw http::status_error(404, "no such user\n");
// Read next: session.h, which makes the answer of it.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace rill::http {

/// The client gets `text`, or the status' own phrase if that is empty. what() is `cause`, for the
/// log: session_options::on_error is told of statuses from 500 on.
class status_error : public std::runtime_error {
 public:
  explicit status_error(int status, std::string text = std::string(),
                        const std::string& cause = std::string())
      : std::runtime_error(cause.empty() ? "status " + std::to_string(status) + ' ' + text : cause),
        status_(status),
        text_(std::move(text)) {}

  int status() const noexcept { return status_; }
  const std::string& text() const noexcept { return text_; }

 private:
  int status_;
  std::string text_;
};

}  // namespace rill::http
