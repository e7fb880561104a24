// What operations answer, on Linux and in the simulator alike: every test here runs on both, so a
// difference between them fails one of the two.
// The kernel's own header: the C library's tcp_info has no byte counts.
#include <linux/tcp.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sim/machine.h"
#include <rill/runtime/sim/kernel.h>

namespace {

using rill::test::completion;
using rill::test::machine;

class kernel_contract : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { make({256, 1024}); }
  void make(const rill::queue_sizes& sizes) {
    machine_.reset();
    try {
      machine_.emplace(GetParam() == "sim", sizes);
    } catch (const rill::kernel_error& error) {
      GTEST_SKIP() << error.what();
    }
  }
  machine& on() { return *machine_; }

 private:
  std::optional<machine> machine_;
};

INSTANTIATE_TEST_SUITE_P(kernels, kernel_contract, testing::Values("uring", "sim"),
                         [](const auto& chosen) { return chosen.param; });

constexpr unsigned more = IORING_CQE_F_MORE;
constexpr unsigned with_buffer = IORING_CQE_F_BUFFER;
constexpr unsigned not_empty = IORING_CQE_F_SOCK_NONEMPTY;

TEST_P(kernel_contract, a_connection_has_two_names_and_carries_bytes) {
  sockaddr_in name{};
  const int listening = on().listener(name);
  const int near_end = on().socket(SOCK_STREAM);
  EXPECT_EQ(on().connect(near_end, name), 0);
  const int far_end = on().accept(listening);
  ASSERT_GE(far_end, 0);
  sockaddr_in peer{};
  unsigned size = sizeof(peer);
  EXPECT_EQ(on().calls().peer_name(far_end, &peer, size), 0);
  EXPECT_EQ(size, sizeof(peer));
  EXPECT_EQ(peer.sin_port, on().local_name(near_end).sin_port);
  EXPECT_EQ(on().local_name(far_end).sin_port, name.sin_port);
  EXPECT_EQ(on().connect(near_end, name), -EISCONN);

  EXPECT_EQ(on().send(near_end, "hello"), 5);
  std::string text;
  EXPECT_EQ(on().receive(far_end, text, 100), 5);
  EXPECT_EQ(text, "hello");
}

TEST_P(kernel_contract, nobody_listening_refuses_a_connection) {
  const int taken = on().socket(SOCK_STREAM);
  const sockaddr_in name = on().bind(taken);
  const int asking = on().socket(SOCK_STREAM);
  EXPECT_EQ(on().connect(asking, name), -ECONNREFUSED);
  EXPECT_EQ(on().connect(asking, name), -ECONNREFUSED);
}

TEST_P(kernel_contract, operations_on_the_wrong_descriptor_fail_at_once) {
  sockaddr_in name{};
  const int listening = on().listener(name);
  const int fresh = on().socket(SOCK_STREAM);
  const int no_socket = on().calls().signals(std::vector<int>{SIGUSR2});
  ASSERT_GE(no_socket, 0);
  std::string text;
  EXPECT_EQ(on().receive(listening, text, 10), -ENOTCONN);
  EXPECT_EQ(on().send(listening, "x"), -EPIPE);
  EXPECT_EQ(on().receive(fresh, text, 10), -ENOTCONN);
  EXPECT_EQ(on().send(fresh, "x"), -EPIPE);
  EXPECT_EQ(on().accept(fresh), -EINVAL);
  EXPECT_EQ(on().shutdown(fresh, SHUT_WR), -ENOTCONN);
  EXPECT_EQ(on().receive(no_socket, text, 10), -ENOTSOCK);
  EXPECT_EQ(on().receive(777, text, 10), -EBADF);
  EXPECT_EQ(on().close(777), -EBADF);
  EXPECT_EQ(on().calls().listen(777, 1), -EBADF);
  EXPECT_EQ(on().calls().listen(no_socket, 1), -ENOTSOCK);
  unsigned size = sizeof(name);
  EXPECT_EQ(on().calls().peer_name(fresh, &name, size), -ENOTCONN);
  on().calls().close(no_socket);
}

TEST_P(kernel_contract, a_message_to_what_is_no_ring_is_refused) {
  ::io_uring_prep_msg_ring(&on().sqe(), on().socket(SOCK_STREAM), 0, 0, 0);
  EXPECT_EQ(on().result(), -EBADFD);
  ::io_uring_prep_msg_ring(&on().sqe(), 777, 0, 0, 0);
  EXPECT_EQ(on().result(), -EBADF);
}

