// Two engines of TLS and what lies between them, changed as the input says: bytes flipped, left
// out, sent twice, or others put in, from the first byte of a handshake to the last of the data.
// Each side ends with an error or with a connection, and gets only what the other has sent, in
// order. The keys are those of a simulated world, so the same input meets the same bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/input.h"
#include "fuzz/world.h"
#include "support/certificates.h"
#include <rill/net/tls/engine.h>
#include <rill/net/tls/error.h>
#include <rill/net/tls/library.h>
#include <rill/runtime/loop.h>

namespace {

using rill::fuzz::check;
using rill::tls::detail::engine;
using bytes = std::vector<std::byte>;
namespace tls = rill::tls;

/// What is done to the bytes of one direction once so many have passed.
struct change {
  enum class kind { flip, leave_out, repeat, put_in };

  bool is_for_server;
  kind what;
  std::size_t offset;
  std::size_t size;
  bytes others;
};

change next_change(rill::fuzz::input& from) {
  const unsigned how = from.byte();
  change made{(how & 1U) != 0, static_cast<change::kind>(how >> 1 & 3U), from.number(8191), 0, {}};
  made.size = (how & 8U) == 0 ? from.number(255) : from.number(4095);
  if (made.what != change::kind::put_in) return made;
  const auto others = std::as_bytes(from.bytes(made.size));
  made.others.assign(others.begin(), others.end());
  return made;
}

class side {
 public:
  side(std::unique_ptr<engine> core, std::string text)
      : core_(std::move(core)), text_(std::move(text)) {}

  /// What has come, in pieces of this size.
  void take(std::span<const std::byte> came, std::size_t piece_size) {
    while (!came.empty() && !has_ended()) {
      const auto piece = came.first(std::min(piece_size, came.size()));
      came = came.subspan(piece.size());
      core_->set_input(piece);
      work();
      check(has_ended() || !core_->has_input(), "input is used, or it is over");
    }
  }
  void work() {
    go_on();
    // Taken at once, as a stream does it: what lies there otherwise counts as owed to the peer.
    check(core_->output().size() <= owed_max, "what is owed to a peer is bounded");
    output_.insert(output_.end(), core_->output().begin(), core_->output().end());
    core_->output().clear();
  }
  bytes output() { return std::exchange(output_, {}); }
  bool has_ended() const { return core_->failure() || core_->has_ended(); }

  void check_end(const side& other, bool is_unchanged) const {
    check(other.text_.starts_with(received_), "what comes out is what the other has put in");
    check(!core_->has_ended() || core_->failure() || received_ == other.text_,
          "an end without a failure is the end of all");
    check(!core_->failure() || core_->failure().category() == tls::tls_category(),
          "a failure is one of TLS");
    check(!is_unchanged || (is_done_ && core_->has_ended() && !core_->failure()),
          "what nobody has changed succeeds");
  }

 private:
  static constexpr std::size_t owed_max = 2 * engine::batch_size;

  void go_on() {
    if (!is_done_) is_done_ = core_->handshake() == engine::progress::done;
    if (!is_done_) return;
    while (!core_->failure() && core_->can_read()) {
      std::byte room[3000];
      const std::size_t size = core_->read(room);
      received_.append(reinterpret_cast<const char*>(room), size);
      if (size == 0) break;
    }
    if (has_sent_ || core_->failure()) return;
    has_sent_ = true;
    const rill::const_buffer pieces[] = {rill::const_buffer(text_)};
    rill::tls::detail::piece_cursor from(pieces);
    for (std::size_t before = SIZE_MAX; before != core_->output().size();) {
      before = core_->output().size();
      if (!core_->encrypt(from)) return;
    }
    core_->close_notify();
  }

  std::unique_ptr<engine> core_;
  std::string text_;
  bytes output_;
  std::string received_;
  bool is_done_ = false;
  bool has_sent_ = false;
};

/// One direction: the changes that are for it, by offset.
class wire {
 public:
  wire(bool is_for_server, const std::vector<change>& changes) {
    for (const change& each : changes) {
      if (each.is_for_server == is_for_server) due_.push_back(&each);
    }
  }

