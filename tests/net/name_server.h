// A name server for tests: a UDP socket and a TCP listener with one port on the loopback interface,
// in the loop of the test itself, whose replies the test scripts.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/net/address.h>
#include <rill/net/endpoint.h>
#include <rill/net/tcp.h>
#include <rill/net/udp.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/semaphore.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/task.h>

namespace rill::test {

using bytes = std::vector<std::byte>;

/// A question as the name server has read it.
class query {
 public:
  query(std::span<const std::byte> message, bool over_tcp) : is_tcp(over_tcp) {
    const auto byte = [&](std::size_t at) {
      return at < message.size() ? std::to_integer<unsigned>(message[at]) : 0U;
    };
    id = static_cast<std::uint16_t>(byte(0) << 8 | byte(1));
    has_edns = byte(11) != 0;  // an additional record
    std::size_t at = 12;
    while (byte(at) != 0) {
      if (!name.empty()) name += '.';
      for (std::size_t i = 1; i <= byte(at); ++i) name += static_cast<char>(byte(at + i));
      at += byte(at) + 1;
    }
    type = static_cast<std::uint16_t>(byte(at + 1) << 8 | byte(at + 2));
  }
  bool is_a() const { return type == 1; }
  /// "www.example.org A", and what is unusual about it.
  std::string text() const {
    return name + (is_a() ? " A" : " AAAA") + (is_tcp ? " tcp" : "") +
           (has_edns ? "" : " without-edns");
  }

  std::string name;
  std::uint16_t id = 0;
  std::uint16_t type = 0;
  bool is_tcp;
  bool has_edns = false;
};

/// A reply under construction; the records must be added in their order.
class message {
 public:
  static constexpr std::uint16_t reply_flags = 0x8180;  // QR, RD, RA
  static constexpr std::uint16_t truncated = 0x0200;

  explicit message(const query& asked, unsigned flags = reply_flags)
      : message(asked.id, asked.name, asked.type, flags) {}
  message(std::uint16_t id, std::string_view name, std::uint16_t type, unsigned flags) {
    for (const unsigned each : {unsigned{id}, flags, 1U, 0U, 0U, 0U}) put_u16(each);
    put_name(name);
    put_u16(type);
    put_u16(1);
  }

  message& ip(std::string_view owner, const address& ip) {
    const auto data = std::as_bytes(ip.bytes());
    return record(owner, ip.is_v4() ? 1 : 28, bytes(data.begin(), data.end()));
  }
  message& alias(std::string_view owner, std::string_view target) {
    message data(0, target, 0, 0);
    const bytes name(data.content_.begin() + 12, data.content_.end() - 4);
    return record(owner, 5, name);
  }
  /// A record whose owner is a compression pointer to itself.
  message& pointer_loop() {
    put_u16(0xc000U | static_cast<unsigned>(content_.size()));
    for (const unsigned each : {1U, 1U, 0U, 300U, 4U, 0U, 0U}) put_u16(each);
    content_[7] = std::byte{1};
    return *this;
  }
  operator bytes() const { return content_; }

 private:
  message& record(std::string_view owner, unsigned type, const bytes& data) {
    put_name(owner);
    for (const unsigned each : {type, 1U, 0U, 300U, static_cast<unsigned>(data.size())}) {
      put_u16(each);
    }
    content_.insert(content_.end(), data.begin(), data.end());
    content_[7] = static_cast<std::byte>(std::to_integer<unsigned>(content_[7]) + 1);
    return *this;
  }
  void put_u16(unsigned value) {
    content_.push_back(static_cast<std::byte>(value >> 8));
    content_.push_back(static_cast<std::byte>(value & 0xffU));
  }
  void put_name(std::string_view name) {
    while (!name.empty()) {
      const std::string_view label = name.substr(0, name.find('.'));
      content_.push_back(static_cast<std::byte>(label.size()));
      for (const char c : label) content_.push_back(static_cast<std::byte>(c));
      name.remove_prefix(std::min(label.size() + 1, name.size()));
    }
    content_.push_back(std::byte{0});
  }

  bytes content_;
};

class name_server {
 public:
  /// The messages with which to answer, in order; none is silence.
  using script = std::function<std::vector<bytes>(const query&)>;

  explicit name_server(script answers) : script_(std::move(answers)) {
    while (true) {
      udp_ = udp_socket::bind(endpoint(address::loopback_v4(), 0));
      try {
        tcp_ = tcp_listener::bind(udp_.local());
        return;
      } catch (const io_error&) {  // the number is taken: another one
      }
    }
  }

  ip_endpoint where() const { return *udp_.local().ip(); }

  /// Answers until cancelled.
  task<> run() {
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([this] { return run_tcp(); });
      std::vector<std::byte> buffer(4096);
      while (true) {
        const datagram_info came = co_await udp_.recv_from(buffer);
        const query asked_now(std::span<const std::byte>(buffer).first(came.size()), false);
        asked.push_back(asked_now.text());
        tasks.start([this](query q, endpoint to) { return answer(std::move(q), to); }, asked_now,
                    came.peer());
      }
    });
  }

  /// Every query that came, as query::text().
  std::vector<std::string> asked;
  /// Replies over UDP leave from another port than the one that was asked.
  bool answers_from_elsewhere = false;
  /// How long a query of this type waits for its reply.
  std::chrono::milliseconds a_delay{0};
  std::chrono::milliseconds aaaa_delay{0};
  /// Closes a TCP connection after so many bytes of a reply.
  std::size_t tcp_size_max = SIZE_MAX;

 private:
  task<> answer(query q, endpoint to) {
    const std::chrono::milliseconds delay = q.is_a() ? a_delay : aaaa_delay;
    if (delay.count() != 0) co_await sleep_for(delay);
    const std::vector<bytes> messages = script_(q);
    udp_socket elsewhere;
    if (answers_from_elsewhere) elsewhere = udp_socket::bind(endpoint(address::loopback_v4(), 0));
    udp_socket& from = answers_from_elsewhere ? elsewhere : udp_;
    const auto turn = co_await sending_->lock();
    for (const bytes& each : messages) {
      // The resolver may have gone, and its port said so.
      const auto sent = co_await as_result(from.send_to(each, to));
      if (!sent) co_return;
    }
  }

  task<> run_tcp() {
    while (true) {
      tcp_stream peer = co_await tcp_.accept();
      co_await answer_stream(peer);
    }
  }

  task<> answer_stream(tcp_stream& peer) {
    std::array<std::byte, 2> prefix{};
    if (!co_await peer.read_exactly(prefix)) co_return;
    bytes received(std::to_integer<std::size_t>(prefix[0]) << 8 |
                   std::to_integer<std::size_t>(prefix[1]));
    if (!co_await peer.read_exactly(received)) co_return;
    const query q(received, true);
    asked.push_back(q.text());
    bytes out;
    for (const bytes& each : script_(q)) {
      out.push_back(static_cast<std::byte>(each.size() >> 8));
      out.push_back(static_cast<std::byte>(each.size() & 0xff));
      out.insert(out.end(), each.begin(), each.end());
    }
    if (out.size() > tcp_size_max) out.resize(tcp_size_max);
    const auto sent = co_await as_result(peer.write_all(out));
    if (!sent || tcp_size_max != SIZE_MAX) co_return;
    std::array<std::byte, 64> rest{};  // until the resolver has read it and closes
    co_await as_result(peer.read(rest));
  }

  script script_;
  std::unique_ptr<mutex> sending_ = std::make_unique<mutex>();
  udp_socket udp_;
  tcp_listener tcp_;
};

}  // namespace rill::test