TEST_P(kernel_contract, a_port_can_be_bound_once) {
  sockaddr_in name{};
  const int listening = on().listener(name);
  const int second = on().socket(SOCK_STREAM);
  rill::kernel& calls = on().calls();
  EXPECT_EQ(calls.bind(second, &name, sizeof(name)), -EADDRINUSE);
  const int yes = 1;
  EXPECT_EQ(calls.set_option(second, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
  EXPECT_EQ(calls.bind(second, &name, sizeof(name)), -EADDRINUSE);
  EXPECT_EQ(calls.set_option(listening, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)), 0);
  EXPECT_EQ(calls.bind(second, &name, sizeof(name)), -EADDRINUSE);
  EXPECT_EQ(calls.set_option(second, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)), 0);
  EXPECT_EQ(calls.bind(second, &name, sizeof(name)), 0);
  EXPECT_EQ(calls.bind(second, &name, sizeof(name)), -EINVAL);
  EXPECT_EQ(calls.listen(second, 1), 0);
  sockaddr_in foreign = on().loopback();
  foreign.sin_addr.s_addr = htonl(0x08080808);
  const int third = on().socket(SOCK_STREAM);
  EXPECT_EQ(calls.bind(third, &foreign, sizeof(foreign)), -EADDRNOTAVAIL);
  EXPECT_EQ(calls.bind(third, &foreign, 3), -EINVAL);
  foreign.sin_family = AF_INET6;
  EXPECT_EQ(calls.bind(third, &foreign, sizeof(foreign)), -EAFNOSUPPORT);
}

TEST_P(kernel_contract, a_connection_keeps_its_port_from_being_bound_without_reuse) {
  sockaddr_in name{};
  const int listening = on().listener(name);
  const int near_end = on().socket(SOCK_STREAM);
  EXPECT_EQ(on().connect(near_end, name), 0);
  ASSERT_GE(on().accept(listening), 0);
  EXPECT_EQ(on().close(listening), 0);
  const int again = on().socket(SOCK_STREAM);
  EXPECT_EQ(on().calls().bind(again, &name, sizeof(name)), -EADDRINUSE);
}

TEST_P(kernel_contract, a_multishot_receive_fills_buffers_until_the_end) {
  const machine::pair ends = on().connected();
  on().give_buffers(5);
  on().start_multishot(ends.far_end, 7);
  EXPECT_EQ(on().send(ends.near_end, "x"), 1);
  completion got = on().wait();
  EXPECT_EQ(got.tag, 7U);
  EXPECT_EQ(got.result, 1);
  EXPECT_EQ(got.flags & 0xffff, with_buffer | more);
  EXPECT_EQ(on().buffer(got.buffer())[0], 'x');

  on().start_cancel(7, 8);
  EXPECT_EQ(on().wait(2)[1].result, -ECANCELED);
  EXPECT_EQ(on().send(ends.near_end, std::string(6000, 'y')), 6000);
  on().start_multishot(ends.far_end, 9);
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[0].result, 4096);
  EXPECT_EQ(two[0].flags & 0xffff, with_buffer | more | not_empty);
  EXPECT_EQ(two[1].result, 1904);
  EXPECT_EQ(two[1].flags & 0xffff, with_buffer | more);

  EXPECT_EQ(on().shutdown(ends.near_end, SHUT_WR), 0);
  got = on().wait();
  EXPECT_EQ(got.tag, 9U);
  EXPECT_EQ(got.result, 0);
  EXPECT_EQ(got.flags, not_empty);
}

TEST_P(kernel_contract, an_empty_buffer_ring_ends_a_multishot_receive_even_without_data) {
  const machine::pair ends = on().connected();
  on().start_multishot(ends.far_end, 1);
  EXPECT_EQ(on().result(), -ENOBUFS);
  on().give_buffers(1);
  EXPECT_EQ(on().send(ends.near_end, std::string(5000, 'x')), 5000);
  on().start_multishot(ends.far_end, 2);
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[0].result, 4096);
  EXPECT_TRUE(two[0].has(more));
  EXPECT_EQ(two[1].result, -ENOBUFS);
  EXPECT_EQ(two[1].flags, 0U);
}

