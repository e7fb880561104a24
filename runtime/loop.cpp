// The turn of the loop, and the one place where coroutines are resumed and destroyed. See loop.h.
#include <rill/runtime/loop.h>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#include <rill/runtime/operation.h>
#include <rill/runtime/uring_abi.h>

namespace rill {
namespace {

// Resumptions between two calls into the kernel. Tasks that wake each other get many of them for
// one system call; the ring is still looked at often.
constexpr std::size_t resume_max = 512;

// With thousands of connections each completion finds its slot out of the cache; looking this many
// completions ahead hides the wait.
constexpr unsigned prefetch_distance = 4;

// How long objects may outlive the outermost task before their loop says that it waits for them,
// and how long those that a destructor finds closing may take. Nanoseconds.
constexpr std::int64_t object_patience = 1'000'000'000;
constexpr std::int64_t closing_time = 1'000'000'000;
// How long a loop that is destroyed waits for the peers of sends without a copy: a round trip, and
// an acknowledgement that Linux delays by 200 ms at most (TCP_DELACK_MAX). Nanoseconds.
constexpr std::int64_t lent_time = 250'000'000;

// user_data: a slot's address, which is a multiple of 8, or one of these, or both for a cancel.
constexpr std::uint64_t cancel_bit = 2;
constexpr std::uint64_t wake_poll_tag = 3;

thread_local loop* current_loop = nullptr;

// The loops that are inside run(). Never destroyed: threads may outlive main().
struct running_loops {
  std::mutex mutex;
  std::vector<loop*> loops;

