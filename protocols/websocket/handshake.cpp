// See handshake.h.
#include <rill/protocols/websocket/handshake.h>

#include <algorithm>
#include <new>
#include <span>
#include <stdexcept>

#include <openssl/evp.h>

#include <rill/net/base64.h>
#include <rill/protocols/http/client_request.h>
#include <rill/protocols/http/text.h>
#include <rill/protocols/http/values.h>

namespace rill::websocket {
namespace {

constexpr std::size_t key_size = 16;
constexpr std::string_view version = "13";

/// All fields of this name as one list (RFC 9110 section 5.3).
std::string list_of(const http::message_head& head, std::string_view name) {
  std::string all;
  for (std::size_t i = 0; i < head.field_count(); ++i) {
    const http::field each = head.field_at(i);
    if (!http::equals_without_case(each.name, name)) continue;
    if (!all.empty()) all += ", ";
    all += each.value;
  }
  return all;
}

/// Base64 of 16 bytes, once.
bool is_key(const http::request_head& asked) {
  const auto key = asked.find("Sec-WebSocket-Key");
  if (!key || asked.count("Sec-WebSocket-Key") != 1) return false;
  const auto bytes = rill::detail::decode_base64(*key);
  return bytes && bytes->size() == key_size;
}

/// The host that is asked, whatever the scheme: a server behind a proxy may not know its own.
bool is_same_host(std::string_view origin, std::string_view authority) {
  const auto from = http::url::parse(origin);
  if (!from) return false;
  const auto here = http::url::parse(from->scheme + "://" + std::string(authority));
  return here && here->host == from->host && here->port == from->port;
}

bool is_welcome(const http::request_head& asked, const std::vector<std::string>& origins) {
  const auto origin = asked.find("Origin");
  if (!origin) return true;
  if (asked.count("Origin") != 1) return false;
  if (origins.empty()) return is_same_host(*origin, asked.authority());
  return std::any_of(origins.begin(), origins.end(), [&](const std::string& each) {
    return each == "*" || http::equals_without_case(each, *origin);
  });
}

handshake_answer refused(int status, std::string_view text) {
  handshake_answer made;
  made.status = status;
  made.text = text;
  return made;
}

/// nullopt: what must be there is.
std::optional<handshake_answer> check_request(const http::request_head& asked) {
  constexpr int bad_request = 400;
  constexpr int method_not_allowed = 405;
  constexpr int upgrade_required = 426;
  if (asked.method() != "GET") return refused(method_not_allowed, "a WebSocket begins with GET\n");
  if (asked.minor_version() == 0 || !asked.has_element("Upgrade", "websocket")) {
    return refused(upgrade_required, "this is a WebSocket\n");
  }
  if (!asked.has_element("Connection", "Upgrade")) {
    return refused(bad_request, "Connection must name Upgrade\n");
  }
  if (asked.count("Sec-WebSocket-Version") != 1 ||
      *asked.find("Sec-WebSocket-Version") != version) {
    return refused(upgrade_required, "the version of WebSocket here is 13\n");
  }
  if (!is_key(asked)) return refused(bad_request, "Sec-WebSocket-Key must be 16 bytes, once\n");
  return std::nullopt;
}

/// The first of ours that the client has offered; empty: none. False: the list is none.
bool choose_subprotocol(std::string_view offered, const std::vector<std::string>& ours,
                        std::string& chosen) {
  std::size_t best = ours.size();
  while (const auto each = http::next_element(offered)) {
    if (!http::detail::is_token(*each)) return false;
    const auto found = std::find(ours.begin(), ours.end(), *each);
    best = std::min(best, static_cast<std::size_t>(found - ours.begin()));
  }
  if (best != ours.size()) chosen = ours[best];
  return true;
}

void add_field(std::string& to, std::string_view name, std::string_view value) {
  if (!http::detail::is_token(name) || http::detail::has_control(value)) {
    throw std::invalid_argument("the field " + std::string(name) + " cannot be sent");
  }
  to.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

handshake_answer answer_handshake(const http::request_head& asked, const server_options& options) {
  constexpr int bad_request = 400;
  constexpr int forbidden = 403;
  if (auto obstacle = check_request(asked)) return *obstacle;
  if (!is_welcome(asked, options.origins)) {
    return refused(forbidden, "pages of this origin may not connect\n");
  }
  handshake_answer made;
  if (!choose_subprotocol(list_of(asked, "Sec-WebSocket-Protocol"), options.subprotocols,
                          made.agreed.subprotocol)) {
    return refused(bad_request, "malformed Sec-WebSocket-Protocol\n");
  }
  deflate_answer compression =
      answer_offers(list_of(asked, "Sec-WebSocket-Extensions"), options.connection.deflate);
  if (compression.is_malformed) return refused(bad_request, "malformed Sec-WebSocket-Extensions\n");
  made.agreed.deflate = compression.agreed;
  made.extensions = std::move(compression.text);
  made.accept = accept_of(*asked.find("Sec-WebSocket-Key"));
  return made;
}

std::string accept_of(std::string_view key) {
  // Section 1.3.
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr) != 1) {
    throw std::bad_alloc();
  }
  return rill::detail::encode_base64({reinterpret_cast<const char*>(digest), size});
}

std::string key_of(const std::array<std::byte, 16>& random) {
  return rill::detail::encode_base64({reinterpret_cast<const char*>(random.data()), random.size()});
}

std::optional<http::url> parse_url(std::string_view text) {
  const std::size_t colon = text.find("://");
  if (colon == text.npos || text.find('#') != text.npos) return std::nullopt;
  const std::string_view scheme = text.substr(0, colon);
  std::string instead;
  if (http::equals_without_case(scheme, "ws")) instead = "http";
  if (http::equals_without_case(scheme, "wss")) instead = "https";
  if (instead.empty()) return std::nullopt;
  return http::url::parse(instead.append(text.substr(colon)));
}

std::string write_request(const http::url& target, std::string_view key,
                          const client_options& options) {
  std::string made = "GET " + target.target() + " HTTP/1.1\r\nHost: " + target.authority() +
                     "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: ";
  made.append(version).append("\r\n");
  add_field(made, "Sec-WebSocket-Key", key);
  if (!options.origin.empty()) add_field(made, "Origin", options.origin);
  if (!options.subprotocols.empty()) {
    std::string all;
    for (const std::string& each : options.subprotocols) {
      if (!http::detail::is_token(each)) {
        throw std::invalid_argument("the subprotocol \"" + each + "\" is no token");
      }
      all.append(all.empty() ? "" : ", ").append(each);
    }
    add_field(made, "Sec-WebSocket-Protocol", all);
  }
  const std::string offer = write_offer(options.connection.deflate);
  if (!offer.empty()) add_field(made, "Sec-WebSocket-Extensions", offer);
  const std::string credentials = http::basic_credentials(target);
  if (!credentials.empty()) add_field(made, "Authorization", credentials);
  for (const auto& [name, value] : options.fields) add_field(made, name, value);
  return made.append("\r\n");
}

handshake_reading read_answer(const http::response_head& answer, std::string_view key,
                              const client_options& options) {
  constexpr int switching_protocols = 101;
  handshake_reading made;
  const auto fail = [&](handshake_fault fault) {
    made.fault = make_error_code(fault);
    return made;
  };
  if (answer.status() != switching_protocols) return fail(handshake_fault::refused);
  if (!answer.has_element("Upgrade", "websocket") || !answer.has_element("Connection", "Upgrade")) {
    return fail(handshake_fault::not_upgraded);
  }
  if (answer.count("Sec-WebSocket-Accept") != 1 ||
      *answer.find("Sec-WebSocket-Accept") != accept_of(key)) {
    return fail(handshake_fault::bad_accept);
  }
  if (const auto chosen = answer.find("Sec-WebSocket-Protocol")) {
    const auto& ours = options.subprotocols;
    if (answer.count("Sec-WebSocket-Protocol") != 1 ||
        std::find(ours.begin(), ours.end(), *chosen) == ours.end()) {
      return fail(handshake_fault::unknown_subprotocol);
    }
    made.agreed.subprotocol = *chosen;
  }
  const deflate_reading extensions =
      read_answer(list_of(answer, "Sec-WebSocket-Extensions"), options.connection.deflate);
  if (extensions.is_refused) return fail(handshake_fault::unknown_extension);
  made.agreed.deflate = extensions.agreed;
  return made;
}

// ---------------------------------------------------------------- errors

namespace {

class websocket_errors final : public std::error_category {
 public:
  const char* name() const noexcept override { return "websocket"; }
  std::string message(int code) const override {
    switch (static_cast<handshake_fault>(code)) {
      case handshake_fault::bad_url:
        return "not a URL of a WebSocket";
      case handshake_fault::refused:
        return "the server has refused it";
      case handshake_fault::not_upgraded:
        return "the server has not changed the protocol";
      case handshake_fault::bad_accept:
        return "the server's answer is not to our request";
      case handshake_fault::unknown_subprotocol:
        return "the server has chosen a subprotocol that was not offered";
      case handshake_fault::unknown_extension:
        return "the server has chosen extensions that were not offered";
      case handshake_fault::not_ours_to_take_over:
        return "the connector does not give its stream away";
    }
    return "unknown error";
  }
};

}  // namespace

const std::error_category& websocket_category() noexcept {
  static const websocket_errors category;
  return category;
}

std::error_code make_error_code(handshake_fault fault) noexcept {
  return {static_cast<int>(fault), websocket_category()};
}

handshake_error::handshake_error(handshake_fault fault, std::string_view subject, int status)
    : io_error(make_error_code(fault), "WebSocket handshake",
               status == 0 ? std::string(subject)
                           : std::string(subject) + " (" + std::to_string(status) + ')'),
      status_(status) {}

}  // namespace rill::websocket
