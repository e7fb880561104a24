// See client_error.h.
#include <rill/protocols/smtp/client_error.h>

#include <rill/net/resolve_error.h>
#include <rill/net/stream.h>
#include <rill/net/tls/error.h>

namespace rill::smtp {
namespace {

std::string text_of(client_phase phase, std::string_view server, std::string_view why) {
  std::string text(server);
  if (!text.empty()) text += ": ";
  return text.append(name_of(phase)).append(": ").append(why);
}

}  // namespace

std::string_view name_of(client_phase phase) noexcept {
  constexpr std::string_view names[] = {"connect",       "greeting", "EHLO", "STARTTLS",
                                        "TLS handshake", "AUTH",     "MAIL", "RCPT",
                                        "DATA",          "message",  "RSET", "QUIT"};
  return names[static_cast<std::size_t>(phase)];
}

client_error::client_error(client_phase phase, std::string_view server, std::error_code code,
                           std::string_view detail)
    : std::runtime_error(
          text_of(phase, server, detail.empty() ? std::string_view(code.message()) : detail)),
      phase_(phase),
      code_(code) {}

client_error::client_error(client_phase phase, std::string_view server, const reply& said)
    : std::runtime_error(text_of(phase, server, said.to_string())),
      phase_(phase),
      code_(smtp_error::refused),
      answer_(said) {}

bool client_error::is_temporary() const noexcept {
  if (answer_.code() != 0) return answer_.is_temporary();
  if (code_.category() == smtp_category()) return code_ == smtp_error::ended;
  if (code_.category() == tls::tls_category()) return code_ == tls::tls_error::truncated;
  if (code_.category() == resolve_category()) {
    return code_ == resolve_error::no_answer || code_ == resolve_error::server_failure;
  }
  return true;
}

}  // namespace rill::smtp
