// What epoll and plain calls make hard and the ring gives for nothing: descriptors that are closed
// and come again, files that other processes share, ends that are reported once, fairness.
// What holds of every kernel is in kernel_contract_test.cpp and in the tests of the rooms.
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <rill/runtime/kernel.h>

#define make_uring_kernel make_epoll_kernel  // the machine asks for it by this name
#include "runtime/child_process.h"
#include "sim/machine.h"
#include "support/files.h"

namespace {

using rill::test::completion;
using rill::test::machine;

constexpr unsigned more = IORING_CQE_F_MORE;

class epoll_kernel : public testing::Test {
 protected:
  epoll_kernel() : on_(false, {256, 1024}) { EXPECT_EQ(on_.calls().name(), "epoll"); }
  machine& on() { return on_; }

  void start_receive(int descriptor, void* into, unsigned size, std::uint64_t tag) {
    io_uring_sqe& sqe = on_.sqe();
    ::io_uring_prep_recv(&sqe, descriptor, into, size, 0);
    sqe.user_data = tag;
    on_.submit();
  }
  void start_read(int descriptor, void* into, unsigned size, std::uint64_t tag,
                  std::uint64_t offset = 0) {
    io_uring_sqe& sqe = on_.sqe();
    ::io_uring_prep_read(&sqe, descriptor, into, size, offset);
    sqe.user_data = tag;
    on_.submit();
  }

 private:
  machine on_;
};

TEST_F(epoll_kernel, a_number_that_comes_again_is_another_descriptor) {
  char into[8];
  for (int round = 0; round < 3; ++round) {
    const machine::pair first = on().connected();
    start_receive(first.far_end, into, sizeof(into), 1);  // registers it
    EXPECT_EQ(on().send(first.near_end, "x"), 1);
    EXPECT_EQ(on().result(), 1);
    EXPECT_EQ(on().close(first.far_end), 0);
    EXPECT_EQ(on().close(first.near_end), 0);
    const machine::pair second = on().connected();
    start_receive(second.far_end, into, sizeof(into), 2);
    EXPECT_EQ(on().send(second.near_end, "yy"), 2);
    EXPECT_EQ(on().result(), 2);
  }
}

TEST_F(epoll_kernel, a_descriptor_closed_under_an_operation_keeps_its_number_until_that_ends) {
  const machine::pair ends = on().connected();
  char into[8];
  start_receive(ends.far_end, into, sizeof(into), 1);
  EXPECT_EQ(on().close(ends.far_end), 0);
  std::string text;
  EXPECT_EQ(on().receive(ends.far_end, text, 4), -EBADF);
  EXPECT_EQ(on().close(ends.far_end), -EBADF);
  on().forget(ends.far_end);
  const int other = on().socket(SOCK_STREAM);
  EXPECT_NE(other, ends.far_end);
  EXPECT_EQ(on().send(ends.near_end, "bytes"), 5);
  const completion got = on().wait();
  EXPECT_EQ(got.tag, 1U);
  EXPECT_EQ(got.result, 5);
  EXPECT_EQ(::fcntl(ends.far_end, F_GETFD), -1);
}

TEST_F(epoll_kernel, a_foreign_descriptor_may_be_closed_and_opened_anew_by_its_owner) {
  char into[8];
  for (int round = 0; round < 3; ++round) {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, round == 1 ? SOCK_DGRAM : SOCK_STREAM, 0, ends), 0);
    start_receive(ends[0], into, sizeof(into), 7);
    EXPECT_EQ(::write(ends[1], "abc", 3), 3);
    EXPECT_EQ(on().result(), 3);
    ::close(ends[0]);
    ::close(ends[1]);
  }
}

TEST_F(epoll_kernel, a_copy_in_another_process_brings_no_events_after_the_close) {
  const machine::pair ends = on().connected();
  char into[8];
  start_receive(ends.far_end, into, sizeof(into), 1);
  EXPECT_EQ(on().send(ends.near_end, "x"), 1);
  EXPECT_EQ(on().result(), 1);
  const int copy = ::dup(ends.far_end);  // as in a child that was forked
  EXPECT_EQ(on().close(ends.far_end), 0);
  const machine::pair others = on().connected();
  start_receive(others.far_end, into, sizeof(into), 2);
  EXPECT_EQ(on().send(ends.near_end, "for the copy"), 12);
  EXPECT_EQ(on().calls().enter(0, 1, on().calls().now() + 5'000'000), -ETIME);
  EXPECT_EQ(on().send(others.near_end, "yy"), 2);
  EXPECT_EQ(on().result(), 2);
  ::close(copy);
}

