// A whole look-up in a simulated world, whose name server answers what the input says: silence,
// nonsense, other people's answers, lies about lengths, half of a message. The look-up ends in time
// with addresses that the server has sent, or with an error of its own kind, and leaves nothing.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/input.h"
#include "fuzz/world.h"
#include <rill/net/resolver.h>
#include <rill/net/tcp.h>
#include <rill/net/udp.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/semaphore.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace {

using namespace std::chrono_literals;
using rill::endpoint;
using rill::task;
using rill::fuzz::check;

endpoint port_53() { return endpoint(rill::address::any_v4(), 53); }

// ---------------------------------------------------------------- the server

struct step {
  std::vector<std::string> messages;
  std::chrono::microseconds delay{0};
  bool lies_about_length = false;
  bool closes = false;
};

class name_server {
 public:
  explicit name_server(rill::fuzz::input& from) : from_(&from) {}

  task<> serve_datagrams() {
    auto socket = rill::udp_socket::bind(port_53());
    std::string room(1500, ' ');
    co_await rill::with_nursery([&](rill::nursery& answers) -> task<> {
      for (;;) {
        const auto came = co_await rill::as_result(socket.recv_from(rill::mutable_buffer(room)));
        if (!came) continue;  // a port that is closed again has said so
        answers.start(
            [&](step what, endpoint peer) -> task<> {
              co_await rill::sleep_for(what.delay);
              for (const std::string& each : what.messages) {
                co_await send(socket, each, peer);
              }
            },
            next(std::string_view(room).substr(0, came->size())), came->peer());
      }
    });
  }

  task<> serve_streams() {
    auto listener = rill::tcp_listener::bind(port_53());
    co_await rill::with_nursery([&](rill::nursery& sessions) -> task<> {
      for (;;) {
        sessions.start([this](rill::tcp_stream peer) { return talk(std::move(peer)); },
                       co_await listener.accept());
      }
    });
  }

  /// Every byte that was sent.
  std::string sent;

 private:
  /// One datagram at a time: two sends at once are a programmer's error.
  task<> send(rill::udp_socket& socket, const std::string& message, const endpoint& to) {
    const auto turn = co_await sending_.lock();
    co_await rill::as_result(socket.send_to(rill::const_buffer(message), to));
  }

  task<> talk(rill::tcp_stream peer) {
    try {
      std::string prefix(2, ' ');
      if (!co_await peer.read_exactly(rill::mutable_buffer(prefix))) co_return;
      std::string query(static_cast<unsigned char>(prefix[1]), ' ');
      if (!co_await peer.read_exactly(rill::mutable_buffer(query))) co_return;
      const step what = next(query);
      co_await rill::sleep_for(what.delay);
      std::string all;
      for (const std::string& each : what.messages) {
        const std::size_t size = each.size() + (what.lies_about_length ? 7 : 0);
        all += static_cast<char>(size >> 8);
        all += static_cast<char>(size & 0xff);
        all += each;
      }
      co_await peer.write_all(rill::const_buffer(all));
      if (what.closes) co_return;
      co_await peer.read(rill::mutable_buffer(prefix));  // until the resolver has gone
    } catch (const rill::io_error&) {
    }
  }

  /// What the input says about the next query.
  step next(std::string_view query) {
    step made;
    if (from_->empty()) return made;
    const unsigned how = from_->byte();
    made.delay = std::chrono::microseconds((how & 3U) * (how & 3U) * 700);
    made.lies_about_length = (how & 4U) != 0;
    made.closes = (how & 8U) != 0;
    for (unsigned i = 0; i <= (how >> 4 & 1U); ++i) made.messages.push_back(message_to(query));
    for (const std::string& each : made.messages) sent += each;
    return made;
  }

