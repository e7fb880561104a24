// The handshake from the client's side. See client.h.
#include <rill/protocols/websocket/client.h>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <rill/protocols/http/client_stream.h>
#include <rill/protocols/http/connector.h>
#include <rill/protocols/http/error.h>
#include <rill/protocols/http/tls_connector.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/timeout.h>

namespace rill::websocket {
namespace {

std::string new_key() {
  std::array<std::byte, 16> random;
  loop::current().kernel().random(random);
  return key_of(random);
}

/// Interim responses are passed over, as HTTP has it, but not many.
constexpr int interim_max = 16;

/// Until the head of the answer is there.
task<void> read_head(http::client_stream& from, http::response_head& head,
                     loop_clock::time_point deadline) {
  for (int interim_count = 0;;) {
    http::parse_state state = http::parse_state::incomplete;
    if (!from.buffered().empty()) state = head.parse(from.buffered().text(), "GET");
    if (state == http::parse_state::failed) {
      throw io_error(make_error_code(head.error()), "read", from.peer());
    }
    if (state == http::parse_state::complete) {
      if (!head.is_interim()) co_return;
      from.consume(head.size());
      head.clear();
      if (++interim_count <= interim_max) continue;
      throw io_error(make_error_code(http::http_error::bad_field), "read", from.peer());
    }
    const auto came = co_await from.fill(deadline);
    if (!came) throw_error(came.error(), from.peer());
    if (*came == 0) {
      throw io_error(make_error_code(http::http_error::incomplete), "read", from.peer());
    }
  }
}

task<connection> shake_hands(std::unique_ptr<http::client_stream> over, const http::url& target,
                             const std::string& name, const client_options& options,
                             loop_clock::time_point deadline) {
  const std::string key = new_key();
  const std::string request = write_request(target, key, options);
  const const_buffer piece(request);
  const auto sent = co_await over->write(std::span<const const_buffer>(&piece, 1), deadline);
  if (!sent) throw_error(sent.error(), over->peer());
  http::response_head head(options.head);
  co_await read_head(*over, head, deadline);
  handshake_reading read = read_answer(head, key, options);
  if (read.fault) {
    throw handshake_error(static_cast<handshake_fault>(read.fault.value()), name, head.status());
  }
  over->consume(head.size());
  const std::string received(over->buffered().text());
  any_stream stream = over->take_stream();
  if (!stream.is_open()) throw handshake_error(handshake_fault::not_ours_to_take_over, name);
  co_return connection(std::move(stream), role::client, options.connection, std::move(read.agreed),
                       received);
}

}  // namespace

task<connection> connect(std::string url, client_options options) {
  const std::optional<http::url> target = parse_url(url);
  if (!target) {
    // What may be a password is shown to nobody.
    const std::size_t secret_end = url.rfind('@');
    const std::string shown = secret_end == url.npos ? url : "..." + url.substr(secret_end);
    throw handshake_error(handshake_fault::bad_url, shown);
  }
  const bool is_secure = target->scheme == "https";
  const std::string name = (is_secure ? "wss://" : "ws://") + target->authority() + target->path;
  std::optional<http::tls_connector> own;
  http::connector* with = options.with;
  if (with == nullptr) with = &own.emplace(options.tls);
  const loop_clock::time_point deadline = loop_clock::after(loop_clock::now(), options.timeout);
  const http::destination to{&*target, nullptr, deadline};
  http::client_phase phase = http::client_phase::resolve;
  std::unique_ptr<http::client_stream> opened = co_await with->open(to, phase);
  co_return co_await shake_hands(std::move(opened), *target, name, options, deadline);
}

}  // namespace rill::websocket