TEST_P(kernel_contract, a_cancel_is_answered_before_its_target) {
  const machine::pair ends = on().connected();
  on().give_buffers(1);
  on().start_multishot(ends.far_end, 40);
  on().start_cancel(40, 50);
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[0].tag, 50U);
  EXPECT_EQ(two[0].result, 0);
  EXPECT_EQ(two[1].tag, 40U);
  EXPECT_EQ(two[1].result, -ECANCELED);
  on().start_cancel(40, 51);
  EXPECT_EQ(on().result(), -ENOENT);
}

TEST_P(kernel_contract, a_cancelled_send_tells_what_it_had_sent) {
  const machine::pair ends = on().connected();
  const std::string much(std::size_t{64} << 20, 'x');
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_send(&sqe, ends.near_end, much.data(), much.size(), MSG_NOSIGNAL | MSG_WAITALL);
  sqe.user_data = 60;
  on().submit();
  on().start_cancel(60, 61);
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[0].result, 0);
  EXPECT_EQ(two[1].tag, 60U);
  EXPECT_GT(two[1].result, 0);
  EXPECT_LT(two[1].result, static_cast<int>(much.size()));
}

/// Starts a send without a copy, of tag 7.
void start_lending(machine& on, int descriptor, const std::string& text,
                   unsigned modifiers = rill::abi::send_zc_report_usage) {
  io_uring_sqe& sqe = on.sqe();
  ::io_uring_prep_send_zc(&sqe, descriptor, text.data(), text.size(), MSG_NOSIGNAL | MSG_WAITALL,
                          modifiers);
  sqe.user_data = 7;
}

