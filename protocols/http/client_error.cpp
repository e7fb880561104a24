// The texts of a client's errors. See client_error.h.
#include <rill/protocols/http/client_error.h>

#include <rill/protocols/http/status.h>

namespace rill::http {
namespace {

class client_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "http client"; }

  std::string message(int value) const override {
    switch (static_cast<client_fault>(value)) {
      case client_fault::bad_url:
        return "no URL of http or https";
      case client_fault::bad_body:
        return "the producer of the body kept no promise about its size";
      case client_fault::unsupported_scheme:
        return "no connector for this scheme";
      case client_fault::bad_proxy:
        return "no proxy of the form http://host:port";
      case client_fault::proxy_refused:
        return "the proxy refused the tunnel";
      case client_fault::too_many_waiting:
        return "too many requests wait for a connection";
      case client_fault::too_many_interim:
        return "too many interim responses";
      case client_fault::unexpected_upgrade:
        return "the server switched protocols unasked";
      case client_fault::bad_redirect:
        return "redirected to what is no URL of http or https";
      case client_fault::too_many_redirects:
        return "too many redirects";
      case client_fault::bad_status:
        return "the status says failure";
      case client_fault::unknown_content_coding:
        return "a content coding that was not asked for";
      case client_fault::corrupt_content:
        return "the compressed body is corrupt";
      case client_fault::content_bomb:
        return "the compressed body is a bomb";
      case client_fault::unknown_charset:
        return "a charset that cannot be decoded";
    }
    return "unknown http client error " + std::to_string(value);
  }
};

std::string operation_or_phase(client_phase phase, std::string_view operation) {
  return std::string(operation.empty() ? to_text(phase) : operation);
}

}  // namespace

std::string_view to_text(client_phase phase) noexcept {
  switch (phase) {
    case client_phase::request:
      return "request";
    case client_phase::pool:
      return "wait";
    case client_phase::resolve:
      return "resolve";
    case client_phase::connect:
      return "connect";
    case client_phase::proxy:
      return "proxy";
    case client_phase::tls:
      return "tls";
    case client_phase::send:
      return "send";
    case client_phase::read:
      return "read";
    case client_phase::redirect:
      return "redirect";
    case client_phase::status:
      return "status";
  }
  return "unknown";
}

const std::error_category& client_category() noexcept {
  static const client_category_type category;
  return category;
}

std::error_code make_error_code(client_fault fault) noexcept {
  return std::error_code(static_cast<int>(fault), client_category());
}

client_error::client_error(client_phase phase, std::string_view request, std::error_code code,
                           std::string_view operation, std::string_view subject)
    : io_error(code, operation_or_phase(phase, operation), subject),
      phase_(phase),
      request_(request),
      text_(request_ + ": " + io_error::what()) {}

client_error client_error::timed_out(client_phase phase, std::string_view request,
                                     std::string_view subject) {
  client_error made(phase, request, std::make_error_code(std::errc::timed_out), {}, subject);
  made.set_timeout();
  return made;
}

client_error client_error::of_status(std::string_view request, int status,
                                     std::string_view reason) {
  client_error made(client_phase::status, request, client_fault::bad_status);
  made.status_ = status;
  made.text_ = made.request_ + ": " + std::to_string(status) + ' ' +
               std::string(reason.empty() ? reason_of(status) : reason);
  return made;
}

}  // namespace rill::http