TEST_F(epoll_kernel, blocking_descriptors_stay_blocking) {
  sockaddr_in name{};
  const int listening = on().listener(name);
  const int near_end = on().socket(SOCK_STREAM);
  EXPECT_EQ(on().connect(near_end, name), 0);
  const int far_end = on().accept(listening);
  std::string text;
  EXPECT_EQ(on().receive(far_end, text, 4, MSG_DONTWAIT), -EAGAIN);
  int ends[2];
  ASSERT_EQ(on().calls().pipe(ends), 0);
  char into[8];
  start_read(ends[0], into, sizeof(into), 3);
  for (const int each : {near_end, far_end, ends[0], ends[1]}) {
    EXPECT_EQ(::fcntl(each, F_GETFL) & O_NONBLOCK, 0);
  }
  EXPECT_EQ(::write(ends[1], "x", 1), 1);
  EXPECT_EQ(on().result(), 1);
  on().calls().close(ends[0]);
  on().calls().close(ends[1]);
}

TEST_F(epoll_kernel, a_listener_never_blocks_as_long_as_other_loops_may_accept_from_it_too) {
  sockaddr_in name{};
  const int listening = on().listener(name);
  machine other(false, {256, 1024});
  const auto accepts_wait = [&](machine& at, int flags) {
    io_uring_sqe& sqe = at.sqe();
    ::io_uring_prep_accept(&sqe, listening, nullptr, nullptr, flags);
    sqe.user_data = 3;
    at.submit();
  };
  accepts_wait(on(), 0);
  EXPECT_NE(::fcntl(listening, F_GETFL) & O_NONBLOCK, 0);
  other.calls().adopt(listening);  // as a listener that several loops have
  EXPECT_NE(::fcntl(listening, F_GETFL) & O_NONBLOCK, 0);
  accepts_wait(other, 0);
  on().start_cancel(3, 4);
  EXPECT_EQ(on().wait(2)[1].result, -ECANCELED);
  EXPECT_NE(::fcntl(listening, F_GETFL) & O_NONBLOCK, 0);
  const int asking = ::socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(::connect(asking, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  const int accepted = other.result();
  EXPECT_GE(accepted, 0);
  other.calls().close(accepted);
  ::close(asking);
}

TEST_F(epoll_kernel, a_connection_that_somebody_else_has_accepted_does_not_block) {
  sockaddr_in name{};
  const int listening = on().listener(name);
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_multishot_accept(&sqe, listening, nullptr, nullptr, 0);
  sqe.user_data = 9;
  on().submit();
  const int asking = ::socket(AF_INET, SOCK_STREAM, 0);
  ASSERT_EQ(::connect(asking, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  const int stolen = ::accept(listening, nullptr, nullptr);  // epoll has its event already
  EXPECT_GE(stolen, 0);
  EXPECT_EQ(on().calls().enter(0, 1, on().calls().now() + 5'000'000), -ETIME);
  ::close(asking);
  ::close(stolen);
}

TEST_F(epoll_kernel, of_two_descriptors_for_one_signal_one_reads_it_and_the_other_waits) {
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &before);
  const int first = on().calls().signals(std::vector<int>{SIGUSR2});
  const int second = on().calls().signals(std::vector<int>{SIGUSR2});
  char into[2][128];
  start_read(first, into[0], 128, 1);
  start_read(second, into[1], 128, 2);
  ::kill(::getpid(), SIGUSR2);
  EXPECT_EQ(on().wait().result, 128);
  EXPECT_EQ(on().calls().enter(0, 1, on().calls().now() + 5'000'000), -ETIME);
  ::kill(::getpid(), SIGUSR2);
  EXPECT_EQ(on().wait().result, 128);
  on().calls().close(first);
  on().calls().close(second);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(epoll_kernel, bytes_and_the_end_that_come_together_are_both_told) {
  const machine::pair ends = on().connected();
  on().give_buffers(4);
  on().start_multishot(ends.far_end, 3);
  EXPECT_EQ(::send(ends.near_end, "last", 4, 0), 4);
  EXPECT_EQ(::shutdown(ends.near_end, SHUT_WR), 0);
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[0].result, 4);
  EXPECT_TRUE(two[0].has(more));
  EXPECT_EQ(two[1].result, 0);
  EXPECT_FALSE(two[1].has(more));
}

TEST_F(epoll_kernel, urgent_data_does_not_hide_what_follows_it) {
  const machine::pair ends = on().connected();
  on().give_buffers(4);
  on().start_multishot(ends.far_end, 3);
  EXPECT_EQ(::send(ends.near_end, "before", 6, 0), 6);
  EXPECT_EQ(::send(ends.near_end, "!", 1, MSG_OOB), 1);
  EXPECT_EQ(::send(ends.near_end, "after", 5, 0), 5);
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[0].result, 6);
  EXPECT_EQ(two[1].result, 5);
}

TEST_F(epoll_kernel, a_storm_on_one_socket_leaves_the_others_their_turn) {
  constexpr std::size_t count = 60;
  sockaddr_in name{};
  const int listening = on().listener(name, 128);
  std::vector<int> opened;
  for (std::size_t i = 0; i < count; ++i) {
    opened.push_back(::socket(AF_INET, SOCK_STREAM, 0));
    ASSERT_EQ(::connect(opened.back(), reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  }
  const machine::pair quiet = on().connected();
  char into[4];
  start_receive(quiet.far_end, into, sizeof(into), 2);
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_multishot_accept(&sqe, listening, nullptr, nullptr, 0);
  sqe.user_data = 1;
  EXPECT_EQ(::send(quiet.near_end, "q", 1, 0), 1);
  const std::vector<completion> all = on().wait(count + 1);
  std::size_t served = 0;
  while (served < all.size() && all[served].tag != 2) ++served;
  EXPECT_LT(served, count / 2);
  for (const completion& each : all) {
    if (each.tag == 1) opened.push_back(each.result);
  }
  for (const int each : opened) on().calls().close(each);
}

TEST_F(epoll_kernel, operations_that_complete_at_once_do_not_keep_epoll_from_being_asked) {
  const machine::pair ends = on().connected();
  char into[4];
  start_receive(ends.far_end, into, sizeof(into), 77);
  EXPECT_EQ(::send(ends.near_end, "x", 1, 0), 1);
  for (int turn = 0; turn < 2; ++turn) {
    ::io_uring_prep_nop(&on().sqe());
    on().submit();
  }
  const std::vector<completion> all = on().wait(3);
  EXPECT_TRUE(all[0].tag == 77 || all[1].tag == 77 || all[2].tag == 77);
}

TEST_F(epoll_kernel, pipes_are_read_and_written_without_blocking) {
  int ends[2];
  ASSERT_EQ(on().calls().pipe(ends), 0);
  const std::string much(1 << 20, 'p');
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_write(&sqe, ends[1], much.data(), static_cast<unsigned>(much.size()), 0);
  const int first = on().result();
  EXPECT_GT(first, 0);
  EXPECT_LT(first, static_cast<int>(much.size()));
  io_uring_sqe& full = on().sqe();
  ::io_uring_prep_write(&full, ends[1], much.data(), 1, 0);
  full.user_data = 5;
  on().submit();
  EXPECT_EQ(on().calls().enter(0, 1, on().calls().now() + 5'000'000), -ETIME);
  std::string text(much.size(), '.');
  start_read(ends[0], text.data(), static_cast<unsigned>(text.size()), 6);
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[0].result + two[1].result, first + 1);
  on().calls().close(ends[0]);
  on().calls().close(ends[1]);
}

TEST_F(epoll_kernel, a_terminal_is_read_when_it_has_a_line) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0) GTEST_SKIP();
  const int terminal = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  if (terminal < 0) GTEST_SKIP();
  char into[16];
  start_read(terminal, into, sizeof(into), 4);
  EXPECT_EQ(::write(master, "hel", 3), 3);
  EXPECT_EQ(on().calls().enter(0, 1, on().calls().now() + 5'000'000), -ETIME);
  EXPECT_EQ(::write(master, "lo\n", 3), 3);
  EXPECT_EQ(on().wait().result, 6);
  ::close(terminal);
  ::close(master);
}

/// Signals all the time, each with a handler, as long as this lives.
class signal_storm {
 public:
  signal_storm() {
    struct sigaction handled{};
    handled.sa_handler = [](int) {};
    handled.sa_flags = SA_RESTART;
    ::sigaction(SIGALRM, &handled, &before_);
    const itimerval often{{0, 50}, {0, 50}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
  }
  signal_storm(const signal_storm&) = delete;
  signal_storm& operator=(const signal_storm&) = delete;
  ~signal_storm() {
    const itimerval none{};
    ::setitimer(ITIMER_REAL, &none, nullptr);
    ::sigaction(SIGALRM, &before_, nullptr);
  }

 private:
  struct sigaction before_{};
};

TEST_F(epoll_kernel, a_signal_does_not_make_a_read_of_a_terminal_block) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(master, 0);
  ASSERT_EQ(::grantpt(master), 0);
  ASSERT_EQ(::unlockpt(master), 0);
  const int terminal = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  std::atomic<bool> is_over = false;
  std::atomic<bool> was_blocked = false;
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  ::pthread_sigmask(SIG_BLOCK, &alarm, nullptr);  // of the rescuer, who inherits it
  std::thread rescuer([&] {
    const std::int64_t until = on().calls().now() + 10'000'000'000;
    while (!is_over && on().calls().now() < until) ::poll(nullptr, 0, 10);
    if (is_over) return;
    was_blocked = true;
    for (int i = 0; i < 2; ++i) EXPECT_EQ(::write(master, "line\n", 5), 5);
  });
  ::pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);
  {
    const signal_storm storm;
    char into[16];
    for (int i = 0; i < 5000 && !was_blocked; ++i) {
      start_read(terminal, into, sizeof(into), 5);
      on().start_cancel(5, 6);
      on().wait(2);
    }
  }
  is_over = true;
  rescuer.join();
  EXPECT_FALSE(was_blocked);
  ::close(terminal);
  ::close(master);
}