TEST_P(kernel_contract, a_send_without_a_copy_is_answered_twice) {
  const machine::pair ends = on().connected();
  for (const bool reports : {true, false}) {
    const std::string text(30'000, reports ? 'r' : 's');
    start_lending(on(), ends.near_end, text,
                  reports ? unsigned{rill::abi::send_zc_report_usage} : 0U);
    const std::vector<completion> two = on().wait(2);
    EXPECT_EQ(two[0].tag, 7U);
    EXPECT_EQ(two[0].result, 30'000);
    EXPECT_EQ(two[0].flags, more);
    EXPECT_EQ(two[1].tag, 7U);
    // Over loopback there is a copy after all.
    EXPECT_EQ(two[1].result, reports ? static_cast<int>(rill::abi::notification_copied) : 0);
    EXPECT_EQ(two[1].flags, unsigned{IORING_CQE_F_NOTIF});
    std::string came;
    EXPECT_EQ(on().receive(ends.far_end, came, text.size(), MSG_WAITALL), 30'000);
    EXPECT_EQ(came, text);
  }
}

TEST_P(kernel_contract, a_send_without_a_copy_that_fails_is_answered_twice_too) {
  const machine::pair ends = on().connected();
  int local[2];
  ASSERT_EQ(on().calls().socket_pair(AF_UNIX, SOCK_STREAM, local), 0);
  const std::string text(100, 'x');
  const struct {
    int descriptor;
    unsigned modifiers;
    int result;
  } cases[] = {
      {777, 0, -EBADF},
      {local[0], 0, -EOPNOTSUPP},
      {on().socket(SOCK_STREAM), 0, -EPIPE},
      {ends.near_end, 1U << 9, -EINVAL},
  };
  for (const auto& each : cases) {
    start_lending(on(), each.descriptor, text, each.modifiers);
    const std::vector<completion> two = on().wait(2);
    EXPECT_EQ(two[0].result, each.result);
    EXPECT_EQ(two[0].flags, more);
    EXPECT_EQ(two[1].tag, 7U);
    EXPECT_EQ(two[1].result, 0);
    EXPECT_EQ(two[1].flags, unsigned{IORING_CQE_F_NOTIF});
  }
  // What is refused before it has begun has nothing to follow.
  start_lending(on(), ends.near_end, text);
  on().ring().sq.sqes[(on().ring().sq.sqe_tail - 1) & on().ring().sq.ring_mask].flags |=
      IOSQE_CQE_SKIP_SUCCESS;
  const completion got = on().wait();
  EXPECT_EQ(got.result, -EINVAL);
  EXPECT_EQ(got.flags, 0U);
  for (const int each : local) on().calls().close(each);
}

TEST_P(kernel_contract, what_is_cancelled_of_a_send_without_a_copy_is_the_sending) {
  const machine::pair ends = on().connected();
  const std::string much(std::size_t{64} << 20, 'x');
  start_lending(on(), ends.near_end, much);
  on().submit();
  on().start_cancel(7, 8);
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[0].tag, 8U);
  EXPECT_EQ(two[0].result, 0);
  EXPECT_EQ(two[1].tag, 7U);
  EXPECT_GT(two[1].result, 0);
  EXPECT_LT(two[1].result, static_cast<int>(much.size()));
  EXPECT_EQ(two[1].flags, more);
  // The peer has not read it, and so the kernel may read it still: no request ends that.
  on().start_cancel(7, 9);
  on().submit();
  on().forget(ends.far_end);
  on().calls().close(ends.far_end);
  std::vector<completion> rest = on().wait(2);
  std::sort(rest.begin(), rest.end(), [](const auto& a, const auto& b) { return a.tag < b.tag; });
  EXPECT_EQ(rest[0].tag, 7U);
  EXPECT_EQ(rest[0].flags, unsigned{IORING_CQE_F_NOTIF});
  EXPECT_EQ(rest[1].tag, 9U);
  EXPECT_EQ(rest[1].result, -ENOENT);
}

TEST_P(kernel_contract, a_send_without_waitall_may_be_short_and_waits_only_when_full) {
  const machine::pair ends = on().connected();
  const std::string much(std::size_t{64} << 20, 'x');
  const int first = on().send(ends.near_end, much);
  EXPECT_GT(first, 0);
  EXPECT_LT(first, static_cast<int>(much.size()));
  int full = 0;
  while ((full = on().send(ends.near_end, much, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0) {
  }
  EXPECT_EQ(full, -EAGAIN);
}

TEST_P(kernel_contract, a_reset_follows_the_bytes_that_came_before_it) {
  const machine::pair ends = on().connected();
  on().give_buffers(2);
  on().start_multishot(ends.far_end, 3);
  const linger at_once{1, 0};
  EXPECT_EQ(
      on().calls().set_option(ends.near_end, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
  EXPECT_EQ(on().send(ends.near_end, "zz"), 2);
  EXPECT_EQ(on().result(), 2);
  EXPECT_EQ(on().close(ends.near_end), 0);
  const completion got = on().wait();
  EXPECT_EQ(got.tag, 3U);
  EXPECT_EQ(got.result, -ECONNRESET);
  EXPECT_EQ(got.flags, 0U);
  std::string text;
  EXPECT_EQ(on().receive(ends.far_end, text, 10), 0);
  EXPECT_EQ(on().send(ends.far_end, "x"), -EPIPE);
  sockaddr_in name{};
  unsigned size = sizeof(name);
  EXPECT_EQ(on().calls().peer_name(ends.far_end, &name, size), -ENOTCONN);
  EXPECT_EQ(on().shutdown(ends.far_end, SHUT_WR), -ENOTCONN);
}

TEST_P(kernel_contract, closing_with_unread_bytes_resets_the_connection) {
  const machine::pair ends = on().connected();
  EXPECT_EQ(on().send(ends.near_end, "unread"), 6);
  std::string text;
  EXPECT_EQ(on().receive(ends.far_end, text, 2), 2);
  EXPECT_EQ(on().close(ends.far_end), 0);
  EXPECT_EQ(on().receive(ends.near_end, text, 10), -ECONNRESET);
}

TEST_P(kernel_contract, half_a_close_leaves_the_other_half_open) {
  const machine::pair ends = on().connected();
  EXPECT_EQ(on().shutdown(ends.near_end, SHUT_WR), 0);
  EXPECT_EQ(on().send(ends.near_end, "x"), -EPIPE);
  std::string text;
  EXPECT_EQ(on().receive(ends.far_end, text, 10), 0);
  EXPECT_EQ(on().send(ends.far_end, "still"), 5);
  EXPECT_EQ(on().receive(ends.near_end, text, 10), 5);
  EXPECT_EQ(on().shutdown(ends.near_end, SHUT_WR), 0);
  EXPECT_EQ(on().close(ends.far_end), 0);
  EXPECT_EQ(on().receive(ends.near_end, text, 10), 0);
}

TEST_P(kernel_contract, peeking_leaves_the_bytes_and_waitall_waits_for_all_of_them) {
  const machine::pair ends = on().connected();
  EXPECT_EQ(on().send(ends.near_end, "abc"), 3);
  std::string text;
  EXPECT_EQ(on().receive(ends.far_end, text, 10, MSG_PEEK), 3);
  EXPECT_EQ(on().receive(ends.far_end, text, 2), 2);
  EXPECT_EQ(text, "ab");
  std::string into(4, '.');
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_recv(&sqe, ends.far_end, into.data(), into.size(), MSG_WAITALL);
  sqe.user_data = 5;
  on().submit();
  EXPECT_EQ(on().send(ends.near_end, "def"), 3);
  EXPECT_EQ(on().result(), 4);
  EXPECT_EQ(into, "cdef");

  EXPECT_EQ(on().send(ends.near_end, "gh"), 2);
  EXPECT_EQ(on().shutdown(ends.near_end, SHUT_WR), 0);
  EXPECT_EQ(on().receive(ends.far_end, text, 4, MSG_WAITALL), 2);
  EXPECT_EQ(on().receive(ends.far_end, text, 4, MSG_WAITALL), 0);
}

TEST_P(kernel_contract, peeking_for_all_gets_what_has_come_in_two_parts) {
  const machine::pair ends = on().connected();
  std::string into(10, '.');
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_recv(&sqe, ends.far_end, into.data(), into.size(), MSG_PEEK | MSG_WAITALL);
  sqe.user_data = 5;
  on().submit();
  // Linux, which peeks from the front again, may be content with the first part.
  for (const char* const part : {"abcdef", "ghijkl"}) {
    io_uring_sqe& sending = on().sqe();
    ::io_uring_prep_send(&sending, ends.near_end, part, 6, MSG_NOSIGNAL);
    sending.user_data = 6;
  }
  for (const completion& each : on().wait(3)) EXPECT_EQ(each.result, each.tag == 5 ? 10 : 6);
  EXPECT_EQ(into.substr(0, 6), "abcdef");
  std::string text;
  EXPECT_EQ(on().receive(ends.far_end, text, 12, MSG_WAITALL), 12);
  EXPECT_EQ(text, "abcdefghijkl");
}

TEST_P(kernel_contract, receiving_nothing_waits_until_there_is_something) {
  const machine::pair ends = on().connected();
  std::string text;
  EXPECT_EQ(on().receive(ends.far_end, text, 0, MSG_DONTWAIT), -EAGAIN);
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_recv(&sqe, ends.far_end, text.data(), 0, 0);
  sqe.user_data = 5;
  on().submit();
  EXPECT_EQ(on().send(ends.near_end, "x"), 1);
  EXPECT_EQ(on().result(), 0);
  EXPECT_EQ(on().receive(ends.far_end, text, 0, MSG_DONTWAIT), 0);
  EXPECT_EQ(on().receive(ends.far_end, text, 1), 1);
  EXPECT_EQ(on().receive(ends.far_end, text, 0, MSG_DONTWAIT), -EAGAIN);
  EXPECT_EQ(on().shutdown(ends.near_end, SHUT_WR), 0);
  EXPECT_EQ(on().receive(ends.far_end, text, 0), 0);
}

TEST_P(kernel_contract, nothing_to_read_with_dontwait_is_eagain) {
  const machine::pair ends = on().connected();
  std::string text;
  EXPECT_EQ(on().receive(ends.far_end, text, 4, MSG_DONTWAIT), -EAGAIN);
}

TEST_P(kernel_contract, a_poll_tells_what_it_was_not_asked_for_too) {
  const int fresh = on().socket(SOCK_STREAM);
  ::io_uring_prep_poll_add(&on().sqe(), fresh, POLLIN | POLLOUT);
  EXPECT_EQ(on().result(), POLLOUT | POLLHUP);
  const machine::pair ends = on().connected();
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_poll_multishot(&sqe, ends.far_end, POLLIN);
  sqe.user_data = 11;
  on().submit();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(on().send(ends.near_end, "x"), 1);
    const completion got = on().wait();
    EXPECT_EQ(got.tag, 11U);
    EXPECT_EQ(got.result, POLLIN);
    EXPECT_TRUE(got.has(more));
  }
  EXPECT_EQ(on().shutdown(ends.near_end, SHUT_WR), 0);
  const completion end = on().wait();
  EXPECT_EQ(end.tag, 11U);
  EXPECT_EQ(end.result, POLLIN | POLLRDHUP);
  on().start_cancel(11, 12);
  EXPECT_EQ(on().wait(2)[1].result, -ECANCELED);
}

TEST_P(kernel_contract, a_close_takes_effect_when_the_last_operation_lets_go) {
  const machine::pair ends = on().connected();
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_poll_add(&sqe, ends.far_end, POLLIN);
  sqe.user_data = 11;
  on().submit();
  EXPECT_EQ(on().close(ends.far_end), 0);
  std::string text;
  EXPECT_EQ(on().receive(ends.near_end, text, 4, MSG_DONTWAIT), -EAGAIN);
  on().start_cancel(11, 12);
  on().wait(2);
  EXPECT_EQ(on().receive(ends.near_end, text, 4), 0);
}

TEST_P(kernel_contract, a_multishot_accept_brings_every_connection) {
  sockaddr_in name{};
  const int listening = on().listener(name);
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_multishot_accept(&sqe, listening, nullptr, nullptr, 0);
  sqe.user_data = 9;
  on().submit();
  for (int i = 0; i < 3; ++i) {
    const int asking = on().socket(SOCK_STREAM);
    io_uring_sqe& quiet = on().sqe();
    ::io_uring_prep_connect(&quiet, asking, reinterpret_cast<sockaddr*>(&name), sizeof(name));
    quiet.flags |= IOSQE_CQE_SKIP_SUCCESS;
    quiet.user_data = 10;
    const completion got = on().wait();
    EXPECT_EQ(got.tag, 9U);
    EXPECT_GE(got.result, 0);
    EXPECT_TRUE(got.has(more));
    on().calls().close(got.result);
  }
  on().start_cancel(9, 12);
  EXPECT_EQ(on().wait(2)[1].result, -ECANCELED);
}

TEST_P(kernel_contract, closing_a_listener_resets_what_waits_in_its_queue) {
  sockaddr_in name{};
  const int listening = on().listener(name);
  const int asking = on().socket(SOCK_STREAM);
  EXPECT_EQ(on().connect(asking, name), 0);
  EXPECT_EQ(on().close(listening), 0);
  std::string text;
  EXPECT_EQ(on().receive(asking, text, 4), -ECONNRESET);
}

TEST_P(kernel_contract, datagrams_keep_their_bounds_and_their_sender) {
  const int to = on().socket(SOCK_DGRAM);
  const sockaddr_in name = on().bind(to);
  const int from = on().socket(SOCK_DGRAM);
  EXPECT_EQ(on().send(from, "x"), -EDESTADDRREQ);
  EXPECT_EQ(on().connect(from, name), 0);
  EXPECT_EQ(on().send(from, "first"), 5);
  EXPECT_EQ(on().send(from, ""), 0);
  EXPECT_EQ(on().send(from, std::string(100, 'x')), 100);
  std::string text;
  EXPECT_EQ(on().receive(to, text, 100), 5);
  EXPECT_EQ(on().receive(to, text, 100), 0);

  char small[10];
  iovec piece{small, sizeof(small)};
  sockaddr_in sender{};
  msghdr header{};
  header.msg_name = &sender;
  header.msg_namelen = sizeof(sender);
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  ::io_uring_prep_recvmsg(&on().sqe(), to, &header, MSG_TRUNC);
  EXPECT_EQ(on().result(), 100);
  EXPECT_EQ(header.msg_flags & MSG_TRUNC, MSG_TRUNC);
  EXPECT_EQ(header.msg_namelen, sizeof(sender));
  EXPECT_EQ(sender.sin_port, on().local_name(from).sin_port);
}

TEST_P(kernel_contract, the_largest_datagram_has_65507_bytes) {
  const int to = on().socket(SOCK_DGRAM);
  const sockaddr_in name = on().bind(to);
  const int from = on().socket(SOCK_DGRAM);
  EXPECT_EQ(on().connect(from, name), 0);
  EXPECT_EQ(on().send(from, std::string(65508, 'x')), -EMSGSIZE);
  EXPECT_EQ(on().send(from, std::string(65507, 'x')), 65507);
  std::string text;
  EXPECT_EQ(on().receive(to, text, 70000), 65507);
}

TEST_P(kernel_contract, a_closed_port_is_told_to_a_connected_socket_once) {
  const int to = on().socket(SOCK_DGRAM);
  const sockaddr_in name = on().bind(to);
  const int from = on().socket(SOCK_DGRAM);
  EXPECT_EQ(on().connect(from, name), 0);
  EXPECT_EQ(on().close(to), 0);
  EXPECT_EQ(on().send(from, "x"), 1);
  std::string text;
  EXPECT_EQ(on().receive(from, text, 10), -ECONNREFUSED);
  EXPECT_EQ(on().receive(from, text, 10, MSG_DONTWAIT), -EAGAIN);
}

TEST_P(kernel_contract, a_multishot_recvmsg_writes_header_name_and_payload) {
  const int to = on().socket(SOCK_DGRAM);
  const sockaddr_in name = on().bind(to);
  const int from = on().socket(SOCK_DGRAM);
  EXPECT_EQ(on().connect(from, name), 0);
  on().give_buffers(4);
  msghdr header{};
  header.msg_namelen = sizeof(sockaddr_in6);
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_recvmsg_multishot(&sqe, to, &header, 0);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.user_data = 20;
  on().submit();

  const auto next = [&](const std::string& text) {
    io_uring_sqe& quiet = on().sqe();
    ::io_uring_prep_send(&quiet, from, text.data(), text.size(), 0);
    quiet.flags |= IOSQE_CQE_SKIP_SUCCESS;
    return on().wait();
  };
  constexpr unsigned before = sizeof(io_uring_recvmsg_out) + sizeof(sockaddr_in6);
  completion got = next("hello");
  EXPECT_EQ(got.tag, 20U);
  EXPECT_EQ(got.result, static_cast<int>(before) + 5);
  EXPECT_EQ(got.flags & 0xffff, with_buffer | more);
  io_uring_recvmsg_out head{};
  std::memcpy(&head, on().buffer(got.buffer()), sizeof(head));
  EXPECT_EQ(head.namelen, sizeof(sockaddr_in));
  EXPECT_EQ(head.payloadlen, 5U);
  EXPECT_EQ(head.flags, 0U);
  EXPECT_EQ(std::string(on().buffer(got.buffer()) + before, 5), "hello");
  sockaddr_in sender{};
  std::memcpy(&sender, on().buffer(got.buffer()) + sizeof(head), sizeof(sender));
  EXPECT_EQ(sender.sin_port, on().local_name(from).sin_port);

  got = next(std::string(6000, 'x'));
  EXPECT_EQ(got.result, 4096);
  std::memcpy(&head, on().buffer(got.buffer()), sizeof(head));
  EXPECT_EQ(head.payloadlen, 4096 - before);
  EXPECT_EQ(head.flags & MSG_TRUNC, unsigned{MSG_TRUNC});

  got = next("");
  EXPECT_EQ(got.result, static_cast<int>(before));
  EXPECT_EQ(got.flags & 0xffff, with_buffer);
}

TEST_P(kernel_contract, options_are_read_back) {
  const int tcp = on().socket(SOCK_STREAM);
  rill::kernel& calls = on().calls();
  const auto get = [&](int level, int option) {
    int value = -1;
    unsigned size = sizeof(value);
    EXPECT_EQ(calls.get_option(tcp, level, option, &value, size), 0);
    EXPECT_EQ(size, sizeof(value));
    return value;
  };
  EXPECT_EQ(get(IPPROTO_TCP, TCP_NODELAY), 0);
  const int one = 1;
  EXPECT_EQ(calls.set_option(tcp, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
  EXPECT_EQ(get(IPPROTO_TCP, TCP_NODELAY), 1);
  const int size = 20000;
  EXPECT_EQ(calls.set_option(tcp, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
  EXPECT_EQ(get(SOL_SOCKET, SO_SNDBUF), 40000);
  EXPECT_EQ(get(SOL_SOCKET, SO_TYPE), SOCK_STREAM);
  EXPECT_EQ(get(SOL_SOCKET, SO_ERROR), 0);
  EXPECT_EQ(get(SOL_SOCKET, SO_ACCEPTCONN), 0);
  EXPECT_EQ(calls.set_option(tcp, IPPROTO_TCP, TCP_KEEPIDLE, &one, 1), -EINVAL);
  const int zero = 0;
  EXPECT_EQ(calls.set_option(tcp, IPPROTO_TCP, TCP_KEEPIDLE, &zero, sizeof(zero)), -EINVAL);
}

TEST_P(kernel_contract, what_the_peer_has_acknowledged_is_told) {
  const machine::pair ends = on().connected();
  const auto acknowledged = [&] {
    tcp_info told{};
    unsigned size = sizeof(told);
    EXPECT_EQ(on().calls().get_option(ends.near_end, IPPROTO_TCP, TCP_INFO, &told, size), 0);
    return told.tcpi_bytes_acked;
  };
  const auto before = acknowledged();
  EXPECT_EQ(on().send(ends.near_end, std::string(1000, 'x')), 1000);
  std::string text;
  EXPECT_EQ(on().receive(ends.far_end, text, 1000, MSG_WAITALL), 1000);
  EXPECT_EQ(on().send(ends.far_end, "."), 1);  // takes the acknowledgement along
  EXPECT_EQ(on().receive(ends.near_end, text, 1), 1);
  EXPECT_EQ(acknowledged(), before + 1000);
}

TEST_P(kernel_contract, of_operations_with_one_tag_the_newest_is_cancelled) {
  const machine::pair ends = on().connected();
  char into[4];
  for (int i = 0; i < 2; ++i) {
    io_uring_sqe& sqe = on().sqe();
    ::io_uring_prep_recv(&sqe, ends.far_end, into, i == 0 ? 1 : 4, 0);
    sqe.user_data = 8;
    on().submit();
  }
  on().start_cancel(8, 9);
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[0].tag, 9U);
  EXPECT_EQ(two[0].result, 0);
  EXPECT_EQ(two[1].result, -ECANCELED);
  EXPECT_EQ(on().send(ends.near_end, "abcd"), 4);
  EXPECT_EQ(on().result(), 1);  // of the older one
}

TEST_P(kernel_contract, a_full_submission_queue_gives_no_sqe_until_the_kernel_is_entered) {
  make({4, 8});
  for (int i = 0; i < 4; ++i) ::io_uring_prep_nop(&on().sqe());
  EXPECT_EQ(::io_uring_get_sqe(&on().ring()), nullptr);
  on().submit();
  EXPECT_NE(::io_uring_get_sqe(&on().ring()), nullptr);
}

TEST_P(kernel_contract, completions_beyond_the_queue_are_kept_and_come_later) {
  make({4, 8});
  for (unsigned i = 0; i < 12; ++i) {
    io_uring_sqe& sqe = on().sqe();
    ::io_uring_prep_nop(&sqe);
    sqe.user_data = 100 + i;
    on().submit();
  }
  EXPECT_NE(*on().ring().sq.kflags & IORING_SQ_CQ_OVERFLOW, 0U);
  const std::vector<completion> all = on().wait(12);
  for (unsigned i = 0; i < 12; ++i) EXPECT_EQ(all[i].tag, 100 + i);
  on().submit();
  EXPECT_EQ(*on().ring().sq.kflags & IORING_SQ_CQ_OVERFLOW, 0U);
}

TEST_P(kernel_contract, a_multishot_ends_when_the_completion_queue_is_full) {
  make({4, 8});
  const machine::pair ends = on().connected();
  on().give_buffers(4);
  EXPECT_EQ(on().send(ends.near_end, std::string(9000, 'x')), 9000);
  std::string text;
  EXPECT_EQ(on().receive(ends.far_end, text, 9000, MSG_PEEK | MSG_WAITALL), 9000);
  for (unsigned i = 0; i < 7; ++i) {
    ::io_uring_prep_nop(&on().sqe());
    on().submit();
  }
  on().start_multishot(ends.far_end, 5);
  const std::vector<completion> all = on().wait(9);
  EXPECT_EQ(all[7].result, 4096);
  EXPECT_TRUE(all[7].has(more));
  EXPECT_EQ(all[8].result, 4096);
  EXPECT_FALSE(all[8].has(more));
  EXPECT_TRUE(all[8].has(with_buffer));
}

}  // namespace