  std::string message_to(std::string_view query) {
    const unsigned what = from_->byte() % 8;
    if (what == 0) return std::string(from_->text(from_->number(200)));  // nonsense
    const bool has_edns = query[11] != 0;
    const std::string_view asked = query.substr(12, query.size() - 12 - (has_edns ? 11 : 0));
    const bool is_a = asked[asked.size() - 3] == 1;
    std::string made(query.substr(0, 2));
    made += '\x81';
    made += '\x80';
    made += std::string("\0\1\0\0\0\0\0\0", 8);
    made += asked;
    if (what < 4) {  // an answer, or several
      made[7] = static_cast<char>(what);
      for (unsigned i = 0; i < what; ++i) {
        made += std::string("\xc0\x0c\0\0\0\1\0\0\1\0\0\0", 12);
        made[made.size() - 9] = is_a ? '\1' : '\x1c';
        made[made.size() - 1] = is_a ? '\4' : '\x10';
        std::string data(from_->text(is_a ? 4 : 16));
        data.resize(is_a ? 4 : 16, 'z');
        made += data;
      }
    } else if (what == 4) {  // flags and counts as the input has them, and records too
      made[2] = static_cast<char>(0x80U | from_->byte());
      made[3] = static_cast<char>(from_->byte());
      made[7] = static_cast<char>(from_->byte());
      made[11] = static_cast<char>(from_->byte());
      made += from_->text(from_->number(200));
    } else if (what == 5) {  // truncated
      made[2] = '\x83';
    } else if (what == 6) {  // an error
      made[3] = static_cast<char>(0x80U | (from_->byte() & 15U));
    } else {  // somebody else's
      const std::size_t at = from_->number(made.size() - 1);
      made[at] = static_cast<char>(made[at] ^ (1 + from_->number(254)));
    }
    return made;
  }

  rill::fuzz::input* from_;
  rill::mutex sending_;
};

// ---------------------------------------------------------------- the client

struct question {
  std::string host;
  std::string service;
  rill::resolve_options options;
};

void check_answer(const std::vector<endpoint>& found, const question& asked,
                  const std::string& sent) {
  check(!found.empty(), "an answer has addresses");
  for (const endpoint& each : found) {
    const auto ip = each.ip();
    check(ip.has_value(), "an answer is an address");
    const auto octets = ip->address().bytes();
    const std::string_view bytes(reinterpret_cast<const char*>(octets.data()), octets.size());
    check(sent.find(bytes) != std::string::npos, "an address is one that the server has sent");
    check(asked.options.families != (ip->address().is_v4() ? rill::family_preference::ipv6_only
                                                           : rill::family_preference::ipv4_only),
          "an address is of a family that was asked for");
    check(std::count(found.begin(), found.end(), each) == 1, "no address comes twice");
  }
}

task<> look_up(question asked, const std::string& sent) {
  const auto begin = rill::loop_clock::now();
  try {
    const auto found = co_await rill::resolve(asked.host, asked.service, asked.options);
    check_answer(found, asked, sent);
  } catch (const rill::io_error& error) {
    const bool is_service = error.code() == std::errc::invalid_argument;
    check(is_service || error.code().category() == rill::resolve_category(),
          "a look-up fails in its own words");
  }
  const auto spent = rill::loop_clock::now() - begin;
  check(spent <= asked.options.limit + 20ms, "a look-up ends in time");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 1024;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  name_server names(from);
  rill::fuzz::in_a_world(1, [&](rill::sim::world& world) {
    auto& server = world.add_host("names", "10.0.0.53");
    auto& client = world.add_host("client", {"10.0.0.2", "fd00::2"});
    const unsigned how = from.byte();
    std::string conf = "nameserver 10.0.0.53\n";
    if ((how & 1U) != 0) conf += "nameserver 10.0.0.2\n";  // where nobody listens
    if ((how & 2U) != 0) conf += "search one.example two.example\n";
    if ((how & 4U) != 0) conf += "options use-vc\n";
    if ((how & 8U) != 0) conf += "options timeout:1 attempts:3 rotate\n";
    client.write_file("/etc/resolv.conf", conf);
    question asked{"host", "80", {}};
    asked.options.families = static_cast<rill::family_preference>(how >> 4 & 3U);
    if ((how & 64U) != 0) asked.options.limit = std::chrono::microseconds(1 + from.number(60000));
    if ((how & 128U) != 0) {
      client.write_file("/etc/services", from.text(from.number(60)));
      asked.host = from.text(from.number(20));
      asked.service = from.text(from.number(6));
      names.sent += std::string("\x7f\0\0\1", 4) + std::string(15, '\0') + '\1';  // localhost
      if (const auto literal = rill::address::parse(asked.host)) {
        for (const std::uint8_t each : literal->bytes()) names.sent += static_cast<char>(each);
      }
    }
    const std::size_t cancel_after = from.number(255);
    server.run([&]() { return names.serve_datagrams(); });
    server.run([&]() { return names.serve_streams(); });
    world.run_for(100us);
    auto& session = client.run(look_up, asked, std::cref(names.sent));
    if (cancel_after < 64) {
      world.run_for(std::chrono::microseconds(cancel_after * 50));
      session.cancel();
    }
    world.run(session);
    check(client.descriptor_count() == 1, "no descriptor is left but the ring's");
  });
  return 0;
}
