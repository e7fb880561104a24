// One read that has to wait, looked at while it waits: the task tree, and what the loop has done.
//
//   build/release/bin/09_suspended_read
//     while it waits:
//     3 tasks
//     `- suspended_read (examples/09_suspended_read.cpp:55): nursery of 2, 10 ms
//        |- reader (examples/09_suspended_read.cpp:35): read 127.0.0.1:49084 (descriptor 8), 10 ms
//        `- onlooker (examples/09_suspended_read.cpp:41): running, 10 ms
//     it has read 5 bytes: hello
//     operations since: 2             (the read itself, and the onlooker's write)
//
// Change it: take the write away, and look with kill -USR1 at the reader that waits for ever.
// Read next: 10_cancellation.cpp.
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>

#include <rill/net/tcp.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>
#include <rill/runtime/sleep.h>

using namespace std::chrono_literals;

namespace {

unsigned long long operation_count() { return rill::loop::current().statistics().submission_count; }

rill::task<> reader(rill::tcp_stream& from) {
  std::array<char, 64> buffer;
  const unsigned long long before = operation_count();
  const std::size_t size = co_await from.read(buffer);  // here it is suspended
  std::printf("it has read %zu bytes: %.*s\n", size, static_cast<int>(size), buffer.data());
  std::printf("operations since: %llu\n", operation_count() - before);
}

rill::task<> onlooker(rill::tcp_stream& to) {
  co_await rill::sleep_for(10ms);
  std::printf("while it waits:\n%s", rill::loop::current().task_tree().c_str());
  co_await to.write_all("hello");
}

rill::task<> suspended_read() {
  const rill::endpoint local(rill::address::loopback_v4(), 0);
  rill::tcp_listener listener = rill::tcp_listener::bind(local);
  rill::tcp_stream client = co_await rill::tcp_stream::connect(listener.local());
  rill::tcp_stream server = co_await listener.accept();
  co_await rill::with_nursery([&](rill::nursery& tasks) -> rill::task<> {
    tasks.start(reader, std::ref(server));
    tasks.start(onlooker, std::ref(client));
    co_return;
  });
}

}  // namespace

int main() { return rill::run(suspended_read); }
