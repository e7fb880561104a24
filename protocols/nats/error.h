// What can go wrong with NATS and has no errno: the error codes of category "nats".
// Not here: what fails below NATS (runtime/error.h), what JetStream's API answers (api_error in
// jetstream.h).
#pragma once

#include <system_error>
#include <type_traits>

namespace rill::nats {

/// Why something did not work.
enum class nats_error {
  bad_line = 1,           ///< a control line that does not end with CR LF, or has a control in it
  unknown_operation,      ///< none of the words of the protocol, or one of the other side
  bad_arguments,          ///< too few, too many, or what is no number where one belongs
  control_line_too_long,  ///< more than codec_limits has for it
  headers_too_large,      ///< of a client: more than codec_limits::header_size_max
  payload_too_large,      ///< more than codec_limits::payload_size_max, or the server's max_payload
  bad_payload_end,        ///< a payload without CR LF behind it
  bad_headers,            ///< headers that are not "NATS/1.0" and lines of "Name: value"
  bad_info,               ///< an INFO that is no JSON object, or lacks what a client needs
  bad_subject,          ///< an empty token, a blank, a control, or a wildcard where none may stand
  bad_server_address,   ///< not "nats://host:port"
  bad_credentials,      ///< a key or a file of credentials that cannot be read
  authorization,        ///< the server does not take the credentials
  permission,           ///< the server does not let this user publish or subscribe there
  tls_required,         ///< TLS is wanted by one side and not offered by the other
  refused,              ///< the server has ended the connection with -ERR
  stale,                ///< no sign of life from the server
  disconnected,         ///< the connection was lost: what was asked may have happened or not
  closed,               ///< the client was closed or drained
  lame_duck,            ///< the server is about to stop; the client goes elsewhere
  flooded,              ///< the server asks for more answers than it takes
  pending_full,         ///< what waits to be sent exceeds client_options::pending_size_max
  slow_consumer,        ///< messages came faster than they were taken, and some are missing
  no_responders,        ///< nobody listens there (status 503)
  bad_answer,           ///< an answer of JetStream that is not what it should be
  refused_by_api,       ///< JetStream has answered with an error
  not_found,            ///< no such stream or message
  wrong_last_sequence,  ///< the stream's last message is another than was expected
  outcome_unknown,      ///< a message may stand in the stream or not: the time for it is over
};

/// The category "nats"; the same object in every call.
const std::error_category& nats_category() noexcept;
std::error_code make_error_code(nats_error error) noexcept;

}  // namespace rill::nats

template <>
struct std::is_error_code_enum<rill::nats::nats_error> : std::true_type {};
