// Echo by a plain level-triggered epoll loop: one buffer for all connections, read then write.
//
// One of the two limits that rill is measured against (the other is raw_uring_echo.cpp). No
// coroutines, no timeouts, no orderly shutdown.

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "server.h"

namespace {

using bench::must;

class epoll_echo {
 public:
  epoll_echo(int listener, int descriptor_max, std::size_t buffer_size)
      : listener_(listener),
        epoll_(must(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
        buffer_(buffer_size),
        unsent_(static_cast<std::size_t>(descriptor_max)) {
    control(EPOLL_CTL_ADD, listener_, EPOLLIN);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 1024> events;
    for (;;) {
      int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      if (count < 0 && errno != EINTR) bench::die("epoll_wait", errno);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.fd == listener_) {
          accept_all();
        } else if ((event.events & EPOLLOUT) != 0) {
          write_rest(event.data.fd);
        } else {
          echo(event.data.fd);
        }
      }
    }
  }

 private:
  void control(int operation, int descriptor, std::uint32_t interest) {
    epoll_event event{};
    event.events = interest;
    event.data.fd = descriptor;
    must(::epoll_ctl(epoll_, operation, descriptor, &event), "epoll_ctl");
  }

  void accept_all() {
    for (;;) {
      int descriptor = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (descriptor < 0) return;
      control(EPOLL_CTL_ADD, descriptor, EPOLLIN);
    }
  }

  // One read for each event: a short read means that the socket is empty, and level triggering
  // reports what is left after a full one.
  void echo(int descriptor) {
    ssize_t got = ::recv(descriptor, buffer_.data(), buffer_.size(), 0);
    if (got <= 0) {
      if (got == 0 || errno != EAGAIN) close_connection(descriptor);
      return;
    }
    std::size_t size = static_cast<std::size_t>(got);
    ssize_t sent = ::send(descriptor, buffer_.data(), size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return close_connection(descriptor);
    std::size_t done = sent < 0 ? 0 : static_cast<std::size_t>(sent);
    if (done == size) return;
    // The peer reads slowly: keep the rest and stop reading from it until the rest has gone.
    auto& unsent = unsent_[static_cast<std::size_t>(descriptor)];
    unsent.assign(buffer_.data() + done, buffer_.data() + size);
    control(EPOLL_CTL_MOD, descriptor, EPOLLOUT);
  }

  void write_rest(int descriptor) {
    auto& unsent = unsent_[static_cast<std::size_t>(descriptor)];
    ssize_t sent = ::send(descriptor, unsent.data(), unsent.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) close_connection(descriptor);
      return;
    }
    unsent.erase(unsent.begin(), unsent.begin() + sent);
    if (unsent.empty()) control(EPOLL_CTL_MOD, descriptor, EPOLLIN);
  }

  void close_connection(int descriptor) {
    unsent_[static_cast<std::size_t>(descriptor)] = {};
    ::close(descriptor);
  }

  int listener_;
  int epoll_;
  std::vector<char> buffer_;
  std::vector<std::vector<char>> unsent_;  // by descriptor; empty but for slow readers
};

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  std::size_t buffer_size = 64 * 1024;
  CLI::App app{"Echo by level-triggered epoll."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  app.add_option("--buffer-size", buffer_size, "bytes of the one buffer");
  bench::parse_or_exit(app, argc, argv);

  int descriptor_max = bench::raise_descriptor_limit();
  int listener = bench::listen_on_loopback(port, SOCK_NONBLOCK);
  epoll_echo server(listener, descriptor_max, buffer_size);
  bench::announce_ready_socket(listener);
  server.run();
}