  static running_loops& shared() {
    static auto* const all = new running_loops;
    return *all;
  }
};

}  // namespace

void detail::root_scope::child_done(chain& child, bool child_completed) noexcept {
  if (child_completed) {
    keep(*child.root(), kept);
    child.free_root();
  }
  ended = true;
  completed = child_completed;
}

loop::loop(std::unique_ptr<rill::kernel> kernel, const loop_options& options)
    : options_(options),
      kernel_(std::move(kernel)),
      ring_(&kernel_->open(options.queues)),
      buffers_(*kernel_, options.buffers) {}

loop::~loop() {
  if (chain_count != 0) {
    std::fprintf(stderr, "tasks are left at the end of their loop:\n%s", task_tree().c_str());
    RILL_ASSERT(chain_count == 0, "a loop was destroyed before its tasks had ended");
  }
  finish_closing();
  if (object_count_ != 0) {
    std::fprintf(stderr, "objects are left at the end of their loop:\n%s", task_tree().c_str());
    RILL_ASSERT(object_count_ == 0, "a loop was destroyed before its sockets and files");
  }
  wait_for_lent();
  while (lent_ != nullptr) {
    detail::lent_memory& memory = *lent_;
    give_back(memory);
    memory.loop_ended(kernel_->reads_after_end());
  }
  while (sending_count_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
  for (detail::message* late = mailbox_.exchange(nullptr); late != nullptr;) {
    std::exchange(late, late->next)->drop();
  }
  RILL_ASSERT(buffers_.statistics().lent_count == 0, "a loop was destroyed before its leases");
}

loop& loop::current() noexcept {
  RILL_ASSERT(current_loop != nullptr, "no loop runs on this thread");
  return *current_loop;
}

loop* loop::current_or_null() noexcept { return current_loop; }

void loop::finish_closing() noexcept {
  // Objects that outlived run() and have been destroyed since: their last operations are in the
  // queue, and take a turn or two. The ring takes them from its own thread only.
  if (object_count_ == 0 || !begun_ || ::gettid() != thread_number_) return;
  hurried_ = true;
  told_ = false;
  patience_.give(closing_time);
  while (object_count_ != 0 && !told_) turn();
  timers_.remove(patience_);
}

void loop::wait_for_lent() noexcept {
  const bool is_mine = begun_ && ::gettid() == thread_number_;
  if (lent_ == nullptr || !is_mine || hurry_.is_set()) return;
  hurried_ = true;  // patience_ has nothing to say then
  told_ = false;
  waits_for_lent_ = true;
  patience_.give(lent_time);
  while (lent_ != nullptr && !told_) turn();
  timers_.remove(patience_);
}

void loop::destroy_or_keep(std::unique_ptr<loop> ended) noexcept {
  if (ended->object_count_ == 0) return;
  std::fprintf(stderr, "objects are left at the end of their loop:\n%s",
               ended->task_tree().c_str());
  // A list that nobody reads: what is still pointed to is no leak.
  static std::atomic<loop*> kept{nullptr};
  loop* const one = ended.release();
  one->next_kept_ = kept.load();
  while (!kept.compare_exchange_weak(one->next_kept_, one)) {
  }
}

void loop::begin(void (*keep)(detail::promise_base&, void*) noexcept, void* kept) {
  RILL_ASSERT(main_ == nullptr, "this loop runs already");
  if (!begun_) {
    kernel_->start();
    begun_ = true;
    arm_wake();
  }
  now = kernel_->now();
  root_.ended = false;
  root_.completed = false;
  root_.keep = keep;
  root_.kept = kept;
  hurry_.reset();
  hurried_ = false;
  told_ = false;
  run_number_.fetch_add(1, std::memory_order_relaxed);
}

void loop::start(task<void> main) {
  started_outcome_ = {};
  begin(&detail::keep_outcome<void>, &started_outcome_);
  main_ = std::make_unique<detail::chain>(root_, *this);
  main_->start(main.release());
}

void loop::finish() {
  RILL_ASSERT(root_.ended, "the loop's task has not ended");
  main_.reset();
  started_outcome_.take();
}

void loop::run_to_end() {
  running_loops& all = running_loops::shared();
  thread_number_ = ::gettid();
  {
    const std::scoped_lock lock(all.mutex);
    all.loops.push_back(this);
  }
  while (turn() && (!root_.ended || wait_for_objects())) [[likely]] {
  }
  timers_.remove(patience_);
  // What was left in the queue and nobody waits for, such as a signal source's next read.
  submit_now();
  const std::scoped_lock lock(all.mutex);
  std::erase(all.loops, this);
}

void loop::for_each_running(const std::function<void(loop&)>& function) {
  running_loops& all = running_loops::shared();
  const std::scoped_lock lock(all.mutex);
  for (loop* const each : all.loops) function(*each);
}

bool loop::wait_for_objects() noexcept {
  if (hurried_) {
    let_go_of_calls();
    if (told_ || is_idle()) return false;
  }
  if (!told_ && !patience_.is_armed()) patience_.give(object_patience);
  return true;
}

void loop::patience::give(std::int64_t nanoseconds) noexcept {
  try {
    on_->timers_.arm(*this, detail::deadline_after(on_->now, nanoseconds));
  } catch (...) {  // no memory even for that: no more of it
    expired();
  }
}

void loop::patience::expired() noexcept {
  on_->told_ = true;
  if (on_->object_count_ == 0 || on_->hurried_) return;
  std::string text = "rill: the task of a loop has ended, but the loop waits for what is left of " +
                     std::to_string(on_->object_count_) + " objects: ";
  on_->describe_objects(text, ", ");
  text += "; destroy them in the task that uses them, or end the loop by SIGTERM or stop()\n";
  std::fputs(text.c_str(), stderr);
}

void loop::describe_objects(std::string& text, std::string_view between) const {
  std::size_t unknown = object_count_;
  std::string_view before;
  for (const detail::loop_object* each = objects_; each != nullptr; each = each->next_object_) {
    --unknown;
    text += std::exchange(before, between);
    each->describe(text);
  }
  if (unknown != 0) {
    text += before;
    text += std::to_string(unknown) + (unknown == 1 ? " socket" : " sockets") + " or the like";
  }
}

void loop::let_go_of_calls() noexcept {
  for (detail::loop_object* each = objects_; each != nullptr;) {
    detail::loop_object& object = *std::exchange(each, each->next_object_);
    // The object may be gone when let_go() returns: it is unlinked before.
    object_closed(object);
    if (!object.let_go()) object_opened(object);
  }
}

void loop::object_opened(detail::loop_object& object) noexcept {
  object.previous_object_ = nullptr;
  object.next_object_ = objects_;
  if (objects_ != nullptr) objects_->previous_object_ = &object;
  objects_ = &object;
  ++object_count_;
}

void loop::object_closed(detail::loop_object& object) noexcept {
  if (object.next_object_ != nullptr) {
    object.next_object_->previous_object_ = object.previous_object_;
  }
  if (object.previous_object_ != nullptr) {
    object.previous_object_->next_object_ = object.next_object_;
  } else {
    objects_ = object.next_object_;
  }
  --object_count_;
}

void loop::lend(detail::lent_memory& memory) noexcept {
  memory.previous_lent_ = nullptr;
  memory.next_lent_ = lent_;
  if (lent_ != nullptr) lent_->previous_lent_ = &memory;
  lent_ = &memory;
}

void loop::give_back(detail::lent_memory& memory) noexcept {
  detail::lent_memory* const before = memory.previous_lent_;
  detail::lent_memory* const after = memory.next_lent_;
  if (after != nullptr) after->previous_lent_ = before;
  (before == nullptr ? lent_ : before->next_lent_) = after;
}

bool loop::is_ring_of_6_3() const noexcept {
  return (ring_->features & abi::feature_reg_reg_ring) != 0;
}

void loop::stop() {
  if (current_loop == this) {
    cancel();
    // Nothing is left to drain, and what is left of objects would be waited for in vain.
    if (root_.ended) hurried_ = true;
  } else {
    post_to_this_run([this] { stop(); });
  }
}

void loop::stop_now() {
  if (current_loop == this) {
    cancel();
    hurried_ = true;
    hurry_.set();
  } else {
    post_to_this_run([this] { stop_now(); });
  }
}

template <class Function>
void loop::post_to_this_run(Function function) {
  // A message that lies there until a later run() must not end that one.
  post([this, function, meant = run_number_.load(std::memory_order_relaxed)] {
    if (meant == run_number_.load(std::memory_order_relaxed)) function();
  });
}

void loop::cancel() noexcept {
  if (main_ != nullptr && !root_.ended) main_->cancel();
}

bool loop::is_idle() const noexcept {
  return root_.ended && object_count_ == 0 && ready_count == 0 &&
         !(waits_for_lent_ && lent_ != nullptr);
}

bool loop::turn() {
  loop* const outer = std::exchange(current_loop, this);
  publish_and_enter(true);
  now = kernel_->now();
  store_completions();
  refill_from_backlog();
  take_messages();
  timers_.expire(now);
  detail::operation* const retired = std::exchange(retired_, nullptr);
  run_ready();
  free_retired(retired);
  current_loop = outer;
  return !is_idle();
}

void loop::submit_now() {
  if (ring_->sq.sqe_tail != ring_->sq.sqe_head) publish_and_enter(false);
}

void loop::publish_and_enter(bool may_wait) {
  buffers_.refill();
  buffers_.start_lined_up();
  if (!wake_armed_) [[unlikely]]
    arm_wake();
  io_uring_sq& sq = ring_->sq;
  io_uring_smp_store_release(sq.ktail, sq.sqe_tail);
  sq.sqe_head = sq.sqe_tail;
  const unsigned to_submit = sq.sqe_tail - io_uring_smp_load_acquire(sq.khead);

  // Without its wake a loop that sleeps would miss what other threads send: the queue is full, and
  // has room again after this.
  const bool must_wait =
      may_wait && wake_armed_ && ready_count == 0 && backlog_head_ == nullptr && !is_idle();
  unsigned min_complete = must_wait ? 1 : 0;
  std::int64_t deadline = rill::kernel::no_deadline;
  if (min_complete != 0) {
    deadline = timers_.wake_deadline(now);
    // Announce the sleep, then look once more: whoever posts after the look sees the announcement.
    sleeping_.store(true);
    if (message_waiting()) min_complete = 0;
  }
  ++statistics_.turn_count;
  const int status = kernel_->enter(to_submit, min_complete, deadline);
  sleeping_.store(false, std::memory_order_relaxed);
  // EINTR, ETIME: nothing came. EAGAIN, EBUSY: memory is short or completions are waiting to be
  // stored; the SQEs are still in the queue and are taken by the next turn. The rest are bugs.
  RILL_ASSERT(
      status >= 0 || status == -EINTR || status == -ETIME || status == -EAGAIN || status == -EBUSY,
      "the kernel refused to be entered");
}

void loop::store_completions() noexcept {
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* cqe = nullptr;
  const unsigned tail = io_uring_smp_load_acquire(ring_->cq.ktail);
  io_uring_for_each_cqe(ring_, head, cqe) {
    ++count;
    if (tail - head > prefetch_distance) {
      const std::uint64_t later =
          ring_->cq.cqes[(head + prefetch_distance) & ring_->cq.ring_mask].user_data;
      const std::uint64_t slot = later & ~std::uint64_t{7};  // 0 for a wake: added as a number
      __builtin_prefetch(reinterpret_cast<const void*>(slot));
      __builtin_prefetch(reinterpret_cast<const void*>(slot + 64));
    }
    const std::uint64_t tag = cqe->user_data;
    const int result = cqe->res;
    const unsigned flags = cqe->flags;
    if (tag < 8) [[unlikely]] {
      if (tag == wake_poll_tag && (flags & IORING_CQE_F_MORE) == 0) arm_wake();
      continue;
    }
    auto& operation = *reinterpret_cast<detail::operation*>(tag & ~std::uint64_t{7});
    if ((tag & cancel_bit) != 0) [[unlikely]] {
      cancel_answered(operation, result);
      continue;
    }
    if ((flags & IORING_CQE_F_MORE) == 0) {
      operation.in_flight_ = false;
      if (operation.in_backlog_) [[unlikely]]
        remove_from_backlog(operation);
    }
    operation.type_->complete(operation, result, flags);
  }
  io_uring_cq_advance(ring_, count);
  statistics_.completion_count += count;
}

void loop::cancel_answered(detail::operation& operation, int result) noexcept {
  --operation.cancels_pending_;
  if (operation.in_flight_) {
    // Not found, though it is in flight: the kernel had it in hand between two polls. Ask again.
    // EALREADY is different: a worker thread executes it, and it will complete by itself.
    if (result == -ENOENT && operation.cancel_sent_) submit_cancel(operation);
    return;
  }
  if (!operation.is_settled()) return;
  if (operation.abandoned_) {
    object_closed();
    detail::pooled_operation::free(operation);
  } else if (operation.type_->settled != nullptr) {
    operation.type_->settled(operation);
  }
}

io_uring_sqe* loop::next_sqe() noexcept {
  io_uring_sqe* sqe = ::io_uring_get_sqe(ring_);
  if (sqe != nullptr) {
    ++statistics_.submission_count;
    sqe->flags = 0;
  }
  return sqe;
}

void loop::submit(detail::operation& operation) noexcept {
  io_uring_sqe* sqe = backlog_head_ == nullptr ? next_sqe() : nullptr;
  if (sqe == nullptr) [[unlikely]] {
    add_to_backlog(operation);
    return;
  }
  operation.submitted_ = true;
  operation.type_->prepare(operation, *sqe);
  sqe->user_data = reinterpret_cast<std::uint64_t>(&operation);
}

void loop::submit_cancel(detail::operation& operation) noexcept {
  if (operation.in_backlog_) return;  // refill_from_backlog sees that it was cancelled
  io_uring_sqe* sqe = backlog_head_ == nullptr ? next_sqe() : nullptr;
  if (sqe == nullptr) {
    add_to_backlog(operation);
    return;
  }
  ++operation.cancels_pending_;
  ::io_uring_prep_cancel64(sqe, reinterpret_cast<std::uint64_t>(&operation), 0);
  sqe->user_data = reinterpret_cast<std::uint64_t>(&operation) | cancel_bit;
}

void loop::add_to_backlog(detail::operation& operation) noexcept {
  ++statistics_.backlog_count;
  operation.in_backlog_ = true;
  operation.next_in_backlog_ = nullptr;
  if (backlog_tail_ == nullptr) {
    backlog_head_ = &operation;
  } else {
    backlog_tail_->next_in_backlog_ = &operation;
  }
  backlog_tail_ = &operation;
}

void loop::remove_from_backlog(detail::operation& operation) noexcept {
  detail::operation* before = nullptr;
  for (detail::operation* each = backlog_head_; each != &operation; each = each->next_in_backlog_) {
    before = each;
  }
  (before == nullptr ? backlog_head_ : before->next_in_backlog_) = operation.next_in_backlog_;
  if (backlog_tail_ == &operation) backlog_tail_ = before;
  operation.in_backlog_ = false;
}

void loop::refill_from_backlog() noexcept {
  while (backlog_head_ != nullptr && ::io_uring_sq_space_left(ring_) != 0) {
    detail::operation& first = *backlog_head_;
    // Emptied for the moment, so that submit() takes the SQE instead of queueing again.
    detail::operation* const rest = first.next_in_backlog_;
    detail::operation* const tail = rest == nullptr ? nullptr : backlog_tail_;
    backlog_head_ = backlog_tail_ = nullptr;
    first.in_backlog_ = false;
    if (first.submitted_) {
      submit_cancel(first);
    } else if (!first.cancel_sent_) {
      submit(first);
    } else {
      first.in_flight_ = false;
      backlog_head_ = rest;
      backlog_tail_ = tail;
      first.type_->complete(first, -ECANCELED, 0);
      continue;
    }
    backlog_head_ = rest;
    backlog_tail_ = tail;
  }
}

void loop::arm_wake() noexcept {
  const int descriptor = kernel_->wake_descriptor();
  wake_armed_ = true;
  if (descriptor < 0) return;  // this kernel's wake() posts a CQE by itself
  io_uring_sqe* sqe = next_sqe();
  wake_armed_ = sqe != nullptr;
  if (sqe == nullptr) return;  // publish_and_enter tries again once there is room
  ::io_uring_prep_poll_multishot(sqe, descriptor, POLLIN);
  sqe->user_data = wake_poll_tag;
}

void loop::send(detail::message& message) noexcept {
  // The message may end this loop before its sender has returned from here: ~loop waits for it.
  sending_count_.fetch_add(1, std::memory_order_relaxed);
  push(message);
  sending_count_.fetch_sub(1, std::memory_order_release);
}

void loop::push(detail::message& message) noexcept {
  message.next = mailbox_.load(std::memory_order_relaxed);
  while (!mailbox_.compare_exchange_weak(message.next, &message)) {
  }
  if (!sleeping_.load() || !sleeping_.exchange(false)) return;
  // At once, and not as a MSG_RING of the sender, which would leave only with the sender's next
  // turn: a sender that then joins the receiver's thread would wait for ever.
  kernel_->wake();
}

void loop::take_messages() noexcept {
  if (mailbox_.load(std::memory_order_relaxed) == nullptr) return;
  detail::message* newest = mailbox_.exchange(nullptr);
  detail::message* oldest = nullptr;
  while (newest != nullptr) {
    detail::message* const next = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    detail::message* const next = oldest->next;
    oldest->deliver();
    ++statistics_.message_count;
    oldest = next;
  }
}

void loop::run_ready() noexcept {
  std::size_t left = std::max(ready_count, resume_max);
  while (ready_head != nullptr && left-- != 0) {
    detail::chain& next = *ready_head;
    ready_head = next.next_ready_;
    if (ready_head == nullptr) ready_tail = nullptr;
    --ready_count;
    next.queued_ = false;
    if (ready_head != nullptr) __builtin_prefetch(ready_head->top_);
    resume(next);
  }
}

void loop::retire(detail::operation& operation) noexcept {
  operation.next_in_backlog_ = retired_;
  retired_ = &operation;
}

void loop::free_retired(detail::operation* first) noexcept {
  while (first != nullptr) {
    detail::operation& each = *first;
    first = each.next_in_backlog_;
    each.type_->settled(each);
  }
}

void loop::resume(detail::chain& next) noexcept {
  ++statistics_.resume_count;
  running = &next;
  if (next.destroy_requested_) [[unlikely]] {
    next.destroy_frames();
    running = nullptr;
    end(next, false);
    return;
  }
  next.started_ = true;
  next.waiting_on_ = nullptr;
  // A chain that is being cancelled gets what has completed, and no await beyond that.
  budget = next.cancel_requested_ ? 0 : tick_budget;
  transfer = next.top_->self;
  do {
    std::exchange(transfer, nullptr).resume();
  } while (transfer);
  running = nullptr;
  if (finished != nullptr) end(*std::exchange(finished, nullptr), true);
}

void loop::end(detail::chain& ended, bool completed) noexcept {
  ended.parent_->child_done(ended, completed);
}

loop_statistics loop::statistics() const noexcept {
  loop_statistics copy = statistics_;
  copy.chain_count = chain_count;
  copy.timer_count = timers_.size();
  return copy;
}

}  // namespace rill
