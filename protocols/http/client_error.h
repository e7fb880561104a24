// Why a client has no response: in which phase, for which request, and what the cause was.
// Not here: responses that say something went wrong, which are responses (client_response.h).
// Read next: client.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <rill/runtime/error.h>

namespace rill::http {

/// How far a request got.
enum class client_phase : std::uint8_t {
  request,   ///< it could not be sent as it was given, such as to a URL that is none
  pool,      ///< waiting for a connection that others use
  resolve,   ///< looking up the host, or the proxy
  connect,   ///< making the connection
  proxy,     ///< the proxy did not make the tunnel
  tls,       ///< the handshake
  send,      ///< sending the request
  read,      ///< reading the response
  redirect,  ///< following to another URL
  status     ///< raise_for_status()
};

/// "connect", "read" ...
std::string_view to_text(client_phase phase) noexcept;

/// What can go wrong in a client and is neither errno's nor http_error's: category "http client".
enum class client_fault {
  bad_url = 1,             ///< not "http://host/..." or "https://host/..."
  bad_body,                ///< a producer wrote more or less than it had promised
  unsupported_scheme,      ///< https without a connector for it
  bad_proxy,               ///< a proxy that is none: only http://host:port is
  proxy_refused,           ///< the proxy answered CONNECT with another status than 2xx
  too_many_waiting,        ///< more than pool_limits::waiting_count_max
  too_many_interim,        ///< more than client_options::interim_count_max responses 1xx
  unexpected_upgrade,      ///< 101, which nobody had asked for
  bad_redirect,            ///< Location is no URL that can be fetched
  too_many_redirects,      ///< more than client_options::redirect_count_max
  bad_status,              ///< raise_for_status(): 400 or more
  unknown_content_coding,  ///< a body in a coding that was not asked for
  corrupt_content,         ///< a compressed body that is none
  content_bomb,            ///< more than decode_limits::ratio_max
  unknown_charset,         ///< text() of a charset that is not decoded here
};

/// The category "http client"; the same object in every call.
const std::error_category& client_category() noexcept;
std::error_code make_error_code(client_fault fault) noexcept;

/// what() reads "GET http://10.0.0.7:8080/: read 10.0.0.7:8080: Connection reset by peer". URLs are
/// shown without user and password.
class client_error : public io_error {
 public:
  /// `request`: "GET http://host/path". `operation` and `subject` as io_error has them; an empty
  /// operation is the name of the phase.
  client_error(client_phase phase, std::string_view request, std::error_code code,
               std::string_view operation = {}, std::string_view subject = {});
  /// A deadline of ours passed.
  static client_error timed_out(client_phase phase, std::string_view request,
                                std::string_view subject);
  /// raise_for_status() of a response.
  static client_error of_status(std::string_view request, int status, std::string_view reason);

  client_phase phase() const noexcept { return phase_; }
  /// "GET http://host/path"
  const std::string& request() const noexcept { return request_; }
  /// A deadline of the client's passed; the kernel may report ETIMEDOUT too, which is none.
  bool is_timeout() const noexcept { return is_timeout_; }
  /// Of the response that raise_for_status() was asked about, or that a proxy gave; 0 without one.
  int status() const noexcept { return status_; }
  const char* what() const noexcept override { return text_.c_str(); }

  // For the client, which knows more than who has thrown.
  void set_timeout() noexcept { is_timeout_ = true; }
  void set_status(int status) noexcept { status_ = status; }

 private:
  client_phase phase_;
  bool is_timeout_ = false;
  int status_ = 0;
  std::string request_;
  std::string text_;
};

}  // namespace rill::http

template <>
struct std::is_error_code_enum<rill::http::client_fault> : std::true_type {};
