// What only TCP does: connecting and accepting, options, resets, buffers, descriptors. What all
// streams have in common is in stream_contract_test.cpp.
#include <rill/net/tcp.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support.h"
#include "support/descriptors.h"
#include "support/pair.h"
#include "support/streams.h"
#include <rill/net/stream.h>
#include <rill/runtime/frame_cache.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/timeout.h>

namespace rill::test {
namespace {

using namespace std::chrono_literals;

task<std::pair<tcp_stream, tcp_stream>> connected() {
  tcp_listener listener = tcp_listener::bind(any_port);
  tcp_stream left = co_await tcp_stream::connect(listener.local());
  tcp_stream right = co_await listener.accept();
  co_return std::pair<tcp_stream, tcp_stream>(std::move(left), std::move(right));
}

int option_of(const tcp_stream& of, int level, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  ::getsockopt(of.descriptor(), level, option, &value, &size);
  return value;
}

task<> reset(tcp_stream& peer) {
  peer.set_linger(0s);
  co_await peer.close();
}

// ---------------------------------------------------------------- connecting and listening

TEST(tcp_connect, says_whom_it_could_not_reach_and_why) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    const endpoint gone = listener.local();
    EXPECT_TRUE(listener.is_open());
    listener.close();
    EXPECT_FALSE(listener.is_open());
    co_await settle();
    std::string text;
    try {
      co_await tcp_stream::connect(gone);
    } catch (const io_error& error) {
      text = error.what();
      EXPECT_EQ(error.code(), std::errc::connection_refused);
    }
    EXPECT_EQ(text, "connect " + gone.to_string() + ": Connection refused");
  });
}

TEST(tcp_connect, can_be_given_a_limit) {
  run_loop([]() -> task<> {
    listen_options options;
    options.backlog = 0;  // holds one connection; further ones are not answered
    const tcp_listener listener = tcp_listener::bind(any_port, options);
    std::vector<tcp_stream> held;
    bool late = false;
    for (int i = 0; i < 4 && !late; ++i) {
      try {
        tcp_stream made = co_await with_timeout(20ms, tcp_stream::connect(listener.local()));
        held.push_back(std::move(made));
      } catch (const timeout_error&) {
        late = true;
      }
    }
    EXPECT_TRUE(late);
  });
}

TEST(tcp_connect, can_come_from_a_chosen_address) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    connection_options options;
    options.local = endpoint(address::v4(127, 0, 0, 2), 0);
    const tcp_stream left = co_await tcp_stream::connect(listener.local(), options);
    const tcp_stream right = co_await listener.accept();
    EXPECT_EQ(right.peer().ip()->address(), address::v4(127, 0, 0, 2));
    EXPECT_EQ(right.peer(), left.local());
  });
}

TEST(tcp_listener, says_which_port_is_taken) {
  run_loop([]() -> task<> {
    const tcp_listener first = tcp_listener::bind(any_port);
    const std::size_t before = open_descriptor_count();
    std::string text;
    try {
      tcp_listener::bind(first.local());
    } catch (const io_error& error) {
      text = error.what();
    }
    EXPECT_EQ(text, "bind " + first.local().to_string() + ": Address already in use");
    const std::array<endpoint, 2> both{any_port, first.local()};
    EXPECT_THROW(tcp_listener::bind(both), io_error);
    while (open_descriptor_count() != before) co_await yield();
  });
}

TEST(tcp_listener, gives_both_families_one_port) {
  run_loop([]() -> task<> {
    const std::array<endpoint, 2> both{any_port, endpoint(address::loopback_v6(), 0)};
    std::optional<tcp_listener> listener;
    try {
      listener = tcp_listener::bind(both);
    } catch (const io_error& error) {
      if (error.code() != std::errc::address_family_not_supported &&
          error.code() != std::errc::address_not_available) {
        throw;
      }
      co_return;  // a machine without IPv6
    }
    const std::vector<endpoint> locals = listener->locals();
    EXPECT_EQ(locals.size(), 2U);
    EXPECT_NE(locals[0].port(), 0);
    EXPECT_EQ(locals[0].port(), locals[1].port());
    for (const endpoint& each : locals) {
      tcp_stream left = co_await tcp_stream::connect(each);
      tcp_stream right = co_await listener->accept();
      EXPECT_EQ(right.peer(), left.local());
      EXPECT_EQ(right.local(), each);
    }
  });
}