TEST_F(epoll_kernel, a_poll_that_could_never_end_is_refused) {
  const rill::test::temporary_folder folder;
  const int file = ::open(folder.made("a", "text").c_str(), O_RDONLY);
  ::io_uring_prep_poll_add(&on().sqe(), file, POLLPRI);
  EXPECT_EQ(on().result(), -EINVAL);
  ::io_uring_prep_poll_add(&on().sqe(), file, POLLIN);
  EXPECT_EQ(on().result(), POLLIN);
  ::close(file);
}

TEST_F(epoll_kernel, descriptors_in_a_message_go_once_however_many_parts_it_is_sent_in) {
  int ends[2];
  ASSERT_EQ(on().calls().socket_pair(AF_UNIX, SOCK_STREAM, ends), 0);
  std::string much(1'000'000, 'x');
  iovec piece{much.data(), much.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  cmsghdr* const carried = CMSG_FIRSTHDR(&header);
  carried->cmsg_level = SOL_SOCKET;
  carried->cmsg_type = SCM_RIGHTS;
  carried->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(carried), &ends[0], sizeof(int));
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_sendmsg(&sqe, ends[0], &header, MSG_NOSIGNAL | MSG_WAITALL);
  on().submit();
  int carried_count = 0;
  for (std::size_t received = 0; received < much.size();) {
    std::string text(much.size(), '.');
    iovec into{text.data(), text.size()};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
    msghdr got{};
    got.msg_iov = &into;
    got.msg_iovlen = 1;
    got.msg_control = room;
    got.msg_controllen = sizeof(room);
    const ssize_t size = ::recvmsg(ends[1], &got, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0) on().calls().enter(0, 0, 0);  // the sender goes on
    if (size > 0) received += static_cast<std::size_t>(size);
    if (const cmsghdr* const came = CMSG_FIRSTHDR(&got); size > 0 && came != nullptr) {
      ++carried_count;
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(came), sizeof(descriptor));
      ::close(descriptor);
    }
  }
  EXPECT_EQ(on().result(), 1'000'000);
  EXPECT_EQ(carried_count, 1);
  for (const int each : ends) on().calls().close(each);
}

