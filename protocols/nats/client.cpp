// The client as users see it. See client.h; the work is done in client_core.cpp.
#include <rill/protocols/nats/client.h>

#include <stdexcept>
#include <utility>

#include <rill/protocols/nats/client_core.h>
#include <rill/protocols/nats/nkey.h>
#include <rill/runtime/nursery.h>

namespace rill::nats {
namespace {

/// The client is closed when its run() goes, cancelled or not.
class run_end {
 public:
  explicit run_end(detail::client_core& of) noexcept : core_(&of) {}
  run_end(const run_end&) = delete;
  run_end& operator=(const run_end&) = delete;
  ~run_end() { core_->close(); }

 private:
  detail::client_core* core_;
};

void check_credentials(const client_options& options) {
  const std::string& seed = options.credentials.seed;
  if (!seed.empty() && !public_key(seed)) {
    throw std::invalid_argument("nats: the seed of the user is malformed");
  }
}

}  // namespace

// ---------------------------------------------------------------- subscriptions

subscription::subscription(std::shared_ptr<detail::client_core> of,
                           std::shared_ptr<detail::subscription_state> state) noexcept
    : core_(std::move(of)), state_(std::move(state)) {}
subscription::subscription(subscription&&) noexcept = default;

subscription& subscription::operator=(subscription&& other) noexcept {
  if (this != &other) {
    leave();
    core_ = std::move(other.core_);
    state_ = std::move(other.state_);
  }
  return *this;
}

subscription::~subscription() { leave(); }

void subscription::leave() noexcept {
  if (state_ != nullptr) core_->unsubscribe(*state_);
}

std::optional<message> subscription::try_next() {
  if (state_ == nullptr || state_->waiting.empty()) return std::nullopt;
  detail::waiting_message& first = state_->waiting.front();
  std::optional<message> taken(std::move(first.value));
  state_->waiting_size -= first.size;
  state_->waiting.pop_front();
  state_->is_slow = false;
  return taken;
}

task<std::optional<message>> subscription::next() {
  return next_until(loop_clock::time_point::max());
}

task<std::optional<message>> subscription::next_until(loop_clock::time_point deadline) {
  if (state_ == nullptr) co_return std::nullopt;
  for (;;) {
    std::optional<message> taken = try_next();
    if (taken) co_return taken;
    if (state_->has_failed) {
      throw io_error(make_error_code(nats_error::slow_consumer), "receive", state_->pattern);
    }
    if (state_->has_ended) co_return std::nullopt;
    state_->changed.reset();
    if (deadline == loop_clock::time_point::max()) {
      co_await state_->changed.wait();
      continue;
    }
    const bool has_changed = co_await detail::wait_until(state_->changed, deadline);
    if (!has_changed) co_return std::nullopt;
  }
}

void subscription::close() noexcept { leave(); }
bool subscription::has_ended() const noexcept { return state_ == nullptr || state_->has_ended; }
std::uint64_t subscription::dropped_count() const noexcept {
  return state_ == nullptr ? 0 : state_->dropped_count;
}
std::size_t subscription::waiting_count() const noexcept {
  return state_ == nullptr ? 0 : state_->waiting.size();
}

// ---------------------------------------------------------------- the client

client::client(client_options options) {
  check_credentials(options);
  core_ = std::make_shared<detail::client_core>(std::move(options));
}

client::~client() { core_->close(); }

task<> client::run() {
  const std::shared_ptr<detail::client_core> core = core_;
  const run_end at_last(*core);
  if (core->is_closed()) co_return;
  co_await with_nursery([&](nursery& tasks) -> task<> {
    tasks.start([&]() -> task<> { return core->supervise(); });
    co_await core->stop.wait();
    tasks.cancel();
  });
  core->tell(client_event::kind::closed, {}, "closed");
}

task<> client::wait_connected(std::chrono::nanoseconds timeout) {
  const auto deadline = loop_clock::after(loop_clock::now(), timeout);
  while (!core_->is_connected()) {
    if (core_->is_closed()) throw io_error(make_error_code(nats_error::closed), "connect", "");
    const bool has_changed = co_await detail::wait_until(core_->changed, deadline);
    if (!has_changed) throw timeout_error("connect", core_->last_failure);
  }
}

bool client::is_connected() const noexcept { return core_->is_connected(); }
std::uint64_t client::connection_number() const noexcept { return core_->counts.connection_count; }

task<> client::wait_change() {
  const bool was_connected = is_connected();
  const std::uint64_t number = connection_number();
  while (!is_closed() && was_connected == is_connected() && number == connection_number()) {
    co_await core_->changed.wait();
  }
}

std::string client::server() const {
  return is_connected() ? core_->server().to_string() : std::string();
}
const server_info& client::info() const noexcept { return core_->info(); }

client_statistics client::statistics() const noexcept {
  client_statistics counts = core_->counts;
  counts.pending_size = core_->pending_size();
  return counts;
}

task<> client::publish(std::string subject, std::string payload, headers with, std::string reply) {
  const std::string block = with.to_text();
  for (;;) {
    core_->check_publish("publish", subject, reply, block.size() + payload.size());
    if (core_->has_room(publish_size(subject, reply, block.size(), payload.size()))) break;
    co_await core_->changed.wait();
  }
  core_->publish(subject, reply, block, payload);
}

bool client::try_publish(std::string_view subject, std::string_view payload, const headers& with,
                         std::string_view reply) {
  const std::string block = with.to_text();
  core_->check_publish("publish", subject, reply, block.size() + payload.size());
  if (!core_->has_room(publish_size(subject, reply, block.size(), payload.size()))) return false;
  core_->publish(subject, reply, block, payload);
  return true;
}

subscription client::subscribe(std::string pattern, const subscribe_options& options) {
  return subscription(core_, core_->subscribe(std::move(pattern), options));
}

task<message> client::request(std::string subject, std::string payload,
                              std::chrono::nanoseconds timeout, headers with) {
  const std::string block = with.to_text();
  core_->check_request("request", subject, block.size() + payload.size());
  const auto deadline = loop_clock::after(loop_clock::now(), timeout);
  bool was_sent = false;
  const std::string where = subject;
  result<message> got =
      co_await core_->ask(std::move(subject), block, std::move(payload), deadline, was_sent);
  if (!got) throw_error(got.error(), where);
  co_return std::move(*got);
}

task<> client::flush(std::chrono::nanoseconds timeout) {
  co_await core_->flush(loop_clock::after(loop_clock::now(), timeout));
}
task<> client::drain(std::chrono::nanoseconds timeout) {
  co_await core_->drain(loop_clock::after(loop_clock::now(), timeout));
}
void client::close() noexcept { core_->close(); }
bool client::is_closed() const noexcept { return core_->is_closed(); }
std::string client::new_inbox() { return core_->new_inbox(); }

}  // namespace rill::nats