TEST(tcp_listener, keeps_the_peer_of_a_connection_that_was_reset) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    tcp_stream left = co_await tcp_stream::connect(listener.local());
    tcp_stream right = co_await listener.accept();
    const endpoint peer = left.local();
    EXPECT_EQ(right.peer(), peer);
    co_await reset(left);
    std::string text;
    try {
      co_await right.read_lease();
    } catch (const io_error& error) {
      text = error.what();
    }
    EXPECT_EQ(text, "read " + peer.to_string() + ": Connection reset by peer");
    EXPECT_EQ(right.peer(), peer);
  });
}

TEST(tcp_listener, loses_no_connection_to_a_cancelled_or_timed_out_accept) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    std::vector<tcp_stream> lefts;
    std::vector<tcp_stream> rights;
    for (int i = 0; i < 60; ++i) {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> {
          tcp_stream made = co_await listener.accept();
          rights.push_back(std::move(made));
        });
        tasks.start([&]() -> task<> {
          co_await settle(i % 7);
          tasks.cancel();
        });
        lefts.push_back(co_await shielded(tcp_stream::connect(listener.local())));
      });
      auto late = co_await as_result(with_timeout(std::chrono::microseconds(i), listener.accept()));
      if (late) rights.push_back(std::move(*late));
    }
    while (rights.size() < lefts.size()) rights.push_back(co_await listener.accept());
    std::set<std::string> expected;
    std::set<std::string> came;
    for (const tcp_stream& each : lefts) expected.insert(each.local().to_string());
    for (const tcp_stream& each : rights) came.insert(each.peer().to_string());
    EXPECT_EQ(came, expected);
    EXPECT_GE(lefts.size(), 10U);
  });
}

TEST(tcp_listener, leaves_what_is_too_many_in_the_backlog) {
  const descriptor_limit more;
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    std::vector<tcp_stream> lefts;
    lefts.push_back(co_await tcp_stream::connect(listener.local()));
    tcp_stream first = co_await listener.accept();  // from now on the kernel accepts by itself
    for (int i = 0; i < 200; ++i) {
      lefts.push_back(co_await tcp_stream::connect(listener.local()));
      co_await settle(2);
    }
    EXPECT_LE(listener.unclaimed_count(), 70U);
    EXPECT_GE(listener.unclaimed_count(), 60U);
    std::set<std::string> came;
    for (int i = 0; i < 200; ++i) {
      const tcp_stream each = co_await listener.accept();
      came.insert(each.peer().to_string());
    }
    EXPECT_EQ(came.size(), 200U);
  });
}

TEST(tcp_listener, gives_what_waits_in_the_backlog_when_it_stops) {
  for (const bool armed : {false, true}) {
    run_loop([&]() -> task<> {
      tcp_listener listener = tcp_listener::bind(any_port);
      std::vector<tcp_stream> lefts;
      if (armed) co_await as_result(with_timeout(1ms, listener.accept()));
      for (int i = 0; i < 150; ++i) lefts.push_back(co_await tcp_stream::connect(listener.local()));
      co_await listener.stop();
      for (int i = 0; i < 150; ++i) {
        auto each = co_await as_result(listener.accept());
        EXPECT_TRUE(each.has_value());
        if (each) co_await each->write_all("served");
      }
      const auto end = co_await as_result(listener.accept());
      EXPECT_TRUE(!end && end.error() == std::errc::operation_canceled);
      listener.close();
      const std::string served = co_await read_text(lefts.back(), 6);
      EXPECT_EQ(served, "served");
    });
  }
}

TEST(tcp_listener, wakes_an_accept_when_it_is_closed) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    std::error_code code;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const auto made = co_await as_result(listener.accept());
        if (!made) code = made.error().code();
      });
      co_await settle();
      listener.close();
    });
    EXPECT_EQ(code, std::errc::operation_canceled);
  });
}

TEST(tcp_listener, survives_a_spent_descriptor_table) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    tcp_stream left = co_await tcp_stream::connect(listener.local());
    {
      const descriptor_limit spent(next_descriptor());
      const auto refused = co_await as_result(listener.accept());
      EXPECT_TRUE(!refused && refused.error() == std::errc::too_many_files_open);
      std::string text;
      try {
        co_await tcp_stream::connect(listener.local());
      } catch (const io_error& error) {
        text = error.what();
      }
      EXPECT_EQ(text, "socket " + listener.local().to_string() + ": Too many open files");
    }
    tcp_stream right = co_await with_timeout(5s, listener.accept());
    EXPECT_EQ(right.peer(), left.local());
  });
}

