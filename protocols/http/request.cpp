// See request.h.
#include <rill/protocols/http/request.h>

namespace rill::http {

std::string_view request::parameter(std::string_view name) const noexcept {
  for (const auto& [known, value] : parameters_) {
    if (known == name) return value;
  }
  return {};
}

task<std::string> request::read_body() {
  std::string all;
  for (;;) {
    const std::string_view piece = co_await owner_->read();
    if (piece.empty()) break;
    all += piece;
  }
  co_return all;
}

}  // namespace rill::http
