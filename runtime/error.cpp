// The text of errors. See error.h.
#include <rill/runtime/error.h>

#include <cstdio>
#include <cstdlib>

namespace rill {
namespace {

std::string compose(std::string_view operation, std::string_view subject,
                    std::string_view message) {
  std::string text(operation);
  if (!subject.empty()) {
    text += ' ';
    text += subject;
  }
  text += ": ";
  text += message;
  return text;
}

}  // namespace

std::string error::message() const { return compose(operation_, {}, code_.message()); }

io_error::io_error(const error& cause, std::string_view subject)
    : io_error(cause.code(), cause.operation(), subject) {}

io_error::io_error(std::error_code code, std::string_view operation, std::string_view subject)
    : std::system_error(code),
      operation_(operation),
      subject_(subject),
      text_(compose(operation, subject, code.message())) {}

timeout_error::timeout_error(std::string_view operation, std::string_view subject)
    : io_error(std::make_error_code(std::errc::timed_out), operation, subject) {}

void throw_error(const error& cause, std::string_view subject) {
  if (cause.is_timeout()) throw timeout_error(cause.operation(), subject);
  throw io_error(cause, subject);
}

void assertion_failed(const char* expression, const char* sentence, const char* file,
                      int line) noexcept {
  std::fprintf(stderr, "%s:%d: %s (%s)\n", file, line, sentence, expression);
  std::abort();
}

}  // namespace rill