TEST(tcp_listener, adopts_a_socket_that_listens_already) {
  run_loop([]() -> task<> {
    const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    EXPECT_EQ(::listen(descriptor, 10), 0);
    tcp_listener listener = tcp_listener::adopt(descriptor);
    const endpoint to(address::loopback_v4(), listener.local().port());
    const tcp_stream left = co_await tcp_stream::connect(to);
    const tcp_stream right = co_await with_timeout(5s, listener.accept());
    EXPECT_EQ(right.peer(), left.local());
  });
}

// ---------------------------------------------------------------- options

TEST(tcp_options, are_set_and_told) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    EXPECT_TRUE(left.no_delay());
    EXPECT_TRUE(right.no_delay());
    left.set_no_delay(false);
    EXPECT_FALSE(left.no_delay());
    left.set_send_buffer_size(20000);
    EXPECT_EQ(left.send_buffer_size(), 40000);
    left.set_receive_buffer_size(30000);
    EXPECT_EQ(left.receive_buffer_size(), 60000);
    left.set_user_timeout(1500ms);
    EXPECT_EQ(option_of(left, IPPROTO_TCP, TCP_USER_TIMEOUT), 1500);
    left.set_quick_ack(false);
    EXPECT_EQ(option_of(left, IPPROTO_TCP, TCP_QUICKACK), 0);
    co_return;
  });
}

TEST(tcp_options, include_keep_alive) {
  with_pair([](tcp_stream& left, tcp_stream&) -> task<> {
    EXPECT_EQ(option_of(left, SOL_SOCKET, SO_KEEPALIVE), 0);
    keep_alive_options options;
    options.idle = 30s;
    options.interval = 5s;
    options.probe_count = 3;
    left.set_keep_alive(options);
    EXPECT_EQ(option_of(left, SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option_of(left, IPPROTO_TCP, TCP_KEEPIDLE), 30);
    EXPECT_EQ(option_of(left, IPPROTO_TCP, TCP_KEEPINTVL), 5);
    EXPECT_EQ(option_of(left, IPPROTO_TCP, TCP_KEEPCNT), 3);
    left.clear_keep_alive();
    EXPECT_EQ(option_of(left, SOL_SOCKET, SO_KEEPALIVE), 0);
    co_return;
  });
}

// ---------------------------------------------------------------- resets

TEST(tcp_reset, ends_a_read_that_waits) {
  for (const bool leased : {false, true}) {
    with_pair([&](tcp_stream& left, tcp_stream& right) -> task<> {
      std::error_code code;
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> {
          std::byte room[8];
          if (leased) {
            const auto came = co_await as_result(right.read_lease());
            if (!came) code = came.error().code();
          } else {
            const auto came = co_await as_result(right.read(room));
            if (!came) code = came.error().code();
          }
        });
        co_await settle();
        co_await reset(left);
      });
      EXPECT_EQ(code, std::errc::connection_reset);
    });
  }
}

TEST(tcp_reset, ends_a_write_that_waits) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    std::error_code code;
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const std::vector<std::byte> large(more_than_fits);
        const auto sent = co_await as_result(right.write_all(large));
        if (!sent) code = sent.error().code();
      });
      co_await settle(20);
      co_await reset(left);
    });
    EXPECT_TRUE(code == std::errc::connection_reset || code == std::errc::broken_pipe) << code;
  });
}

// ---------------------------------------------------------------- reading and writing

TEST(tcp_stream, starves_nobody_by_ending_its_writing_again_and_again) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    tcp_stream stream = co_await tcp_stream::connect(listener.local());
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (;;) co_await stream.shutdown_write();
      });
      co_await settle();  // would not come back
      tasks.cancel();
    });
  });
}

TEST(tcp_stream, reads_exactly_or_leaves_everything_where_it_is) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    co_await left.write_all("0123456789");
    char room[6];
    const bool full = co_await right.read_exactly(room);
    EXPECT_TRUE(full);
    EXPECT_EQ(std::string(room, 6), "012345");
    bool late = false;
    try {
      co_await with_timeout(1ms, right.read_exactly(room));
    } catch (const timeout_error&) {
      late = true;
    }
    EXPECT_TRUE(late);
    EXPECT_EQ(right.unread_size(), 4U);
    co_await left.shutdown_write();
    const bool cut = co_await right.read_exactly(room);
    EXPECT_FALSE(cut);
    const std::string rest = co_await read_all(right, 100);
    EXPECT_EQ(rest, "6789");
  });
}

