// The texts of category "nats". See error.h.
#include <rill/protocols/nats/error.h>

#include <string>

namespace rill::nats {
namespace {

class nats_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "nats"; }

  std::string message(int value) const override {
    switch (static_cast<nats_error>(value)) {
      case nats_error::bad_line:
        return "malformed control line";
      case nats_error::unknown_operation:
        return "unknown operation";
      case nats_error::bad_arguments:
        return "malformed arguments of an operation";
      case nats_error::control_line_too_long:
        return "control line too long";
      case nats_error::headers_too_large:
        return "headers too large";
      case nats_error::payload_too_large:
        return "payload too large";
      case nats_error::bad_payload_end:
        return "payload without its end";
      case nats_error::bad_headers:
        return "malformed headers";
      case nats_error::bad_info:
        return "malformed INFO";
      case nats_error::bad_subject:
        return "malformed subject";
      case nats_error::bad_server_address:
        return "malformed address of a server";
      case nats_error::bad_credentials:
        return "malformed credentials";
      case nats_error::authorization:
        return "the server does not accept the credentials";
      case nats_error::permission:
        return "not permitted by the server";
      case nats_error::tls_required:
        return "one side wants TLS and the other does not offer it";
      case nats_error::refused:
        return "the server has refused the connection";
      case nats_error::stale:
        return "no sign of life from the server";
      case nats_error::disconnected:
        return "the connection was lost";
      case nats_error::closed:
        return "the client is closed";
      case nats_error::lame_duck:
        return "the server is about to stop";
      case nats_error::flooded:
        return "the server asks for more answers than it takes";
      case nats_error::pending_full:
        return "too much waits to be sent";
      case nats_error::slow_consumer:
        return "messages came faster than they were taken";
      case nats_error::no_responders:
        return "nobody listens there";
      case nats_error::bad_answer:
        return "malformed answer of JetStream";
      case nats_error::refused_by_api:
        return "refused by JetStream";
      case nats_error::not_found:
        return "no such stream or message";
      case nats_error::wrong_last_sequence:
        return "another message is the last";
      case nats_error::outcome_unknown:
        return "the message may stand in the stream or not";
    }
    return "unknown nats error " + std::to_string(value);
  }
};

}  // namespace

const std::error_category& nats_category() noexcept {
  static const nats_category_type category;
  return category;
}

std::error_code make_error_code(nats_error error) noexcept {
  return std::error_code(static_cast<int>(error), nats_category());
}

}  // namespace rill::nats
