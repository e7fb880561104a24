// The engine of the load program: many connections, one message in flight on each, one thread.
//
// It knows no protocol (see echo_protocol.h) and prints nothing. Level-triggered epoll with direct
// send and recv: a ring was no lighter here, and with direct calls the kernel can drop bytes that
// nobody looks at, which leaves more of the machine to the server.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <string>
#include <vector>

#include "latency.h"

namespace bench {

struct load_options {
  double warmup_seconds = 1;
  double duration_seconds = 5;
  double rate = 0;  // messages a second over all connections; 0: as fast as replies come
  bool spin = false;
};

struct load_result {
  std::uint64_t messages = 0;  // replies that arrived in the measured time
  double seconds = 0;
  double cpu_share = 0;      // of one core, used by the load itself: near 1, the load is the limit
  std::uint64_t unsent = 0;  // with a rate: due in time, but the connection was still waiting
  latency_histogram latency;
};

class load_error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class Protocol>
class load_engine {
 public:
  load_engine(Protocol& protocol, std::vector<int> descriptors, const load_options& options)
      : protocol_(protocol), options_(options), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    connections_.resize(descriptors.size());
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
      connections_[i].descriptor = descriptors[i];
      watch(connections_[i], EPOLL_CTL_ADD, EPOLLIN);
    }
  }
  load_engine(const load_engine&) = delete;
  load_engine& operator=(const load_engine&) = delete;
  ~load_engine() { ::close(epoll_); }

  load_result run() {
    now_ = clock();
    started_ = now_;
    measured_from_ = now_ + nanoseconds(options_.warmup_seconds);
    measured_until_ = measured_from_ + nanoseconds(options_.duration_seconds);
    running_ = true;
    if (options_.rate == 0) {
      for (connection& peer : connections_) send_message(peer, now_);
    }
    run_until(measured_from_);
    std::uint64_t cpu_before = clock(CLOCK_PROCESS_CPUTIME_ID);
    run_until(measured_until_);
    std::uint64_t cpu_used = clock(CLOCK_PROCESS_CPUTIME_ID) - cpu_before;
    running_ = false;
    // Whoever still waits for a reply gets it now: one that never comes is an error of the server.
    std::uint64_t patience_ends = measured_until_ + nanoseconds(5);
    while (in_flight_ > 0 && now_ < patience_ends) wait(patience_ends);
    if (in_flight_ > 0) {
      throw load_error(std::to_string(in_flight_) + " replies did not come within 5 s");
    }
    result_.seconds = options_.duration_seconds;
    result_.cpu_share = static_cast<double>(cpu_used) / 1e9 / result_.seconds;
    for (connection& peer : connections_) result_.unsent += peer.overdue;
    return result_;
  }

 private:
  struct connection {
    int descriptor = -1;
    bool waiting = false;  // for a reply
    bool blocked = false;  // the socket took only a part of the request
    std::uint32_t overdue = 0;
    std::size_t sent = 0;
    std::uint64_t due = 0;  // intended send time of the message in flight
    std::uint64_t overdue_message = 0;
    typename Protocol::exchange exchange{};
  };

  static std::uint64_t nanoseconds(double seconds) {
    return static_cast<std::uint64_t>(seconds * 1e9);
  }

  static std::uint64_t clock(clockid_t which = CLOCK_MONOTONIC) {
    timespec time{};
    ::clock_gettime(which, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(time.tv_nsec);
  }

  void watch(connection& peer, int operation, std::uint32_t interest) {
    epoll_event event{};
    event.events = interest;
    event.data.ptr = &peer;
    if (::epoll_ctl(epoll_, operation, peer.descriptor, &event) < 0) fail(peer, "epoll_ctl", errno);
  }

  std::size_t index(const connection& peer) const {
    return static_cast<std::size_t>(&peer - connections_.data());
  }

  [[noreturn]] void fail(const connection& peer, const std::string& what, int error = 0) const {
    std::string text = "connection " + std::to_string(index(peer)) + ": " + what;
    if (error != 0) text += std::string(": ") + std::strerror(error);
    throw load_error(text);
  }

  // Message k is due at k / rate and belongs to connection k modulo their number, whatever the
  // server does: a slow server cannot slow the schedule, and waiting for it counts as latency.
  std::uint64_t due_time(std::uint64_t message) const {
    return started_ + nanoseconds(static_cast<double>(message) / options_.rate);
  }

  void send_due() {
    for (; due_time(scheduled_) <= now_; ++scheduled_) {
      connection& peer = connections_[scheduled_ % connections_.size()];
      if (peer.waiting) {
        if (peer.overdue++ == 0) peer.overdue_message = scheduled_;
      } else {
        send_message(peer, due_time(scheduled_));
      }
    }
  }

  void send_overdue(connection& peer) {
    --peer.overdue;
    std::uint64_t message = peer.overdue_message;
    peer.overdue_message += connections_.size();
    send_message(peer, due_time(message));
  }

  void run_until(std::uint64_t end) {
    while (now_ < end) {
      if (options_.rate > 0) send_due();
      wait(options_.rate > 0 ? std::min(due_time(scheduled_), end) : end);
    }
  }

  void wait(std::uint64_t deadline) {
    timespec timeout{};
    if (deadline > now_ && !options_.spin) {
      timeout.tv_sec = static_cast<time_t>((deadline - now_) / 1'000'000'000U);
      timeout.tv_nsec = static_cast<long>((deadline - now_) % 1'000'000'000U);
    }
    int count =
        ::epoll_pwait2(epoll_, events_.data(), static_cast<int>(events_.size()), &timeout, nullptr);
    if (count < 0 && errno != EINTR) throw load_error(std::strerror(errno));
    // The clock is read once for a batch: a send is stamped a little early, never late.
    now_ = clock();
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events_[static_cast<std::size_t>(i)];
      connection& peer = *static_cast<connection*>(event.data.ptr);
      if (peer.blocked && (event.events & EPOLLOUT) != 0) send_rest(peer);
      if ((event.events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) receive(peer);
    }
  }

  void send_message(connection& peer, std::uint64_t due) {
    protocol_.start(peer.exchange, index(peer));
    peer.due = due;
    peer.sent = 0;
    peer.waiting = true;
    ++in_flight_;
    send_rest(peer);
  }

  static ssize_t send_pieces(int descriptor, std::array<iovec, 2>& pieces, int count) {
    constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (count == 1) return ::send(descriptor, pieces[0].iov_base, pieces[0].iov_len, flags);
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = static_cast<std::size_t>(count);
    return ::sendmsg(descriptor, &message, flags);
  }

  void send_rest(connection& peer) {
    std::array<iovec, 2> pieces;
    int count = protocol_.request(peer.exchange, peer.sent, pieces.data());
    ssize_t sent = send_pieces(peer.descriptor, pieces, count);
    if (sent < 0 && errno != EAGAIN) fail(peer, "send", errno);
    if (sent > 0) peer.sent += static_cast<std::size_t>(sent);
    bool blocked = peer.sent < protocol_.request_size();
    if (blocked != peer.blocked) {
      watch(peer, EPOLL_CTL_MOD, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
      peer.blocked = blocked;
    }
  }

  void receive(connection& peer) {
    std::size_t must_see = peer.waiting ? protocol_.must_see(peer.exchange) : 1;
    if (must_see > 0) {
      // Small replies are asked for with room to spare, so that surplus bytes are noticed.
      std::size_t room = must_see < protocol_.request_size() ? must_see : buffer_.size();
      std::size_t size = receive_some(peer, buffer_.data(), room, 0);
      if (size == 0) return;
      verdict judged = protocol_.reply(peer.exchange, buffer_.data(), size);
      if (judged == verdict::wrong) fail(peer, "wrong bytes came back");
      if (judged == verdict::done) return finish(peer);
      if (protocol_.must_see(peer.exchange) > 0) return;
    }
    // With MSG_TRUNC, TCP drops bytes without copying them (tcp(7)).
    std::size_t size = receive_some(peer, nullptr, protocol_.missing(peer.exchange), MSG_TRUNC);
    protocol_.dropped(peer.exchange, size);
    if (protocol_.complete(peer.exchange)) finish(peer);
  }

  // 0: nothing there yet.
  std::size_t receive_some(const connection& peer, char* data, std::size_t size, int flags) const {
    ssize_t got = ::recv(peer.descriptor, data, size, MSG_DONTWAIT | flags);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got < 0) fail(peer, "receive", errno);
    if (got == 0) fail(peer, "lost: the server closed it");
    if (!peer.waiting) fail(peer, "bytes came back that were never sent");
    return static_cast<std::size_t>(got);
  }

  void finish(connection& peer) {
    peer.waiting = false;
    --in_flight_;
    bool arrived_in_time = now_ >= measured_from_ && now_ < measured_until_;
    bool due_in_time = peer.due >= measured_from_ && peer.due < measured_until_;
    if (arrived_in_time) ++result_.messages;
    // Either counts: a server that falls behind its schedule answers only what was due long before.
    if (arrived_in_time || due_in_time) result_.latency.record(now_ - peer.due);
    if (!running_) return;
    if (options_.rate == 0) {
      send_message(peer, now_);
    } else if (peer.overdue > 0) {
      send_overdue(peer);
    }
  }

  Protocol& protocol_;
  load_options options_;
  int epoll_;
  std::vector<connection> connections_;
  std::array<epoll_event, 512> events_;
  std::array<char, 64 * 1024> buffer_;
  std::uint64_t now_ = 0;
  std::uint64_t started_ = 0;
  std::uint64_t measured_from_ = 0;
  std::uint64_t measured_until_ = 0;
  std::uint64_t scheduled_ = 0;  // messages that have become due, with a rate
  std::uint64_t in_flight_ = 0;
  bool running_ = false;
  load_result result_;
};

}  // namespace bench
