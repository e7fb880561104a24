// The protocol between the ends of a remote channel. See remote_channel.h.
//
// One atomic word holds the free places, the holds and whether the channel is closed. Whoever means
// to send the owner a message first takes a hold, which a closed channel refuses; the owner's loop
// does not end while there are holds. A sender that finds a free place takes it with the same
// step, and its value goes off as a message. One that finds none sends a request, which the owner
// answers when it has a place: places that become free go to the requests that wait, and into the
// word only when there are none. To cancel a request is to send its withdrawal after it; both
// answers are awaited, so the request can live in the sender's frame.
#include <rill/runtime/remote_channel.h>

namespace rill::detail {

void remote_item::deliver() noexcept { to_->arrived(*this); }

remote_queue::~remote_queue() {
  while (size_ != 0) pop();
}

void remote_queue::push(remote_item& item) noexcept {
  item.following_ = nullptr;
  (last_ == nullptr ? first_ : last_->following_) = &item;
  last_ = &item;
  ++size_;
}

std::unique_ptr<remote_item> remote_queue::pop() noexcept {
  remote_item* const item = first_;
  first_ = item->following_;
  if (first_ == nullptr) last_ = nullptr;
  --size_;
  return std::unique_ptr<remote_item>(item);
}

// The sender's side.

bool remote_request::start(promise_base& awaiting) noexcept {
  chain& mine = *awaiting.owner_chain;
  if (mine.cancel_requested()) {
    mine.yield(awaiting);  // destroys: nothing is sent
    return true;
  }
  const remote_state::entry entry = to_->enter(true);
  if (entry == remote_state::entry::full) {
    loop_ = &mine.owner_loop();
    waiter_ = &mine;
    question_.request = this;
    withdrawal_.request = this;
    mine.suspend(awaiting, *this);
    to_->owner_->send(question_);
    return true;
  }
  if (entry == remote_state::entry::room) {
    outcome_ = outcome::sent;
    item_->to_ = to_;
    to_->owner_->send(*item_.release());
  } else {
    outcome_ = outcome::closed;
  }
  if (mine.on().may_continue()) return false;
  mine.yield(awaiting);
  return true;
}

void remote_request::cancel(chain&) noexcept {
  withdrawing_ = true;
  to_->owner_->send(withdrawal_);
}

void remote_request::question::deliver() noexcept {
  if (!std::exchange(answered, true)) {
    request->to_->asked(*request);
    return;
  }
  request->answered_ = true;
  request->settle();
}

void remote_request::withdrawal::deliver() noexcept {
  if (!std::exchange(answered, true)) {
    request->to_->withdrawn(*request);
    return;
  }
  request->withdrawing_ = false;
  request->settle();
}

void remote_request::settle() noexcept {
  if (!answered_ || withdrawing_) return;
  to_->leave();
  // Completion wins: only what was really withdrawn ends the chain here.
  if (outcome_ == outcome::withdrawn) {
    waiter_->destroy_later();
  } else {
    waiter_->make_ready();
  }
}

// What may happen on any thread.

remote_state::remote_state(std::size_t capacity) noexcept
    : word_(capacity | hold_one),  // the receiver's hold
      capacity_(capacity),
      owner_(&loop::current()) {
  RILL_ASSERT(capacity != 0 && capacity <= room_mask,
              "a remote_channel has room for 1 value or more");
  senders_gone_.state = this;
  senders_gone_.call = &remote_state::senders_gone;
  ended_.state = this;
  ended_.call = &remote_state::ended;
}

remote_state::entry remote_state::enter(bool even_if_full) noexcept {
  std::uint64_t word = word_.load();
  for (;;) {
    if ((word & closed_bit) != 0) return entry::closed;
    const bool has_room = (word & room_mask) != 0;
    if (!has_room && !even_if_full) return entry::full;
    const std::uint64_t taken = hold_one - (has_room ? room_one : 0);
    if (word_.compare_exchange_weak(word, word + taken)) {
      return has_room ? entry::room : entry::full;
    }
  }
}

void remote_state::leave() noexcept {
  // The receiver's own hold goes after closing, so none can be added behind the last.
  if ((word_.fetch_sub(hold_one) & hold_mask) == hold_one) owner_->send(ended_);
}

bool remote_state::try_send(std::unique_ptr<remote_item>& item) noexcept {
  if (enter(false) != entry::room) return false;
  item->to_ = this;
  owner_->send(*item.release());
  return true;
}

void remote_state::sender_removed() noexcept {
  if (sender_count_.fetch_sub(1) != 1) return;
  // A hold alone: the notice needs no place.
  std::uint64_t word = word_.load();
  do {
    if ((word & closed_bit) != 0) return;
  } while (!word_.compare_exchange_weak(word, word + hold_one));
  owner_->send(senders_gone_);
}

// The owner's side.

void remote_state::senders_gone() noexcept {
  close();
  leave();
}

void remote_state::ended() noexcept {
  owner_->object_closed();
  const std::shared_ptr<remote_state> last = std::move(alive_);
}

void remote_state::close() noexcept {
  if ((word_.fetch_or(closed_bit) & closed_bit) != 0) return;
  while (first_request_ != nullptr) answer(pop_request(), remote_request::outcome::closed);
  wake_if_drained();
}

void remote_state::receiver_gone() noexcept {
  RILL_ASSERT(on_owner(), "a remote_receiver was destroyed outside its loop");
  RILL_ASSERT(receivers_.empty(), "a remote_receiver was destroyed while tasks wait in receive()");
  receiver_gone_ = true;
  close();
  while (queue_.size() != 0) queue_.pop();
  owner_->object_opened();
  alive_ = shared_from_this();
  leave();
}

bool remote_state::take_room() noexcept {
  std::uint64_t word = word_.load();
  do {
    if ((word & room_mask) == 0) return false;
  } while (!word_.compare_exchange_weak(word, word - room_one));
  return true;
}

void remote_state::arrived(remote_item& item) noexcept {
  if (receiver_gone_) {
    delete &item;
  } else if (hand_over(item)) {
    room_freed();
  } else {
    queue_.push(item);
  }
  wake_if_drained();
  leave();
}

void remote_state::asked(remote_request& request) noexcept {
  if (is_closed()) {
    answer(request, remote_request::outcome::closed);
    return;
  }
  if (take_room()) {
    remote_item& item = *request.item_.release();
    answer(request, remote_request::outcome::sent);
    if (hand_over(item)) {
      room_freed();
    } else {
      queue_.push(item);
    }
    return;
  }
  request.previous_ = last_request_;
  request.next_ = nullptr;
  (last_request_ == nullptr ? first_request_ : last_request_->next_) = &request;
  last_request_ = &request;
}

void remote_state::withdrawn(remote_request& request) noexcept {
  if (request.outcome_ == remote_request::outcome::open) {
    unlink(request);
    answer(request, remote_request::outcome::withdrawn);
  }
  request.loop_->send(request.withdrawal_);
}

void remote_state::answer(remote_request& request, remote_request::outcome outcome) noexcept {
  request.outcome_ = outcome;
  request.loop_->send(request.question_);
}

remote_request& remote_state::pop_request() noexcept {
  remote_request& first = *first_request_;
  unlink(first);
  return first;
}

void remote_state::unlink(remote_request& request) noexcept {
  (request.previous_ == nullptr ? first_request_ : request.previous_->next_) = request.next_;
  (request.next_ == nullptr ? last_request_ : request.next_->previous_) = request.previous_;
}

bool remote_state::hand_over(remote_item& item) noexcept {
  if (receivers_.empty()) return false;
  static_cast<receive_base&>(receivers_.wake_first()).item_.reset(&item);
  return true;
}

void remote_state::room_freed() noexcept {
  while (first_request_ != nullptr) {
    remote_request& request = pop_request();
    remote_item& item = *request.item_.release();
    answer(request, remote_request::outcome::sent);
    if (!hand_over(item)) {
      queue_.push(item);
      return;
    }
  }
  word_.fetch_add(room_one);
}

std::unique_ptr<remote_item> remote_state::take() noexcept {
  if (queue_.size() == 0) return nullptr;
  std::unique_ptr<remote_item> item = queue_.pop();
  room_freed();
  return item;
}

bool remote_state::is_drained() const noexcept {
  const std::uint64_t word = word_.load();
  return (word & closed_bit) != 0 && queue_.size() == 0 && (word & room_mask) == capacity_;
}

void remote_state::wake_if_drained() noexcept {
  if (!is_drained()) return;
  while (!receivers_.empty()) receivers_.wake_first();
}

bool remote_state::receive_base::start(promise_base& awaiting) noexcept {
  chain& mine = *awaiting.owner_chain;
  RILL_ASSERT(&mine.owner_loop() == from_->owner_, "a remote_receiver was used outside its loop");
  if (from_->queue_.size() == 0 && !from_->is_drained()) {
    from_->receivers_.wait(awaiting, *this);
    return true;
  }
  if (!mine.on().may_continue() && !mine.yield(awaiting)) return true;
  item_ = from_->take();
  return mine.is_ready();
}

}  // namespace rill::detail
