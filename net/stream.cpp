// The errors of category "stream", and how readers with a limit throw. See stream.h.
#include <rill/net/stream.h>

#include <cerrno>
#include <string>

namespace rill {
namespace {

class stream_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "stream"; }

  std::string message(int value) const override {
    if (static_cast<stream_error>(value) == stream_error::unexpected_end) {
      return "the stream ended in the middle of a message";
    }
    return "unknown stream error " + std::to_string(value);
  }
};

}  // namespace

const std::error_category& stream_category() noexcept {
  static const stream_category_type category;
  return category;
}

std::error_code make_error_code(stream_error error) noexcept {
  return {static_cast<int>(error), stream_category()};
}

void detail::throw_unexpected_end() {
  throw io_error(make_error_code(stream_error::unexpected_end), "read", {});
}

void detail::throw_too_long(std::size_t size_max) {
  throw_error(error::from_errno(EMSGSIZE, "read"),
              "more than " + std::to_string(size_max) + " bytes");
}

}  // namespace rill