/// The result of `body` in a child whose epoll can watch nothing more.
template <class Body>
int without_memory_for_epoll(Body body) {
  rill::test::child_process child([&] {
    machine on(false, {256, 1024});
    return rill::test::refuse_system_call(SYS_epoll_ctl, ENOMEM) ? body(on) : 99;
  });
  const std::string text = child.rest();
  EXPECT_EQ(text, "");
  return child.wait();
}

TEST(epoll_memory, every_file_operation_is_told_that_there_is_none) {
  EXPECT_EQ(without_memory_for_epoll([](machine& on) {
              for (int i = 1; i <= 3; ++i) {
                ::io_uring_prep_openat(&on.sqe(), AT_FDCWD, "/etc/hosts", O_RDONLY, 0);
                if (on.result() != -ENOMEM) return i;
              }
              return 0;
            }),
            0);
}

TEST(epoll_memory, a_file_is_closed_without_it) {
  EXPECT_EQ(without_memory_for_epoll([](machine& on) {
              const int file = ::open("/etc/hosts", O_RDONLY);
              char into[4];  // read once, for else the disk may be asked, in the pool
              if (::pread(file, into, 4, 0) != 4) return 4;
              ::io_uring_prep_read(&on.sqe(), file, into, sizeof(into), 0);
              if (on.result() != 4) return 1;  // known to be a file now
              ::io_uring_prep_close(&on.sqe(), file);
              if (on.result() != 0) return 2;
              return ::fcntl(file, F_GETFD) == -1 ? 0 : 3;
            }),
            0);
}