TEST(tcp_stream, writes_what_its_buffer_takes) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    left.set_send_buffer_size(10000);
    const std::vector<std::byte> large = pattern(more_than_fits);
    std::size_t sent = 0;
    for (;;) {
      const const_buffer rest(large.data() + sent, large.size() - sent);
      const auto part = co_await as_result(with_timeout(20ms, left.write(rest)));
      if (!part) break;
      EXPECT_GE(*part, 1U);
      sent += *part;
    }
    EXPECT_TRUE(sent > 0 && sent < large.size());
    const std::vector<std::byte> came = co_await read_bytes(right, sent);
    EXPECT_TRUE(std::equal(came.begin(), came.end(), large.begin()));
    co_await left.wait_writable();
    const std::size_t more = co_await left.write("more");
    EXPECT_EQ(more, 4U);
  });
}

TEST(tcp_stream, sends_all_through_a_small_buffer) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    left.set_send_buffer_size(4096);
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        const std::vector<std::byte> large = pattern(1 << 20);
        const const_buffer pieces[] = {const_buffer(large.data(), 300000),
                                       const_buffer(large.data() + 300000, large.size() - 300000)};
        co_await left.write_all(std::span<const const_buffer>(pieces));
        co_await left.write_all(large);
        co_await left.shutdown_write();
      });
      const std::vector<std::byte> first = co_await read_bytes(right, 1 << 20);
      EXPECT_EQ(first, pattern(1 << 20));
      const std::vector<std::byte> second = co_await drain(right);
      EXPECT_EQ(second, pattern(1 << 20));
    });
  });
}

// A reader is woken and, before it runs, another task closes the stream: the bytes, or ECANCELED.
TEST(tcp_stream, tells_a_reader_that_it_was_closed_between_its_wake_and_its_turn) {
  for (int which = 0; which < 6; ++which) {
    run_loop([&]() -> task<> {
      auto control = co_await connected();
      auto data = co_await connected();
      const auto read = [&]() -> task<> {
        std::byte room[3] = {};
        std::error_code told;
        std::size_t size = sizeof(room);
        try {
          if (which % 3 == 0) {
            const lease bytes = co_await data.first.read_lease();
            size = bytes.size();
          } else if (which % 3 == 1) {
            size = co_await data.first.read(room);
            EXPECT_EQ(room[2], std::byte{'c'});
          } else {
            co_await data.first.read_exactly(room);
            EXPECT_EQ(room[2], std::byte{'c'});
          }
        } catch (const io_error& error) {
          told = error.code();
        }
        EXPECT_EQ(size, 3U) << which;
        if (told) {
          EXPECT_EQ(told, std::errc::operation_canceled) << which;
        }
      };
      co_await with_nursery([&](nursery& tasks) -> task<> {
        // Armed in this order, so that the one who closes is woken first.
        tasks.start([&]() -> task<> {
          co_await control.first.read_lease();
          co_await data.first.close();
        });
        co_await settle();
        tasks.start(read);
        co_await settle();
        tasks.start([&]() -> task<> { co_await control.second.write_all("x"); });
        if (which >= 3) co_await settle(1);
        tasks.start([&]() -> task<> { co_await as_result(data.second.write_all("abc")); });
      });
    });
  }
}

TEST(tcp_stream, goes_on_telling_that_it_was_reset) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    left.set_linger(0s);
    co_await left.close();
    char room[8];
    const auto first = co_await as_result(right.read(room));
    EXPECT_FALSE(first);
    const auto second = co_await as_result(right.read(room));
    EXPECT_FALSE(second) << "a reset was taken for an end";
    if (!second) {
      EXPECT_EQ(second.error(), std::errc::connection_reset);
    }
  });
}

TEST(tcp_listener, tells_that_a_socket_which_no_longer_listens_will_never_accept) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    ::shutdown(listener.descriptors().front(), SHUT_RDWR);
    const auto peer = co_await as_result(with_timeout(10s, listener.accept()));
    EXPECT_FALSE(peer);
    if (!peer) {
      EXPECT_EQ(peer.error(), std::errc::invalid_argument);
    }
  });
}

// ---------------------------------------------------------------- many connections

