// A service under a network partition, in virtual time: the same echo session that runs in
// production, on two simulated hosts in one thread. Runs in milliseconds, the same every time.
//
//   build/release/bin/06_simulated_partition        (or with another seed: ... 7)
//     0.00124 s  before
//     the network is cut
//     5 s  no answer: read: Connection timed out
//     the network is back
//     6.22 s  during           (sent into the cut; TCP sent it again)
//     6.22 s  after
//
// Read next: runtime/sim/README.md, then write a test of your own service.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include <rill/net/serve.h>
#include <rill/net/tcp.h>
#include <rill/protocols/echo/echo.h>
#include <rill/runtime/sim/world.h>
#include <rill/runtime/timeout.h>

using namespace std::chrono_literals;

namespace {

rill::task<> echo_to(rill::tcp_stream peer) { return rill::echo::session(std::move(peer)); }

rill::task<> echo_service() {
  const rill::endpoint local(rill::address::v4(10, 0, 0, 1), 8888);
  rill::tcp_listener listener = rill::tcp_listener::bind(local);
  co_await rill::serve(listener, echo_to);
}

void tell(rill::loop_clock::time_point start, const std::string& what) {
  const std::chrono::duration<double> elapsed = rill::loop_clock::now() - start;
  std::printf("%.3g s  %s\n", elapsed.count(), what.c_str());
}

class network {
 public:
  network(rill::sim::world& world, rill::sim::host& a, rill::sim::host& b)
      : world_(&world), a_(&a), b_(&b) {}
  void cut() {
    std::printf("the network is cut\n");
    partition_.emplace(world_->partition(*a_, *b_));
  }
  void heal() {
    std::printf("the network is back\n");
    partition_.reset();
  }

 private:
  rill::sim::world* world_;
  rill::sim::host* a_;
  rill::sim::host* b_;
  std::optional<rill::sim::fault_guard> partition_;
};

rill::task<> client(network& between) {
  const auto start = rill::loop_clock::now();
  const rill::endpoint server(rill::address::v4(10, 0, 0, 1), 8888);
  rill::tcp_stream stream = co_await rill::tcp_stream::connect(server);

  std::string reply(6, ' ');
  co_await stream.write_all("before");
  co_await stream.read_exactly(reply);
  tell(start, reply);

  between.cut();
  co_await stream.write_all("during");  // into the socket's buffer; nobody gets it yet
  const auto answer = co_await rill::as_result(rill::with_timeout(5s, stream.read_lease()));
  if (!answer) tell(start, "no answer: " + answer.error().message());

  between.heal();
  co_await stream.read_exactly(reply);
  tell(start, reply);
  reply.resize(5);
  co_await stream.write_all("after");
  co_await stream.read_exactly(reply);
  tell(start, reply);
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  rill::sim::world world(seed);
  rill::sim::host& server = world.add_host("server", "10.0.0.1");
  rill::sim::host& laptop = world.add_host("laptop", "10.0.0.2");
  network between(world, server, laptop);
  server.run(echo_service);
  const rill::sim::program& test = laptop.run(client, std::ref(between));
  world.run(test);
}