  bytes pass(const bytes& given) {
    bytes made = given;
    for (const change* each : due_) {
      if (each->offset < passed_ || each->offset >= passed_ + given.size()) continue;
      const std::size_t at = std::min(each->offset - passed_, made.size());
      apply(*each, made, at);
      has_changed_ = true;
    }
    passed_ += given.size();
    return made;
  }
  bool has_changed() const { return has_changed_; }

 private:
  static void apply(const change& what, bytes& on, std::size_t at) {
    const std::size_t size = std::min(what.size, on.size() - at);
    const auto first = on.begin() + static_cast<std::ptrdiff_t>(at);
    const auto last = first + static_cast<std::ptrdiff_t>(size);
    if (what.what == change::kind::flip) {
      if (at < on.size()) on[at] ^= static_cast<std::byte>(what.size | 1U);
    } else if (what.what == change::kind::leave_out) {
      on.erase(first, last);
    } else if (what.what == change::kind::repeat) {
      const bytes again(first, last);
      on.insert(first, again.begin(), again.end());
    } else {
      on.insert(first, what.others.begin(), what.others.end());
    }
  }

  std::vector<const change*> due_;
  std::size_t passed_ = 0;
  bool has_changed_ = false;
};

/// The same in every run: made in a world.
const rill::tls::certificate& certificate_of_all_runs() {
  static const rill::tls::certificate made = [] {
    std::optional<rill::tls::certificate> loaded;
    rill::sim::world world(1, rill::fuzz::small_world());
    world.run(world.add_host("host", "10.0.0.1").run([&]() -> rill::task<> {
      tls::detail::use_simulated_randomness();
      loaded.emplace(rill::test::test_certificate().loaded());
      co_return;
    }));
    return *loaded;
  }();
  return made;
}

void converse(rill::fuzz::input& from) {
  const unsigned how = from.byte();
  tls::client_options options = rill::test::trusting_options();
  if ((how & 1U) != 0) options.version_max = tls::version::tls1_2;
  if ((how & 2U) != 0) options.protocols = {"h2", "http/1.1"};
  tls::server_options served;
  if ((how & 4U) != 0) served.protocols = {"http/1.1"};
  const std::size_t piece_size = (how & 8U) == 0 ? SIZE_MAX : 1 + from.number(255);
  std::vector<change> changes;
  for (unsigned i = 0; i < (how >> 4 & 3U); ++i) changes.push_back(next_change(from));

  rill::kernel& seam = rill::loop::current().kernel();
  const tls::client_context trusting(options);
  const tls::server_context mine(certificate_of_all_runs(), served);
  side client(std::make_unique<engine>(trusting, "server.test", seam), "a question");
  side server(std::make_unique<engine>(mine, seam), std::string(20'000, 'a'));
  wire to_client(false, changes);
  wire to_server(true, changes);
  client.work();
  bool goes_on = true;
  for (int round = 0; goes_on; ++round) {
    check(round < 10, "a conversation ends");
    const bytes asked = client.output();
    server.take(to_server.pass(asked), piece_size);
    const bytes answered = server.output();
    client.take(to_client.pass(answered), piece_size);
    goes_on = !asked.empty() || !answered.empty();
  }
  const bool is_unchanged = !to_client.has_changed() && !to_server.has_changed();
  client.check_end(server, is_unchanged);
  server.check_end(client, is_unchanged);
}

rill::task<> converse_on_a_loop(rill::fuzz::input& from) {
  converse(from);
  co_return;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 4096;
  if (size > size_max) return -1;
  certificate_of_all_runs();
  rill::fuzz::input from(data, size);
  rill::fuzz::in_a_world(1, [&](rill::sim::world& world) {
    auto& host = world.add_host("host", "10.0.0.1");
    world.run(host.run(converse_on_a_loop, std::ref(from)));
  });
  return 0;
}
