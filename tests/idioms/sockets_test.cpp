// Operations on a loopback connection: what may be read into, what may be written from, as_result
// and with_timeout in either order, and giving up among live temporaries.
#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "idioms/support.h"
#include <rill/net/address.h>
#include <rill/net/buffer.h>
#include <rill/net/endpoint.h>
#include <rill/net/tcp.h>
#include <rill/runtime/operation.h>

namespace idioms {
namespace {

using namespace std::chrono_literals;
using rill::nursery;
using rill::task;
using rill::tcp_listener;
using rill::tcp_stream;

// Options may be written in braces inside a co_await expression.
static_assert(std::is_trivially_destructible_v<rill::listen_options>);
static_assert(std::is_trivially_destructible_v<rill::keep_alive_options>);
static_assert(std::is_trivially_destructible_v<rill::endpoint>);
static_assert(std::is_trivially_destructible_v<rill::const_buffer>);
static_assert(std::is_trivially_destructible_v<rill::mutable_buffer>);

/// Runs `form(near, far)` on the two ends of a connection.
template <class Form>
void connected(Form form) {
  run([](Form& inner) -> task<> {
    tcp_listener listener = tcp_listener::bind(rill::endpoint(rill::address::loopback_v4(), 0));
    tcp_stream near = co_await tcp_stream::connect(listener.local());
    tcp_stream far = co_await listener.accept();
    co_await rill::with_timeout(30s, inner(near, far));
  }(form));
  expect_nothing_left("connected", 0);
}

std::string text_of(std::span<const char> bytes, std::size_t size) {
  return std::string(bytes.data(), size);
}

TEST(sockets, bytes_are_read_into_arrays_strings_vectors_and_spans) {
  connected([](tcp_stream& near, tcp_stream& far) -> task<> {
    EXPECT_EQ(co_await near.write_all("a literal"), 9u);
    std::array<char, 4> array;
    EXPECT_EQ(co_await far.read(array), 4u);
    EXPECT_EQ(text_of(array, 4), "a li");
    std::string text(2, '\0');
    EXPECT_EQ(co_await far.read(text), 2u);
    EXPECT_EQ(text, "te");
    char plain[2];
    EXPECT_EQ(co_await far.recv(plain), 2u);
    EXPECT_EQ(plain[0], 'r');
    std::vector<std::byte> bytes(8);
    EXPECT_EQ(co_await far.read(std::span(bytes).first(1)), 1u);
    EXPECT_EQ(bytes[0], std::byte{'l'});
    co_await near.write_all("0123456789");
    EXPECT_TRUE(co_await far.read_exactly(std::span(bytes).subspan(0, 8)));
    EXPECT_TRUE(co_await far.read_exactly(text));
    EXPECT_EQ(text, "89");
  });
}

TEST(sockets, bytes_are_written_from_temporaries) {
  connected([](tcp_stream& near, tcp_stream& far) -> task<> {
    const std::string expected = std::string(64, 's') + std::string(64, 'v') + "view" + "joined!";
    EXPECT_EQ(co_await near.write_all(std::string(64, 's')), 64u);
    EXPECT_EQ(co_await near.write_all(std::vector<char>(64, 'v')), 64u);
    EXPECT_EQ(co_await near.write_all(std::string_view("view")), 4u);
    EXPECT_EQ(co_await near.write(std::string("join") + "ed!"), 7u);
    std::string got(expected.size(), '\0');
    EXPECT_TRUE(co_await far.read_exactly(got));
    EXPECT_EQ(got, expected);
    const auto make = [](int count) -> task<std::string> {
      co_await rill::yield();
      co_return std::string(static_cast<std::size_t>(count), 'm');
    };
    co_await near.write_all(co_await make(90));
    got.assign(90, '\0');
    EXPECT_TRUE(co_await far.read_exactly(got));
    EXPECT_EQ(got, std::string(90, 'm'));
  });
}

TEST(sockets, several_pieces_are_written_from_and_read_into_an_array_of_views) {
  connected([](tcp_stream& near, tcp_stream& far) -> task<> {
    const std::string head = long_text("head");
    const std::vector<std::byte> tail(32, std::byte{'t'});
    co_await near.write_all(std::array{rill::const_buffer(head), rill::const_buffer(tail)});
    std::string first(head.size(), '\0');
    std::string second(tail.size(), '\0');
    const std::array into{rill::mutable_buffer(first), rill::mutable_buffer(second)};
    EXPECT_EQ(co_await far.read(into), head.size() + tail.size());
    EXPECT_EQ(first, head);
    EXPECT_EQ(second, std::string(32, 't'));
  });
}

TEST(sockets, leases_are_echoed_in_a_while) {
  connected([](tcp_stream& near, tcp_stream& far) -> task<> {
    std::string got;
    co_await rill::with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(
          [](tcp_stream& peer) -> task<> {
            while (rill::lease bytes = co_await peer.read_lease()) co_await peer.write_all(bytes);
            co_await peer.shutdown_write();
          },
          std::ref(far));
      for (int i = 0; i < 3; ++i) {
        co_await near.write_all(long_text(std::to_string(i)));
        got += (co_await near.read_lease()).text();
      }
      co_await near.shutdown_write();
      while (auto bytes = co_await near.read_lease()) got += bytes.text();
    });
    EXPECT_EQ(got, long_text("0") + long_text("1") + long_text("2"));
  });
}

