// Connecting, and the tunnels of proxies. See connector.h.
#include <rill/protocols/http/connector.h>

#include <optional>
#include <utility>

#include <rill/net/buffered.h>
#include <rill/net/connect.h>
#include <rill/protocols/http/client_request.h>
#include <rill/protocols/http/head.h>

namespace rill::http {
namespace {

std::string authority_with_port(const url& target) {
  const bool is_ipv6 = target.host.find(':') != target.host.npos;
  return (is_ipv6 ? '[' + target.host + ']' : target.host) + ':' + std::to_string(target.port);
}

/// CONNECT (RFC 9110 section 9.3.6). What the proxy sends after its head would be taken for the
/// target's: nobody speaks there before the client does, so it is refused.
task<void> make_tunnel(tcp_stream& proxy, const destination& to) {
  const std::string authority = authority_with_port(*to.target);
  std::string ask = "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n";
  const std::string credentials = basic_credentials(*to.proxy);
  if (!credentials.empty()) ask += "Proxy-Authorization: " + credentials + "\r\n";
  ask += "\r\n";
  co_await with_deadline(to.deadline, proxy.write_all(const_buffer(ask)));
  buffered_reader<tcp_stream> reader(proxy);
  response_head head;
  for (;;) {
    const std::size_t came = co_await with_deadline(to.deadline, reader.fill());
    if (came == 0) throw io_error(make_error_code(http_error::incomplete), "read", "tunnel");
    const parse_state state = head.parse(reader.buffered().text(), "CONNECT");
    if (state == parse_state::failed) {
      throw io_error(make_error_code(head.error()), "read", "tunnel");
    }
    if (state == parse_state::complete) break;
  }
  if (head.status() < 200 || head.status() > 299) {
    client_error refused(client_phase::proxy, {}, client_fault::proxy_refused, "CONNECT",
                         authority + " (" + std::to_string(head.status()) + ')');
    refused.set_status(head.status());
    throw refused;
  }
  if (reader.buffered().size() != head.size()) {
    throw io_error(make_error_code(http_error::bad_field), "read", "tunnel");
  }
}

}  // namespace

void tcp_connector::set_address(std::string_view host, std::uint16_t port,
                                std::string_view address) {
  fixed_.push_back({std::string(host), port, std::string(address)});
}

task<tcp_stream> tcp_connector::open_tcp(const destination& to, client_phase& phase) {
  const url& first = to.proxy == nullptr ? *to.target : *to.proxy;
  std::string host = first.host;
  for (const fixed_address& each : fixed_) {
    if (each.host == first.host && each.port == first.port) host = each.address;
  }
  connect_options options;
  options.timeout = to.deadline - loop_clock::now();
  options.with = &resolver_;
  phase = client_phase::connect;
  tcp_stream stream = co_await connect(std::move(host), first.port, options);
  if (to.proxy != nullptr && to.target->scheme == "https") {
    phase = client_phase::proxy;
    co_await make_tunnel(stream, to);
  }
  co_return stream;
}

task<std::unique_ptr<client_stream>> tcp_connector::open(const destination& to,
                                                         client_phase& phase) {
  if (to.target->scheme != "http") {
    phase = client_phase::request;
    throw io_error(make_error_code(client_fault::unsupported_scheme), "open", to.target->scheme);
  }
  tcp_stream stream = co_await open_tcp(to, phase);
  std::string peer = stream.peer().to_string();
  co_return std::make_unique<client_stream_over<tcp_stream>>(std::move(stream), std::move(peer));
}

}  // namespace rill::http
