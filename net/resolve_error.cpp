// The texts of category "resolve", written to stand behind "resolve example.org: ".
#include <rill/net/resolve_error.h>

#include <string>

namespace rill {
namespace {

class resolve_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "resolve"; }

  std::string message(int value) const override {
    switch (static_cast<resolve_error>(value)) {
      case resolve_error::name_not_found:
        return "name not found";
      case resolve_error::no_address:
        return "name has no address";
      case resolve_error::no_answer:
        return "no answer from any name server";
      case resolve_error::server_failure:
        return "name server failure";
      case resolve_error::invalid_name:
        return "invalid host name";
    }
    return "unknown resolve error " + std::to_string(value);
  }
};

}  // namespace

const std::error_category& resolve_category() noexcept {
  static const resolve_category_type category;
  return category;
}

std::error_code make_error_code(resolve_error error) noexcept {
  return {static_cast<int>(error), resolve_category()};
}

}  // namespace rill
