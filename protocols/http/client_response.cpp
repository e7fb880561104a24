// The parts of a response. See client_response.h.
#include <rill/protocols/http/client_response.h>

#include <rill/protocols/http/charset.h>
#include <rill/protocols/http/client_exchange.h>
#include <rill/protocols/http/values.h>

namespace rill::http {

client_response::client_response(std::unique_ptr<detail::client_exchange> of,
                                 http::url from) noexcept
    : exchange_(std::move(of)), url_(std::move(from)) {}
client_response::client_response(client_response&& other) noexcept = default;
client_response& client_response::operator=(client_response&& other) noexcept = default;
client_response::~client_response() = default;

const response_head& client_response::head() const noexcept { return exchange_->head(); }
std::string_view client_response::head_text() const noexcept { return exchange_->head_text(); }
const std::string& client_response::peer() const noexcept { return exchange_->peer(); }

std::string_view client_response::find_trailer(std::string_view name) const noexcept {
  return exchange_->find_trailer(name);
}

void client_response::raise_for_status() const {
  if (!is_ok()) throw client_error::of_status(exchange_->request(), status(), reason());
}

std::string client_response::text() const {
  const std::string_view type = find("Content-Type").value_or("");
  const std::string charset = media_parameter(type, "charset").value_or("");
  std::optional<std::string> decoded = to_utf8(body_, charset);
  if (!decoded) {
    throw client_error(client_phase::read, exchange_->request(), client_fault::unknown_charset,
                       "decode", charset);
  }
  return std::move(*decoded);
}

task<std::string_view> client_response::read_some() { return exchange_->read_some(); }

task<const std::string&> client_response::read_body(std::size_t size_max) {
  detail::client_exchange& from = *exchange_;
  for (;;) {
    const std::string_view piece = co_await from.read_some();
    if (piece.empty()) break;
    if (piece.size() > size_max - body_.size()) {
      from.abandon();
      throw client_error(client_phase::read, from.request(), http_error::body_too_large, {},
                         from.peer());
    }
    body_.append(piece);
  }
  co_return body_;
}

}  // namespace rill::http
