// Why there is no conversation with a server, or no longer one. Whatever the client was about to
// send was not accepted: what is known of a message that was is a delivery (delivery.h).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <rill/protocols/smtp/error.h>
#include <rill/protocols/smtp/reply.h>

namespace rill::smtp {

enum class client_phase : std::uint8_t {
  connect,
  greeting,
  hello,
  starttls,
  handshake,
  auth,
  mail,
  rcpt,
  data,
  content,
  reset,
  quit
};

/// As it stands in messages: "STARTTLS".
std::string_view name_of(client_phase phase) noexcept;

/// What a client throws: in which step, why, and whether to try again.
class client_error : public std::runtime_error {
 public:
  /// what(): "mail.example.org:587: STARTTLS: refused: 454 4.7.0 no TLS today". `detail` is what
  /// stands for the code's own text where it says more.
  client_error(client_phase phase, std::string_view server, std::error_code code,
               std::string_view detail = {});
  /// The server has refused: smtp_error::refused.
  client_error(client_phase phase, std::string_view server, const reply& said);

  client_phase phase() const noexcept { return phase_; }
  /// Category "smtp", "tls", "resolve" or the system's.
  const std::error_code& code() const noexcept { return code_; }
  /// Code 0, if it was not a reply.
  const reply& answer() const noexcept { return answer_; }
  /// Another attempt may succeed: 4xx; time-outs, lost connections and what else the network does.
  /// Not a name that does not exist, a certificate, a server that breaks the protocol.
  bool is_temporary() const noexcept;

 private:
  client_phase phase_;
  std::error_code code_;
  reply answer_;
};

}  // namespace rill::smtp
