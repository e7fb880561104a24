// Who gets which connection. See client_pool.h.
#include <rill/protocols/http/client_pool.h>

#include <algorithm>
#include <new>

#include <rill/runtime/loop.h>

namespace rill::http::detail {

// ---------------------------------------------------------------- slots

void connection_pool::slot::keep() noexcept {
  if (origin_ == nullptr) return;
  const std::shared_ptr<connection_pool> pool = std::move(pool_);
  pool->give_back(*std::exchange(origin_, nullptr), std::move(stream_));
}

void connection_pool::slot::drop() noexcept {
  stream_.reset();
  keep();
}

// ---------------------------------------------------------------- waiting

connection_pool::waiter::waiter(connection_pool& pool, origin& of_origin)
    : of(&of_origin), pool_(&pool) {
  pool.waiters_.push_back(this);
  place_ = std::prev(pool.waiters_.end());
  ++of->waiting_count;
}

connection_pool::waiter::~waiter() {
  pool_->waiters_.erase(place_);
  --of->waiting_count;
  pool_->forget_if_unused(*of);
}

task<connection_pool::outcome> connection_pool::acquire(std::string key,
                                                        loop_clock::time_point deadline,
                                                        slot& into) {
  origin& of = origins_[key];
  of.key = std::move(key);
  // Whoever has waited longer for this origin goes first.
  if (of.waiting_count == 0 && try_acquire(of, into)) co_return outcome::given;
  if (waiters_.size() >= limits_.waiting_count_max) {
    forget_if_unused(of);
    co_return outcome::too_many_waiting;
  }
  waiter mine(*this, of);
  try {
    co_await with_deadline(deadline, mine.ready.wait());
  } catch (const timeout_error&) {
    if (!mine.given) co_return outcome::timed_out;
  }
  into = std::move(mine.given);
  co_return outcome::given;
}

/// Something of `changed` has become free.
void connection_pool::serve_waiters(origin& changed) noexcept {
  ++changed.waiting_count;  // so that nothing forgets it meanwhile
  for (waiter* const each : waiters_) {
    if (each->given) continue;
    try {
      if (!try_acquire(*each->of, each->given)) continue;
    } catch (const std::bad_alloc&) {
      continue;  // whoever gives back next asks again
    }
    each->ready.set();
  }
  --changed.waiting_count;
  forget_if_unused(changed);
}

// ---------------------------------------------------------------- connections

bool connection_pool::try_acquire(origin& of, slot& into) {
  std::shared_ptr<connection_pool> self = shared_from_this();
  if (!of.idle.empty()) {
    std::unique_ptr<client_stream> stream = take_idle(of.idle.back());
    ++of.active_count;
    into = slot(std::move(self), of, std::move(stream));
    return true;
  }
  if (of.active_count >= limits_.origin_count_max) return false;
  if (open_count_ >= limits_.total_count_max) {
    if (idle_.empty()) return false;
    origin& other = *idle_.front().of;
    take_idle(idle_.begin());
    --open_count_;
    forget_if_unused(other);
  }
  ++of.active_count;
  ++open_count_;
  into = slot(std::move(self), of, nullptr);
  return true;
}

std::unique_ptr<client_stream> connection_pool::take_idle(idle_list::iterator which) noexcept {
  std::unique_ptr<client_stream> stream = std::move(which->stream);
  std::erase(which->of->idle, which);
  idle_.erase(which);
  return stream;
}

void connection_pool::give_back(origin& of, std::unique_ptr<client_stream> kept) noexcept {
  --of.active_count;
  bool is_kept = false;
  if (kept && limits_.idle_timeout.count() > 0) {
    try {
      of.idle.reserve(of.idle.size() + 1);
      idle_.push_back({&of, loop_clock::now(), std::move(kept)});
      of.idle.push_back(std::prev(idle_.end()));
      is_kept = true;
      arm_timer();
    } catch (const std::bad_alloc&) {
      // Closed instead of kept, or kept without a timer until the next one comes back.
    }
  }
  if (!is_kept) --open_count_;
  kept.reset();
  serve_waiters(of);
}

void connection_pool::drop_idle(const std::string& key) {
  const auto found = origins_.find(key);
  if (found == origins_.end()) return;
  origin& of = found->second;
  while (!of.idle.empty()) {
    take_idle(of.idle.back());
    --open_count_;
  }
  serve_waiters(of);
}

void connection_pool::forget_if_unused(origin& of) noexcept {
  if (of.active_count == 0 && of.waiting_count == 0 && of.idle.empty()) {
    origins_.erase(origins_.find(of.key));
  }
}

// ---------------------------------------------------------------- the timer

void connection_pool::arm_timer() {
  loop_ = &loop::current();
  const loop_clock::time_point end = loop_clock::after(idle_.front().since, limits_.idle_timeout);
  loop_->timers().arm(*this, end.time_since_epoch().count());
}

void connection_pool::expired() noexcept {
  const loop_clock::time_point now(loop_clock::duration(loop_->now));
  while (!idle_.empty() && loop_clock::after(idle_.front().since, limits_.idle_timeout) <= now) {
    origin& of = *idle_.front().of;
    take_idle(idle_.begin());
    --open_count_;
    serve_waiters(of);
  }
  try {
    if (!idle_.empty()) arm_timer();
  } catch (const std::bad_alloc&) {
    // The connections stay until the next one comes back.
  }
}

connection_pool::~connection_pool() {
  if (loop_ != nullptr) loop_->timers().remove(*this);
}

}  // namespace rill::http::detail