TEST(tcp_stream, never_sees_what_came_for_an_earlier_descriptor_of_its_number) {
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    std::set<int> numbers;
    std::size_t reused_count = 0;
    for (int i = 0; i < 300; ++i) {
      tcp_stream left = co_await tcp_stream::connect(listener.local());
      tcp_stream right = co_await listener.accept();
      if (!numbers.insert(right.descriptor()).second) ++reused_count;
      co_await left.write_all("mine " + std::to_string(i));
      const std::string expected = "mine " + std::to_string(i);
      const std::string came = co_await read_text(right, expected.size());
      EXPECT_EQ(came, expected);
      // Left with a read armed, and with bytes on their way that nobody will take.
      if (i % 2 == 0) {
        co_await as_result(with_timeout(0ns, right.read_lease()));
      } else {
        char room[64];
        co_await as_result(with_timeout(0ns, right.read(room)));
      }
      co_await left.write_all("what nobody reads");
      if (i % 3 == 0) co_await right.close();
    }
    EXPECT_GT(reused_count, 100U);
  });
}

TEST(tcp_stream, leaves_no_descriptor_after_5000_connections_that_vanish) {
  const descriptor_limit more;
  const std::size_t before = open_descriptor_count();
  run_loop([]() -> task<> {
    tcp_listener listener = tcp_listener::bind(any_port);
    const endpoint to = listener.local();
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start([&]() -> task<> {
        for (int i = 0; i < 5000; ++i) {
          tcp_stream left = co_await tcp_stream::connect(to);
          if (i % 3 == 0) co_await left.write_all("x");
          if (i % 2 == 0) left.set_linger(0s);
        }
        tasks.cancel();
      });
      co_await with_nursery([&](nursery& sessions) -> task<> {
        for (;;) {
          tcp_stream accepted = co_await listener.accept();
          sessions.start([](tcp_stream peer) -> task<> { co_await as_result(peer.read_lease()); },
                         std::move(accepted));
        }
      });
    });
  });
  EXPECT_EQ(open_descriptor_count(), before);
}

/// Everything a session does, from binding to closing.
task<> whole_session() {
  tcp_listener listener = tcp_listener::bind(any_port);
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&]() -> task<> {
      tcp_stream peer = co_await tcp_stream::connect(listener.local());
      for (int i = 0; i < 3; ++i) {
        co_await peer.write_all("question");
        char room[8];
        co_await peer.read_exactly(room);
      }
      co_await peer.shutdown_write();
      co_await peer.read_lease();
      co_await peer.close();
    });
    tcp_stream accepted = co_await listener.accept();
    while (lease bytes = co_await accepted.read_lease()) co_await accepted.write_all(bytes);
    co_await listener.stop();
  });
}

TEST(tcp_stream, can_be_cancelled_at_every_step_of_a_session) {
  const std::size_t before = open_descriptor_count();
  bool finished = false;
  int steps = 0;
  for (; !finished && steps < 1000; ++steps) {
    const std::uint64_t frames = frame_statistics().live_count;
    run_loop([&]() -> task<> {
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> {
          co_await whole_session();
          finished = true;
        });
        co_await settle(steps);
        tasks.cancel();
      });
    });
    EXPECT_EQ(frame_statistics().live_count, frames);
    EXPECT_EQ(open_descriptor_count(), before);
  }
  EXPECT_TRUE(finished);
  EXPECT_GT(steps, 10);
}

TEST(tcp_reset, that_a_write_is_told_is_no_end_for_the_reads_that_follow) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    right.set_linger(0s);
    co_await right.close();
    const auto sent = co_await as_result(left.write_all("x"));
    EXPECT_TRUE(!sent && sent.error() == std::errc::connection_reset);
    char buffer[10];
    const auto read = co_await as_result(left.read(mutable_buffer(buffer)));
    EXPECT_TRUE(!read && read.error() == std::errc::connection_reset);
    const auto leased = co_await as_result(left.read_lease());
    EXPECT_TRUE(!leased && leased.error() == std::errc::connection_reset);
  });
}

TEST(tcp_reset, that_a_write_is_told_is_no_end_for_a_lease) {
  with_pair([](tcp_stream& left, tcp_stream& right) -> task<> {
    right.set_linger(0s);
    co_await right.close();
    co_await as_result(left.write_all("x"));
    const auto leased = co_await as_result(left.read_lease());
    EXPECT_TRUE(!leased && leased.error() == std::errc::connection_reset);
  });
}

}  // namespace
}  // namespace rill::test
