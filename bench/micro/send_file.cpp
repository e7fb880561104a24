// A file to a socket, two ways: sendfile(2), which is what send_file does, and reading and writing
// on the ring. Sends a file of 64 MiB that lies in the page cache over loopback, the two ways in
// turn, and prints for each run the wall time and the processor time of the sending thread and of
// the process (the receivers, threads with plain recv(2), included).
// Usage: send_file [RUNS [SIZE_IN_MIB [CONNECTIONS]]]; each connection is sent the whole file.
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <rill/net/tcp.h>
#include <rill/runtime/file.h>
#include <rill/runtime/kernel.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>

namespace {

constexpr std::size_t chunk_size = 256 * 1024;

double processor_ms(int whose) {
  rusage used{};
  ::getrusage(whose, &used);
  const auto ms = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_usec) / 1e3;
  };
  return ms(used.ru_utime) + ms(used.ru_stime);
}

/// A thread that reads all of one connection.
class receiver {
 public:
  receiver() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 1) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      std::abort();
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      const int peer = ::accept(listener_, nullptr, nullptr);
      std::vector<char> buffer(chunk_size);
      for (;;) {
        const ssize_t count = ::recv(peer, buffer.data(), buffer.size(), 0);
        if (count <= 0) break;
        received_ += static_cast<std::uint64_t>(count);
      }
      ::close(peer);
    });
  }
  ~receiver() { ::close(listener_); }
  std::uint16_t port() const noexcept { return port_; }
  std::uint64_t wait() {
    thread_.join();
    return received_;
  }

 private:
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::thread thread_;
  std::uint64_t received_ = 0;
};

rill::task<> by_sendfile(rill::tcp_stream& to, rill::file& from, std::uint64_t size) {
  co_await to.send_file(from, 0, size);
}

rill::task<> by_reading(rill::tcp_stream& to, rill::file& from, std::uint64_t size) {
  const auto buffer = std::make_unique<std::byte[]>(chunk_size);
  const std::span<std::byte> all(buffer.get(), chunk_size);
  for (std::uint64_t done = 0; done < size;) {
    const std::size_t count = co_await from.read_at(all, done);
    if (count == 0) break;
    co_await to.write_all(all.first(count));
    done += count;
  }
}

using way = rill::task<> (*)(rill::tcp_stream&, rill::file&, std::uint64_t);

rill::task<> send(way how, const std::string& path, std::uint64_t size, std::uint16_t port) {
  rill::file from = co_await rill::file::open(path);
  rill::tcp_stream to = co_await rill::tcp_stream::connect(
      rill::ip_endpoint::parse("127.0.0.1:" + std::to_string(port)).value());
  co_await how(to, from, size);
}

rill::task<> send_to_all(way how, const std::string& path, std::uint64_t size,
                         std::vector<receiver>& peers) {
  co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
    for (const receiver& each : peers) tasks.start(send, how, path, size, each.port());
    co_return;
  });
}

void measure(const char* name, way how, const std::string& path, std::uint64_t size,
             std::size_t connection_count) {
  std::vector<receiver> peers(connection_count);
  rill::loop loop(rill::make_kernel("uring"));
  const double thread_before = processor_ms(RUSAGE_THREAD);
  const double process_before = processor_ms(RUSAGE_SELF);
  const auto begin = std::chrono::steady_clock::now();
  loop.run(send_to_all(how, path, size, peers));
  const double thread = processor_ms(RUSAGE_THREAD) - thread_before;
  bool complete = true;
  for (receiver& each : peers) complete = each.wait() == size && complete;
  const std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - begin;
  std::printf("%-10s %8.1f ms wall %8.1f ms sender %8.1f ms process%s\n", name, wall.count(),
              thread, processor_ms(RUSAGE_SELF) - process_before, complete ? "" : "  INCOMPLETE");
}

}  // namespace

int main(int argument_count, char** arguments) {
  const auto argument = [&](int place, std::uint64_t otherwise) -> std::uint64_t {
    return argument_count > place ? std::strtoull(arguments[place], nullptr, 10) : otherwise;
  };
  const std::uint64_t runs = argument(1, 5);
  const std::uint64_t size = argument(2, 64) << 20U;
  const std::uint64_t connection_count = argument(3, 1);
  std::string path = "/tmp/rill-send-file-XXXXXX";
  const int file = ::mkstemp(path.data());
  const std::vector<char> block(std::size_t{1} << 20U, 'x');
  for (std::uint64_t done = 0; done < size; done += block.size()) {
    if (::write(file, block.data(), block.size()) < 0) return 1;
  }
  ::close(file);
  for (std::uint64_t run = 0; run < runs; ++run) {
    measure("sendfile", by_sendfile, path, size, connection_count);
    measure("read+send", by_reading, path, size, connection_count);
  }
  ::unlink(path.c_str());
}