TEST(sockets, an_error_is_a_value_through_as_result) {
  connected([](tcp_stream& near, tcp_stream& far) -> task<> {
    std::array<char, 8> buffer;
    co_await near.write_all("hi");
    const auto count = co_await rill::as_result(far.read(buffer));
    EXPECT_TRUE(count && *count == 2);
    near.set_linger(0s);
    co_await near.close();
    if (const auto lost = co_await rill::as_result(far.read(buffer)); !lost) {
      EXPECT_EQ(lost.error(), std::errc::connection_reset);
      EXPECT_FALSE(lost.error().is_timeout());
    } else {
      ADD_FAILURE();
    }
  });
}

TEST(sockets, as_result_and_with_timeout_may_stand_in_either_order) {
  connected([](tcp_stream& near, tcp_stream& far) -> task<> {
    std::array<char, 8> buffer;
    const auto inner = co_await rill::as_result(rill::with_timeout(1ms, far.read(buffer)));
    EXPECT_TRUE(!inner && inner.error().is_timeout());
    const auto outer = co_await rill::with_timeout(1ms, rill::as_result(far.read(buffer)));
    EXPECT_TRUE(!outer && outer.error().is_timeout());
    const auto lease = co_await rill::as_result(rill::with_timeout(1ms, far.read_lease()));
    EXPECT_TRUE(!lease && lease.error().is_timeout());
    bool thrown = false;
    try {
      static_cast<void>(co_await rill::with_timeout(1ms, far.read(buffer)));
    } catch (const rill::timeout_error&) {
      thrown = true;
    }
    EXPECT_TRUE(thrown);
    co_await near.write_all(std::string("late"));
    if (auto got = co_await rill::as_result(rill::with_timeout(1h, far.read(buffer)))) {
      EXPECT_EQ(text_of(buffer, *got), "late");
    } else {
      ADD_FAILURE();
    }
    // The nearest of nested deadlines wins.
    const auto nearest =
        co_await rill::as_result(rill::with_timeout(1h, rill::with_timeout(1ms, far.read(buffer))));
    EXPECT_TRUE(!nearest && nearest.error().is_timeout());
    co_await rill::with_timeout(1h, near.write_all(std::string(64, 'x')));
    const auto written =
        co_await rill::as_result(rill::with_timeout(1h, near.write_all(std::string(64, 'y'))));
    EXPECT_TRUE(written && *written == 64);
    std::string got(128, '\0');
    EXPECT_TRUE(co_await rill::with_timeout(1h, far.read_exactly(got)));
    EXPECT_EQ(got, std::string(64, 'x') + std::string(64, 'y'));
  });
}

TEST(sockets, a_stream_moves_into_a_task_and_back) {
  connected([](tcp_stream& near, tcp_stream& far) -> task<> {
    const auto greet = [](tcp_stream peer, counted name) -> task<tcp_stream> {
      co_await peer.write_all("hello " + name.text());
      co_return peer;
    };
    tcp_stream back = co_await greet(std::move(near), counted("you"));
    near = co_await greet(std::move(back), counted("too"));
    std::string got(18, '\0');
    EXPECT_TRUE(co_await far.read_exactly(got));
    EXPECT_EQ(got, "hello youhello too");
  });
}

TEST(sockets, accept_and_connect_may_stand_in_arguments_and_conditions) {
  run([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(rill::endpoint(rill::address::loopback_v4(), 0));
    const auto send = [](tcp_stream to, std::string what) -> task<std::size_t> {
      co_return co_await to.write_all(what);
    };
    EXPECT_EQ(co_await send(co_await tcp_stream::connect(listener.local()), long_text()),
              long_text().size());
    if (auto accepted = co_await rill::as_result(listener.accept())) {
      EXPECT_EQ((co_await accepted->read_lease()).text(), long_text());
    }
    const auto none = co_await rill::as_result(rill::with_timeout(1ms, listener.accept()));
    EXPECT_TRUE(!none && none.error().is_timeout());
  }());
}

TEST(sockets, a_cancelled_read_or_write_destroys_its_temporaries_once) {
  connected([](tcp_stream& near, tcp_stream& far) -> task<> {
    for (int form = 0; form < 5; ++form) {
      bool went_on = false;
      co_await rill::with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&, own = counted("own")]() -> task<> {
          const counted local("local");
          std::array<char, 8> buffer;
          if (form == 0) co_await far.read(buffer);
          if (form == 1) co_await rill::with_timeout(1h, far.read(buffer));
          if (form == 2) co_await rill::as_result(rill::with_timeout(1h, far.read_lease()));
          if (form == 3) co_await far.read_exactly(buffer);
          if (form == 4) co_await near.write_all(std::string(std::size_t{64} << 20, 'x'));
          went_on = true;
        });
        for (int i = 0; i < 4; ++i) co_await rill::yield();
        tasks.cancel();
      });
      EXPECT_FALSE(went_on) << form;
    }
  });
}

TEST(sockets, an_exception_beside_a_started_read_withdraws_it) {
  connected([](tcp_stream&, tcp_stream& far) -> task<> {
    bool caught = false;
    try {
      co_await rill::with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&far, own = counted("own")]() -> task<> {
          std::array<char, 8> buffer;
          static_cast<void>(co_await far.read(buffer));
          ADD_FAILURE();
        });
        const counted local("local");
        co_await rill::yield();
        throw std::logic_error("body");
      });
    } catch (const std::logic_error&) {
      caught = true;
    }
    EXPECT_TRUE(caught);
  });
}

}  // namespace
}  // namespace idioms
