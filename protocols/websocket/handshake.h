// The opening handshake (RFC 6455 section 4): what a server answers to a request, what a client
// asks and expects. No connection here: heads in, decisions out.
// Read next: server.h, client.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

#include <rill/protocols/http/head.h>
#include <rill/protocols/http/url.h>
#include <rill/protocols/websocket/deflate.h>
#include <rill/protocols/websocket/options.h>
#include <rill/runtime/error.h>

namespace rill::websocket {

/// What the two ends have agreed on.
class negotiated {
 public:
  negotiated() {}

  std::string subprotocol;  ///< empty: none
  std::optional<deflate_parameters> deflate;
};

/// What a server makes of a request.
class handshake_answer {
 public:
  handshake_answer() {}

  /// 101; 400, 403, 405 or 426 with the reason in `text`.
  int status = 101;
  std::string_view text;
  std::string accept;      ///< Sec-WebSocket-Accept
  std::string extensions;  ///< Sec-WebSocket-Extensions; empty: no field
  negotiated agreed;
};
/// Refuses what is no handshake of version 13 (RFC 6455 section 4.2.1), and pages of origins that
/// may not connect; chooses a subprotocol and compression. Texts refer to `asked` or are constants.
handshake_answer answer_handshake(const http::request_head& asked, const server_options& options);

/// Sec-WebSocket-Accept for a Sec-WebSocket-Key.
std::string accept_of(std::string_view key);
/// Sec-WebSocket-Key out of 16 random bytes.
std::string key_of(const std::array<std::byte, 16>& random);

/// "ws://host/path", "wss://host/path" as a URL of HTTP; nullopt for other text, and for what has a
/// fragment, which a WebSocket cannot (section 3).
std::optional<http::url> parse_url(std::string_view text);
/// The request, with its empty line. Throws std::invalid_argument for fields that cannot be sent.
std::string write_request(const http::url& target, std::string_view key,
                          const client_options& options);

/// Why a client has no connection, beside what errno says: category "websocket".
enum class handshake_fault {
  bad_url = 1,           ///< not "ws://host/..." or "wss://host/..."
  refused,               ///< another status than 101
  not_upgraded,          ///< 101 without Upgrade and Connection as they must be
  bad_accept,            ///< an answer that is not to our key
  unknown_subprotocol,   ///< one that was not offered
  unknown_extension,     ///< one that was not offered, or not so
  not_ours_to_take_over  ///< the connector's stream cannot be handed over
};
/// The category "websocket"; the same object in every call.
const std::error_category& websocket_category() noexcept;
/// In that category.
std::error_code make_error_code(handshake_fault fault) noexcept;

/// "WebSocket handshake ws://10.0.0.1/chat: the server has refused it (403)"
class handshake_error : public io_error {
 public:
  handshake_error(handshake_fault fault, std::string_view subject, int status = 0);
  /// Of the answer; 0: there was none.
  int status() const noexcept { return status_; }

 private:
  int status_;
};

/// What a client makes of the answer to its request.
struct handshake_reading {
  std::error_code fault;  ///< 0: the connection is a WebSocket
  negotiated agreed;
};
/// Believes only an answer to `key`, with what `options` have offered (RFC 6455 section 4.1).
handshake_reading read_answer(const http::response_head& answer, std::string_view key,
                              const client_options& options);

}  // namespace rill::websocket

template <>
struct std::is_error_code_enum<rill::websocket::handshake_fault> : std::true_type {};
