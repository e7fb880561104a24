// What failed and how it is told: `error` is the value below, `io_error` the exception above it,
// `result<T>` the value or the error. One adaptor joins the two: `co_await as_result(operation)`.
// Not here: errors of protocols, which codecs return as values of their own.
// Read next: operation.h, where a completion becomes one of these.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <tl/expected.hpp>

namespace rill {

/// Why an operation failed, as a value: 24 bytes, trivially copyable, never allocates.
///
/// `code` is the kernel's errno in std::system_category(), or a code of a category of ours where
/// errno has no word for it (name not found, for instance). A time-out of ours is ETIMEDOUT with
/// `timeout` set, so that it differs from the one that TCP itself reports.
class error {
 public:
  error(std::error_code code, const char* operation, bool timeout = false) noexcept
      : code_(code), operation_(operation), timeout_(timeout) {}

  /// `number` is a positive errno.
  static error from_errno(int number, const char* operation) noexcept {
    return error(std::error_code(number, std::system_category()), operation);
  }
  static error timed_out(const char* operation) noexcept {
    return error(std::make_error_code(std::errc::timed_out), operation, true);
  }

  const std::error_code& code() const noexcept { return code_; }
  /// The operation's short name, such as "read" or "connect"; a string literal.
  const char* operation() const noexcept { return operation_; }
  /// True when a deadline of ours passed, false when the kernel reported the failure.
  bool is_timeout() const noexcept { return timeout_; }
  std::string message() const;

  friend bool operator==(const error& left, const std::error_code& right) noexcept {
    return left.code_ == right;
  }
  friend bool operator==(const error& left, std::errc right) noexcept {
    return left.code_ == right;
  }

 private:
  std::error_code code_;
  const char* operation_;
  bool timeout_;
};

template <class T>
using result = tl::expected<T, error>;

/// An operation failed. what() reads "read 10.0.0.7:443: Connection reset by peer".
class io_error : public std::system_error {
 public:
  /// `subject` is the endpoint, path or name that the operation was about; it may be empty.
  io_error(const error& cause, std::string_view subject);
  io_error(std::error_code code, std::string_view operation, std::string_view subject);

  const std::string& operation() const noexcept { return operation_; }
  const std::string& subject() const noexcept { return subject_; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string operation_;
  std::string subject_;
  std::string text_;
};

/// A deadline of ours passed before the operation completed.
class timeout_error : public io_error {
 public:
  explicit timeout_error(std::string_view operation, std::string_view subject = {});
};

/// Throws timeout_error for a time-out of ours and io_error for everything else.
[[noreturn]] void throw_error(const error& cause, std::string_view subject = {});

/// A programmer's error: prints the sentence with its place and aborts, in release builds too.
[[noreturn]] void assertion_failed(const char* expression, const char* sentence, const char* file,
                                   int line) noexcept;

}  // namespace rill

/// Checks what only a programming mistake can break. On in every build type.
#define RILL_ASSERT(expression, sentence) \
  ((expression) ? void(0) : ::rill::assertion_failed(#expression, sentence, __FILE__, __LINE__))