TEST(epoll_memory, a_send_that_cannot_wait_tells_what_it_has_sent) {
  EXPECT_EQ(without_memory_for_epoll([](machine& on) {
              int ends[2];
              if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 1;
              const std::string much(10'000'000, 'x');
              const int sent = on.send(ends[0], much, MSG_NOSIGNAL | MSG_WAITALL);
              return sent > 0 && sent < 10'000'000 ? 0 : 2;
            }),
            0);
}

TEST_F(epoll_kernel, devices_that_cannot_be_polled_are_read_all_the_same) {
  const int zero = ::open("/dev/zero", O_RDWR);
  char into[16];
  start_read(zero, into, sizeof(into), 4);
  EXPECT_EQ(on().wait().result, 16);
  ::io_uring_prep_write(&on().sqe(), zero, into, sizeof(into), 0);
  EXPECT_EQ(on().result(), 16);
  ::close(zero);
}

TEST(epoll_kernel_end, closes_no_number_again_that_the_pool_has_closed_unseen) {
  const int opened = ::dup(0);
  auto calls = rill::make_epoll_kernel();
  io_uring& ring = calls->open({8, 16});
  calls->start();
  io_uring_sqe* const sqe = ::io_uring_get_sqe(&ring);
  ::io_uring_prep_close(sqe, opened);
  sqe->flags |= IOSQE_ASYNC;
  io_uring_smp_store_release(ring.sq.ktail, ring.sq.sqe_tail);
  EXPECT_EQ(calls->enter(1, 0, 0), 1);
  while (::fcntl(opened, F_GETFD) >= 0) std::this_thread::yield();  // the pool closes it
  EXPECT_EQ(::dup2(0, opened), opened);                             // somebody else has the number
  calls.reset();                                                    // which has not looked
  EXPECT_EQ(::close(opened), 0);
}

