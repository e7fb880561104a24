// The life of a server: connections that end, a drain, a report. See serve.h.
#include <rill/net/serve.h>

#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <new>

#include <rill/runtime/combine.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>
#include <rill/runtime/uring_abi.h>

namespace rill::detail {

server_base::server_base(const serve_limits& limits) noexcept
    : limits_(limits), counts_(limits.statistics != nullptr ? limits.statistics : &own_counts_) {}

void server_base::begin(promise_base& awaiting, task<void> accepting) noexcept {
  owner_ = awaiting.owner_chain;
  accept_chain_ = ::new (static_cast<void*>(accept_storage_)) chain(*this, owner_->on());
  accept_chain_->start(accepting.release());
}

bool server_base::take_place() noexcept {
  if (limits_.shared_count == nullptr) return !is_full();
  std::size_t taken = limits_.shared_count->load();
  do {
    if (limits_.connection_max != 0 && taken >= limits_.connection_max) return false;
  } while (!limits_.shared_count->compare_exchange_weak(taken, taken + 1));
  return true;
}

void server_base::give_place_back() noexcept {
  if (limits_.shared_count != nullptr) --*limits_.shared_count;
}

void server_base::started(connection& made, task<void> root) noexcept {
  ++counts_->accepted_count;
  if (++counts_->active_count > counts_->active_peak) {
    counts_->active_peak = counts_->active_count;
  }
  made.start(root.release());
}

void server_base::begin_drain() noexcept {
  if (drain_.is_draining()) return;
  drain_.event_.set();
  changed_.set();
  interrupt_accept();
}

task<void> server_base::wait_for_change(std::chrono::nanoseconds limit) {
  changed_.reset();
  if (drain_.is_draining()) co_return;
  try {
    co_await with_timeout(limit, changed_.wait());
  } catch (const timeout_error&) {
    // Nothing has changed; the caller looks again.
  }
}

bool server_base::end_reading(bool of_all) {
  kernel& seam = owner_->owner_loop().kernel();
  bool all_told = true;
  for (chain* each = first_child(); each != nullptr; each = next_child(*each)) {
    if (each == accept_chain_) continue;
    auto& told = static_cast<connection&>(*each);
    if (told.told || told.watched == nullptr || !(of_all || told.watched->is_idle)) continue;
    const int descriptor = told.watched->read.descriptor;
    if (!of_all && (told.watched->has_arrived() || seam.is_readable(descriptor))) {
      all_told = false;
      continue;
    }
    seam.shutdown(descriptor, SHUT_RD);
    told.told = true;
    told.watched->finish_before_close = true;
  }
  return all_told;
}

task<void> server_base::all_ended() {
  while (child_count() > 1) {
    changed_.reset();
    co_await changed_.wait();
  }
}

void server_base::begin_drain_time() noexcept {
  drain_end_ = deadline_after(owner_->owner_loop().now, limits_.drain_timeout.count());
}

task<bool> server_base::wait_in_drain(bool tells_all) {
  loop& on = owner_->owner_loop();
  changed_.reset();
  end_reading(tells_all);
  if (on.hurry().is_set() || on.now >= drain_end_) co_return false;
  const std::int64_t end = std::min(drain_end_, on.deadline_in(limits_.short_pause.count()));
  co_await any_of(changed_.wait(), on.hurry().wait(),
                  sleep_until(loop_clock::time_point(loop_clock::duration(end))));
  // A stream that has ended is shut down and closed in the next turns; then its descriptor is free.
  for (int turn = 0; turn != 3; ++turn) co_await sleep_for(std::chrono::nanoseconds(0));
  co_return true;
}

task<void> server_base::finish_connections(bool tells_all) {
  loop& on = owner_->owner_loop();
  const loop_clock::time_point deadline{loop_clock::duration(drain_end_)};
  const bool all_told = end_reading(tells_all);
  if (child_count() > 1 && !on.hurry().is_set()) {
    // Whichever comes first: the last connection's end, the deadline, or somebody in a hurry.
    co_await with_nursery([&](nursery& tasks) -> task<> {
      tasks.start(
          [](event& hurry, nursery& all) -> task<> {
            co_await hurry.wait();
            all.cancel();
          },
          std::ref(on.hurry()), std::ref(tasks));
      tasks.start(
          [](loop_clock::time_point end, nursery& all) -> task<> {
            co_await sleep_until(end);
            all.cancel();
          },
          deadline, std::ref(tasks));
      if (!all_told) {  // what had come may be too little to begin with
        tasks.start(
            [](server_base& self) -> task<> {
              do {
                co_await sleep_for(self.limits_.short_pause);
              } while (!self.end_reading(false));
            },
            std::ref(*this));
      }
      co_await all_ended();
      tasks.cancel();
    });
  }
  for (chain* each = first_child(); each != nullptr; each = next_child(*each)) {
    if (each == accept_chain_) continue;
    ++counts_->cut_count;
    each->cancel();
  }
  co_await all_ended();
}

void server_base::child_done(chain& child, bool completed) noexcept {
  if (&child == accept_chain_) {
    if (completed) {
      auto* outcome = static_cast<task_promise<void>*>(child.root());
      if (outcome->has_exception()) {
        error_ = outcome->exception();
        cancel_children();
      }
    }
    accept_chain_ = nullptr;
    child.~chain();
  } else {
    connection_done(static_cast<connection&>(child), completed);
  }
  if (accept_chain_ != nullptr || child_count() != 0) return;
  if (owner_->cancel_requested() && !error_) {
    owner_->destroy_later();
  } else {
    owner_->make_ready();
  }
}

void server_base::connection_done(connection& ended, bool completed) noexcept {
  if (completed && static_cast<task_promise<void>*>(ended.root())->has_exception()) {
    ++counts_->failed_count;
    report(ended, static_cast<task_promise<void>*>(ended.root())->exception());
  }
  --counts_->active_count;
  give_place_back();
  ended.free_root();  // its parameters may refer to the stream that the connection holds
  delete &ended;
  changed_.set();
}

void server_base::never_started(const connection& made, const std::exception_ptr& error) noexcept {
  ++counts_->accepted_count;
  ++counts_->failed_count;
  report(made, error);
}

void server_base::report(const connection& ended, const std::exception_ptr& error) noexcept {
  const endpoint peer = ended.has_peer ? endpoint(ended.peer) : endpoint();
  if (limits_.on_error != nullptr) {
    limits_.on_error(peer, error);
    return;
  }
  const std::string name = peer.is_ip() ? peer.to_string() : "an unnamed peer";
  try {
    std::rethrow_exception(error);
  } catch (const io_error&) {
    // The peer is gone, or was too slow: everyday life.
  } catch (const std::exception& other) {
    std::fprintf(stderr, "connection of %s: %s\n", name.c_str(), other.what());
  } catch (...) {
    std::fprintf(stderr, "connection of %s: unknown exception\n", name.c_str());
  }
}

void server_base::describe(std::string& text) const {
  text += drain_.is_draining() ? "draining " : "serve ";
  text += std::to_string(child_count() - (accept_chain_ != nullptr ? 1 : 0)) + " connections";
}

}  // namespace rill::detail
