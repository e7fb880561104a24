// A chat in a page: whoever connects is asked for a name, and what one says the others get.
//
//   build/release/bin/13_small_chat        ready: tcp 127.0.0.1:PORT
//   nc 127.0.0.1 PORT                      (twice) answer NICK with a name, then talk
//
// State that many tasks share, without a lock; a queue for each member, so that one who does not
// read holds nobody up. A chat to deploy, with rooms and limits: protocols/chat.
#include <chrono>
#include <cstdint>
#include <list>
#include <string>
#include <utility>

#include "program.h"
#include <rill/net/serve.h>
#include <rill/runtime/channel.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/run.h>
#include <rill/runtime/timeout.h>

using namespace std::chrono_literals;

namespace {

struct member {
  explicit member(std::string called) : name(std::move(called)) {}
  std::string name;
  rill::channel<std::string> queue{64};  // messages; who lets more of them wait misses some
};

class chat {
 public:
  rill::task<> session(rill::tcp_stream peer) {
    co_await peer.write_all("NICK");
    std::string name(32, ' ');
    name.resize(co_await rill::with_timeout(30s, peer.read(rill::mutable_buffer(name))));
    if (name.empty()) co_return;
    name.erase(name.find_last_not_of("\r\n") + 1);
    const membership mine(*this, std::move(name));
    co_await rill::with_nursery([&](rill::nursery& both) -> rill::task<> {
      both.start([&]() -> rill::task<> { co_await send(mine.who(), peer); });
      co_await receive(mine.who(), peer);
      both.cancel();  // the peer has finished: so has its sender
    });
  }

 private:
  // A member as long as its session, however that ends: by its end, by a reset, by cancellation.
  class membership {
   public:
    membership(chat& in, std::string name)
        : in_(&in), place_(in.members_.emplace(in.members_.end(), std::move(name))) {
      in_->tell(place_->name + " joined the chat!");
    }
    membership(const membership&) = delete;
    membership& operator=(const membership&) = delete;
    ~membership() {
      const std::string text = place_->name + " left the chat!";
      in_->members_.erase(place_);
      in_->tell(text);
    }
    member& who() const { return *place_; }

   private:
    chat* in_;
    std::list<member>::iterator place_;
  };

  // Nothing is awaited here, so nobody joins or leaves meanwhile.
  void tell(const std::string& text, const member* but = nullptr) {
    for (member& each : members_) {
      if (&each != but) each.queue.try_send(text);
    }
  }
  rill::task<> receive(const member& from, rill::tcp_stream& peer) {
    while (auto said = co_await peer.read_lease()) tell(std::string(said.text()), &from);
  }
  rill::task<> send(member& to, rill::tcp_stream& peer) {
    while (auto text = co_await to.queue.receive()) {
      co_await rill::with_timeout(30s, peer.write_all(*text));
    }
  }

  std::list<member> members_;
};

rill::task<> small_chat(std::uint16_t port) {
  const rill::endpoint local(rill::address::loopback_v4(), port);
  rill::tcp_listener listener = rill::tcp_listener::bind(local);
  program::announce(program::ready_lines("tcp", listener.locals()));
  chat room;
  const auto session = [&](rill::tcp_stream peer) { return room.session(std::move(peer)); };
  co_await rill::serve(listener, session);
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  CLI::App app("A chat on one loop, until Ctrl-C.");
  program::add_number(app, "--port", port, "port to listen on, 0 for any (0)");
  program::parse_or_exit(app, argc, argv);
  return rill::run(small_chat, port);
}