TEST_F(epoll_kernel, files_are_opened_read_written_and_closed_in_the_pool) {
  const rill::test::temporary_folder folder;
  const std::string path = folder.path("a");
  for (int round = 0; round < 3; ++round) {  // the number comes again
    ::io_uring_prep_openat(&on().sqe(), AT_FDCWD, path.c_str(), O_RDWR | O_CREAT, 0600);
    const int opened = on().result();
    ASSERT_GE(opened, 0);
    ::io_uring_prep_write(&on().sqe(), opened, "0123456789", 10, 100'000);
    EXPECT_EQ(on().result(), 10);
    ::io_uring_prep_fsync(&on().sqe(), opened, IORING_FSYNC_DATASYNC);
    EXPECT_EQ(on().result(), 0);
    std::string text(200'000, '.');
    start_read(opened, text.data(), 200'000, 1);
    EXPECT_EQ(on().result(), 100'010);
    start_read(opened, text.data(), 4096, 1, 100'005);
    EXPECT_EQ(on().result(), 5);
    EXPECT_EQ(text.substr(0, 5), "56789");
    start_read(opened, text.data(), 4096, 1, 100'010);
    EXPECT_EQ(on().result(), 0);
    EXPECT_EQ(on().close(opened), 0);
    EXPECT_EQ(on().close(opened), -EBADF);
  }
  const std::string missing = folder.path("none");
  ::io_uring_prep_openat(&on().sqe(), AT_FDCWD, missing.c_str(), O_RDONLY, 0);
  EXPECT_EQ(on().result(), -ENOENT);
}

TEST_F(epoll_kernel, an_open_that_waits_for_the_other_end_of_a_fifo_can_be_cancelled) {
  const rill::test::temporary_folder folder;
  const std::string path = folder.path("fifo");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  for (const int mode : {O_RDONLY, O_WRONLY}) {
    for (int round = 0; round < 20; ++round) {  // before, while and after the thread begins
      io_uring_sqe& sqe = on().sqe();
      ::io_uring_prep_openat(&sqe, AT_FDCWD, path.c_str(), mode, 0);
      sqe.user_data = 5;
      on().submit();
      if (round % 2 == 0) ::usleep(500);
      on().start_cancel(5, 6);
      const std::vector<completion> two = on().wait(2);
      EXPECT_EQ(two[0].tag, 6U);
      EXPECT_TRUE(two[0].result == 0 || two[0].result == -EALREADY);
      EXPECT_EQ(two[1].result, -ECANCELED);
    }
  }
}

TEST_F(epoll_kernel, operations_are_cancelled_by_descriptor_and_all_together) {
  const machine::pair first = on().connected();
  const machine::pair second = on().connected();
  char into[4];
  start_receive(first.near_end, into, sizeof(into), 1);
  start_receive(first.far_end, into, sizeof(into), 2);
  start_receive(second.far_end, into, sizeof(into), 3);
  io_uring_sqe& one = on().sqe();
  ::io_uring_prep_cancel_fd(&one, first.far_end, IORING_ASYNC_CANCEL_ALL);
  one.user_data = 8;
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[0].result, 1);
  EXPECT_EQ(two[1].tag, 2U);
  EXPECT_EQ(two[1].result, -ECANCELED);
  io_uring_sqe& all = on().sqe();
  ::io_uring_prep_cancel64(&all, 0, IORING_ASYNC_CANCEL_ANY);
  all.user_data = 9;
  const std::vector<completion> three = on().wait(3);
  EXPECT_EQ(three[0].tag, 9U);
  EXPECT_EQ(three[0].result, 2);
}

TEST_F(epoll_kernel, thousands_of_waiting_operations_are_cancelled_in_no_time) {
  const machine::pair ends = on().connected();
  char into[4];
  constexpr std::uint64_t count = 3000;
  for (std::uint64_t i = 0; i < count; ++i) {
    start_receive(ends.far_end, into, sizeof(into), 0x1000 + i * 64);
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    on().start_cancel(0x1000 + i * 64, 1);
    EXPECT_EQ(on().wait(2)[1].result, -ECANCELED);
  }
}

TEST_F(epoll_kernel, a_connect_waits_while_the_queue_of_a_unix_listener_is_full) {
  const rill::test::temporary_folder folder;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string path = folder.path("s");
  path.copy(name.sun_path, sizeof(name.sun_path) - 1);
  rill::kernel& calls = on().calls();
  const int listening = calls.socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(calls.bind(listening, &name, sizeof(name)), 0);
  ASSERT_EQ(calls.listen(listening, 0), 0);
  const auto start_connect = [&](std::uint64_t tag) {
    const int asking = calls.socket(AF_UNIX, SOCK_STREAM, 0);
    io_uring_sqe& sqe = on().sqe();
    ::io_uring_prep_connect(&sqe, asking, reinterpret_cast<sockaddr*>(&name), sizeof(name));
    sqe.user_data = tag;
    on().submit();
    return asking;
  };
  std::vector<int> opened{listening, start_connect(1)};
  EXPECT_EQ(on().wait().result, 0);
  opened.push_back(start_connect(2));
  EXPECT_EQ(calls.enter(0, 1, calls.now() + 10'000'000), -ETIME);
  ::io_uring_prep_accept(&on().sqe(), listening, nullptr, nullptr, 0);
  const std::vector<completion> two = on().wait(2);
  EXPECT_EQ(two[1].tag, 2U);
  EXPECT_EQ(two[1].result, 0);
  opened.push_back(two[0].result);
  for (const int each : opened) calls.close(each);
}

TEST_F(epoll_kernel, a_datagram_waits_quietly_while_the_unix_socket_that_it_names_is_full) {
  rill::kernel& calls = on().calls();
  const int receiver = calls.socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  ASSERT_EQ(calls.bind(receiver, &name, sizeof(name.sun_family)), 0);  // any free abstract name
  unsigned size = sizeof(name);
  ASSERT_EQ(calls.local_name(receiver, &name, size), 0);
  const int sender = calls.socket(AF_UNIX, SOCK_DGRAM, 0);
  const auto* const to = reinterpret_cast<const sockaddr*>(&name);
  int sent = 0;
  while (::sendto(sender, "x", 1, MSG_DONTWAIT, to, size) == 1) ++sent;

  char last[] = "last";
  iovec piece{last, 4};
  msghdr header{};
  header.msg_name = &name;
  header.msg_namelen = size;
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_sendmsg(&sqe, sender, &header, MSG_NOSIGNAL);
  sqe.user_data = 9;
  on().submit();
  const auto used = [] {
    timespec spent{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return spent.tv_sec * 1'000'000'000 + spent.tv_nsec;
  };
  const std::int64_t before = used();
  EXPECT_EQ(calls.enter(0, 1, calls.now() + 200'000'000), -ETIME);
  EXPECT_LT(used() - before, 100'000'000);
  char into[8];
  for (int i = 0; i < sent; ++i) EXPECT_EQ(::recv(receiver, into, sizeof(into), 0), 1);
  EXPECT_EQ(on().wait().result, 4);
  EXPECT_EQ(::recv(receiver, into, sizeof(into), MSG_DONTWAIT), 4);
  calls.close(sender);
  calls.close(receiver);
}

TEST_F(epoll_kernel, a_message_that_is_wanted_whole_is_gathered_from_what_comes) {
  const machine::pair pair = on().connected();
  char head[3];
  char body[5];
  iovec pieces[] = {{head, sizeof(head)}, {body, sizeof(body)}};
  msghdr header{};
  header.msg_iov = pieces;
  header.msg_iovlen = 2;
  io_uring_sqe& sqe = on().sqe();
  ::io_uring_prep_recvmsg(&sqe, pair.near_end, &header, MSG_WAITALL);
  sqe.user_data = 7;
  for (const std::string part : {"01", "2345"}) {
    EXPECT_EQ(on().send(pair.far_end, part), static_cast<int>(part.size()));
  }
  ::io_uring_prep_send(&on().sqe(), pair.far_end, "67", 2, MSG_NOSIGNAL);
  const std::vector<completion> two = on().wait(2);
  const completion& whole = two[two[0].tag == 7 ? 0 : 1];
  EXPECT_EQ(whole.tag, 7U);
  EXPECT_EQ(whole.result, 8);
  EXPECT_EQ(std::string(head, 3) + std::string(body, 5), "01234567");
  EXPECT_EQ(pieces[0].iov_base, head);  // the caller's own stays as it was
}

TEST_F(epoll_kernel, sizes_of_the_queues_that_cannot_be_are_refused_as_such) {
  for (const rill::queue_sizes wrong : {rill::queue_sizes{0, 8}, rill::queue_sizes{3, 8}}) {
    try {
      rill::make_epoll_kernel()->open(wrong);
      ADD_FAILURE() << wrong.submission;
    } catch (const rill::kernel_error& error) {
      EXPECT_EQ(error.number(), EINVAL);
      EXPECT_NE(std::string(error.what()).find("powers of two"), std::string::npos);
    }
  }
}

TEST_F(epoll_kernel, what_it_does_not_know_is_refused) {
  io_uring_sqe& cancel = on().sqe();
  ::io_uring_prep_cancel64(&cancel, 1, 0);
  cancel.cancel_flags = 1U << 30U;
  EXPECT_EQ(on().result(), -EINVAL);
  on().sqe().opcode = IORING_OP_SPLICE;
  EXPECT_EQ(on().result(), -EINVAL);
  io_uring_sqe& linked = on().sqe();
  ::io_uring_prep_nop(&linked);
  linked.flags |= IOSQE_IO_LINK;
  EXPECT_EQ(on().result(), -EINVAL);
}

}  // namespace
