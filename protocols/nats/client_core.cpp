// What a client knows and what waits. See client_core.h; its connections are made in
// client_run.cpp.
#include <rill/protocols/nats/client_core.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <rill/net/address.h>
#include <rill/net/printable.h>
#include <rill/protocols/nats/json.h>
#include <rill/protocols/nats/nkey.h>
#include <rill/protocols/nats/subject.h>
#include <rill/runtime/kernel.h>
#include <rill/runtime/loop.h>

namespace rill::nats::detail {
namespace {

/// The subscription for answers has the number 0.
constexpr std::string_view inbox_sid = "0";
/// "_INBOX.", a random name, a dot and a number.
constexpr std::size_t answer_subject_size_max = 7 + 22 + 1 + 20;
/// Bytes of SUB, UNSUB and PONG that wait: a server that asks for more than it takes is left.
constexpr std::size_t control_size_max = std::size_t{4} * 1024 * 1024;

std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (status != std::errc() || rest != end) return std::nullopt;
  return value;
}

message to_message(const packet& read) {
  message made;
  made.subject = read.subject;
  // Nobody could answer to another one: publish() would throw.
  if (is_subject(read.reply)) made.reply = read.reply;
  made.payload = read.payload;
  made.has_bad_headers = read.has_large_headers;
  if (!read.headers.empty()) {
    auto fields = headers::parse(read.headers);
    if (fields) {
      made.headers = std::move(*fields);
    } else {
      made.has_bad_headers = true;
    }
  }
  return made;
}

/// As it lies in memory: on the wire a field has four bytes at least, here two strings.
std::size_t size_of(const message& of) noexcept {
  std::size_t size = sizeof(waiting_message) + of.subject.size() + of.reply.size() +
                     of.payload.size() + of.headers.description().size();
  for (const auto& field : of.headers.fields()) {
    size += sizeof(field) + field.first.size() + field.second.size();
  }
  return size;
}

std::size_t request_size(std::string_view subject, std::size_t size) noexcept {
  return publish_size(subject, "", size, answer_subject_size_max);
}

}  // namespace

task<bool> wait_until(event& happened, loop_clock::time_point deadline) {
  try {
    co_await with_deadline(deadline, happened.wait());
  } catch (const timeout_error&) {
    co_return false;
  }
  co_return true;
}

std::string random_name() {
  constexpr std::string_view alphabet =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string name(22, ' ');
  for (char& each : name) {
    // Rejected above 248, so that every letter is as likely.
    for (;;) {
      std::byte byte[1];
      loop::current().kernel().random(byte);
      const auto value = static_cast<std::size_t>(byte[0]);
      if (value >= 4 * alphabet.size()) continue;
      each = alphabet[value % alphabet.size()];
      break;
    }
  }
  return name;
}

double random_share() {
  std::byte bytes[4];
  loop::current().kernel().random(bytes);
  std::uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return static_cast<double>(value) / 4294967296.0;
}

// ---------------------------------------------------------------- the servers

server_pool::server_pool(const std::vector<std::string>& servers) {
  if (servers.empty()) throw std::invalid_argument("nats: no server was given");
  for (const std::string& each : servers) {
    auto read = server_address::parse(each);
    // What was given may hold a password, so it is not repeated.
    if (!read) throw std::invalid_argument("nats: the address of a server is malformed");
    configured_.push_back(std::move(*read));
  }
}

server_address server_pool::next() {
  const std::size_t at = position_++ % size();
  return at < configured_.size() ? configured_[at] : learnt_[at - configured_.size()];
}

void server_pool::learn(const std::vector<std::string>& addresses, const server_address& from) {
  learnt_.clear();
  for (const std::string& each : addresses) {
    auto read = server_address::parse(each);
    if (!read) continue;
    const auto is_same = [&](const server_address& other) {
      return other.host == read->host && other.port == read->port;
    };
    if (std::any_of(configured_.begin(), configured_.end(), is_same)) continue;
    if (std::any_of(learnt_.begin(), learnt_.end(), is_same)) continue;
    read->wants_tls = from.wants_tls;
    read->own = from.own;
    // The servers of a cluster tell numbers; their certificate has the name that was configured.
    if (address::parse(read->host)) read->tls_name = from.name_for_tls();
    learnt_.push_back(std::move(*read));
  }
}

// ---------------------------------------------------------------- what is to be sent

client_core::client_core(client_options chosen)
    : options(std::move(chosen)), pool_(options.servers) {}

std::size_t client_core::pending_size() const noexcept {
  return once_.size() + pending_.size() + sending_size_;
}

bool client_core::has_room(std::size_t size) const noexcept {
  const std::size_t waiting = pending_size();
  return waiting <= options.pending_size_max && size <= options.pending_size_max - waiting;
}

void client_core::check_publish(const char* what, std::string_view subject, std::string_view reply,
                                std::size_t size) const {
  if (!reply.empty() && !is_subject(reply)) {
    throw io_error(make_error_code(nats_error::bad_subject), what, "");
  }
  check_sizes(what, subject, publish_size(subject, reply, size, 0), size);
}

void client_core::check_request(const char* what, std::string_view subject,
                                std::size_t size) const {
  check_sizes(what, subject, request_size(subject, size), size);
}

/// Also that there will be room for it once nothing else waits: otherwise it would wait for ever.
void client_core::check_sizes(const char* what, std::string_view subject, std::size_t sent_size,
                              std::size_t size) const {
  if (!is_subject(subject)) {
    throw io_error(make_error_code(nats_error::bad_subject), what, "");
  }
  if (is_over()) throw io_error(make_error_code(nats_error::closed), what, subject);
  if (size > info_.payload_size_max || sent_size > options.pending_size_max) {
    throw io_error(make_error_code(nats_error::payload_too_large), what, subject);
  }
}

void client_core::publish(std::string_view subject, std::string_view reply,
                          std::string_view headers, std::string_view payload) {
  append_publish(pending_, subject, reply, headers, payload);
  is_confirmed_ = false;
  work.set();
}

void client_core::publish_now(std::string_view subject, std::string_view payload) {
  // Servers and publishers have a hand in these: neither what is no subject goes onto a line, nor
  // more than a peer that does not read is to have.
  if (!connected_ || !is_subject(subject) || control_.size() > control_size_max) return;
  append_publish(control_, subject, "", "", payload);
  work.set();
}

bool client_core::take_output(std::string& sending) {
  if (control_.empty() && once_.empty() && pending_.empty() && tail_.empty()) return false;
  sending.clear();
  sending.swap(control_);
  for (std::string* const each : {&once_, &pending_, &tail_}) {
    sending += *each;
    each->clear();
    if (each->capacity() > control_size_max) *each = std::string();
  }
  sending_size_ = sending.size();
  return true;
}

void client_core::sent(std::size_t size) noexcept {
  sending_size_ -= size;
  counts.sent_size += size;
  broadcast();
}

void client_core::send_ping() {
  append_ping(tail_);
  ++ping_count_;
  is_confirmed_ = true;
  work.set();
}

/// Whether a server that is about to stop may be left. What the kernel has taken is not there yet:
/// the PONG behind it tells, and behind the PONG nothing of the server's is under way either.
bool client_core::has_finished() {
  if (!requests_.empty() || pending_size() != 0 || pong_count_ < ping_count_) return false;
  if (is_confirmed_) return true;
  send_ping();
  return false;
}

void client_core::broadcast() noexcept {
  changed.set();
  changed.reset();
}

void client_core::tell(client_event::kind what, std::error_code reason, std::string_view text) {
  if (!options.on_event) return;
  options.on_event(client_event(what, server_.to_string(), reason, printable(text)));
}

// ---------------------------------------------------------------- who waits

namespace {

/// Takes a request out of the table, however its wait ends.
class request_entry {
 public:
  using table = std::unordered_map<std::uint64_t, waiting_request*>;
  request_entry(table& in, std::uint64_t number, waiting_request& of)
      : table_(&in), number_(number) {
    in.emplace(number, &of);
  }
  request_entry(const request_entry&) = delete;
  request_entry& operator=(const request_entry&) = delete;
  ~request_entry() { table_->erase(number_); }

 private:
  table* table_;
  std::uint64_t number_;
};

}  // namespace

task<result<message>> client_core::ask(std::string subject, std::string headers,
                                       std::string payload, loop_clock::time_point deadline,
                                       bool& was_sent) {
  const std::size_t size = request_size(subject, headers.size() + payload.size());
  for (;;) {
    if (is_over()) co_return tl::unexpected(error_from(nats_error::closed, "request"));
    if (connected_ && has_room(size)) break;
    const bool has_changed = co_await wait_until(changed, deadline);
    if (!has_changed) co_return tl::unexpected(error::timed_out("request"));
  }
  const std::uint64_t number = next_number_++;
  waiting_request mine;
  const request_entry entered(requests_, number, mine);
  append_publish(once_, subject, inbox_ + std::to_string(number), headers, payload);
  is_confirmed_ = false;
  work.set();
  was_sent = true;
  const bool is_done = co_await wait_until(mine.done, deadline);
  if (!is_done) co_return tl::unexpected(error::timed_out("request"));
  if (!mine.answer) co_return tl::unexpected(error_from(mine.failure, "request"));
  if (mine.answer->headers.status() == 503 && mine.answer->payload.empty()) {
    was_sent = false;
    co_return tl::unexpected(error_from(nats_error::no_responders, "request"));
  }
  co_return std::move(*mine.answer);
}

void client_core::fail_requests(nats_error why) noexcept {
  for (const auto& each : requests_) {
    each.second->failure = why;
    each.second->done.set();
  }
}

std::shared_ptr<subscription_state> client_core::subscribe(std::string pattern,
                                                           const subscribe_options& chosen) {
  if (!is_pattern(pattern) || (!chosen.queue.empty() && !is_subject(chosen.queue))) {
    throw io_error(make_error_code(nats_error::bad_subject), "subscribe", "");
  }
  if (is_over()) throw io_error(make_error_code(nats_error::closed), "subscribe", pattern);
  auto made = std::make_shared<subscription_state>();
  made->number = next_number_++;
  made->pattern = std::move(pattern);
  made->queue = chosen.queue;
  made->options = chosen;
  made->options.queue = {};
  subscriptions_.emplace(made->number, made);
  if (connected_) append_subscription(*made);
  return made;
}

void client_core::append_subscription(subscription_state& of) {
  const std::string sid = std::to_string(of.number);
  append_subscribe(control_, of.pattern, of.queue, sid);
  if (of.options.count_max != 0) {
    append_unsubscribe(control_, sid, of.options.count_max - of.delivered_count);
  }
  work.set();
}

void client_core::unsubscribe(subscription_state& from) noexcept {
  if (subscriptions_.erase(from.number) == 0) return;
  from.has_ended = true;
  from.changed.set();
  if (!connected_) return;
  try {
    append_unsubscribe(control_, std::to_string(from.number));
    work.set();
  } catch (const std::bad_alloc&) {
    // The server goes on sending; what comes is passed over.
  }
}

// ---------------------------------------------------------------- what comes

std::optional<nats_error> client_core::meaning_of(std::string_view reason) noexcept {
  // nats-server's own words (server/errors.go), which may come in any case.
  const auto begins_with = [&](std::string_view words) {
    const auto is_same = [](char upper_or_lower, char lower) {
      const bool is_upper = upper_or_lower >= 'A' && upper_or_lower <= 'Z';
      return (is_upper ? static_cast<char>(upper_or_lower - 'A' + 'a') : upper_or_lower) == lower;
    };
    const std::string_view begin = reason.substr(0, words.size());
    return std::equal(begin.begin(), begin.end(), words.begin(), words.end(), is_same);
  };
  if (begins_with("permissions violation") || begins_with("invalid subject") ||
      begins_with("invalid publish subject") || begins_with("maximum subscriptions exceeded")) {
    return std::nullopt;
  }
  if (begins_with("authorization") || begins_with("authentication") ||
      begins_with("user authentication") || begins_with("account authentication")) {
    return nats_error::authorization;
  }
  if (begins_with("secure connection")) return nats_error::tls_required;
  if (begins_with("stale connection")) return nats_error::stale;
  if (begins_with("maximum payload")) return nats_error::payload_too_large;
  return nats_error::refused;
}

std::optional<error> client_core::handle(const packet& read) {
  switch (read.type) {
    case packet_type::message:
      deliver(read);
      break;
    case packet_type::ping:
      if (control_.size() > control_size_max) return error_from(nats_error::flooded, "read");
      append_pong(control_);
      work.set();
      break;
    case packet_type::pong:
      ++pong_count_;
      broadcast();
      break;
    case packet_type::info: {
      auto told = server_info::parse(read.text);
      if (!told) return error_from(told.error(), "read");
      if (told->is_lame_duck && !info_.is_lame_duck) is_confirmed_ = false;
      info_ = std::move(*told);
      pool_.learn(info_.addresses, server_);
      break;
    }
    case packet_type::error: {
      const auto why = meaning_of(read.text);
      if (why) return error_from(*why, "read");
      tell(client_event::kind::server_error, make_error_code(nats_error::permission), read.text);
      break;
    }
    default:
      break;
  }
  return std::nullopt;
}

void client_core::deliver(const packet& read) {
  ++counts.received_count;
  if (read.sid == inbox_sid) return deliver_answer(read);
  const auto number = parse_number(read.sid);
  const auto found = number ? subscriptions_.find(*number) : subscriptions_.end();
  if (found == subscriptions_.end()) return;  // it was unsubscribed meanwhile
  const std::shared_ptr<subscription_state> to = found->second;
  ++to->delivered_count;
  if (to->options.count_max != 0 && to->delivered_count >= to->options.count_max) {
    subscriptions_.erase(found);
    to->has_ended = true;
  }
  if (to->has_failed) return;
  message made = to_message(read);
  const std::size_t size = size_of(made);
  if (to->waiting.size() >= to->options.waiting_count_max ||
      size >
          to->options.waiting_size_max - std::min(to->waiting_size, to->options.waiting_size_max)) {
    ++to->dropped_count;
    to->has_failed = to->options.when_slow == slow_policy::fail;
    if (!std::exchange(to->is_slow, true)) {
      tell(client_event::kind::slow_consumer, make_error_code(nats_error::slow_consumer),
           "messages of " + to->pattern + " are dropped");
    }
  } else {
    to->waiting.emplace_back(std::move(made), size);
    to->waiting_size += size;
  }
  to->changed.set();
}

void client_core::deliver_answer(const packet& read) {
  if (!read.subject.starts_with(inbox_)) return;
  const auto number = parse_number(read.subject.substr(inbox_.size()));
  const auto found = number ? requests_.find(*number) : requests_.end();
  if (found == requests_.end()) return;  // too late, or not ours
  waiting_request& waiting = *found->second;
  if (waiting.answer) return;
  waiting.answer = to_message(read);
  waiting.done.set();
}

// ---------------------------------------------------------------- a session

std::string client_core::hello(bool over_tls) const {
  nlohmann::json text = {
      {"verbose", false},     {"pedantic", false},     {"tls_required", over_tls},
      {"lang", "c++"},        {"version", "rill"},     {"protocol", 1},
      {"headers", true},      {"no_responders", true}, {"echo", options.echo},
      {"name", options.name},
  };
  const credentials& who = server_.own.empty() ? options.credentials : server_.own;
  if (!who.user.empty()) {
    text["user"] = who.user;
    text["pass"] = who.password;
  }
  if (!who.token.empty()) text["auth_token"] = who.token;
  if (!who.jwt.empty()) text["jwt"] = who.jwt;
  if (!who.seed.empty()) {
    // Their form was looked at when the client was made.
    if (who.jwt.empty()) text["nkey"] = public_key(who.seed).value_or("");
    text["sig"] = sign(who.seed, info_.nonce).value_or("");
  }
  std::string packets;
  append_connect(packets, write(text));
  append_ping(packets);
  return packets;
}

void client_core::begin_handshake(const server_address& to, const server_info& of) {
  server_ = to;
  info_ = of;
  control_.clear();  // a PONG for a server that has not taken us
}

void client_core::begin_session() {
  if (inbox_.empty()) inbox_ = new_inbox() + '.';
  pool_.learn(info_.addresses, server_);
  connected_ = true;
  was_connected_ = true;
  ++counts.connection_count;
  append_subscribe(control_, inbox_ + '*', "", inbox_sid);
  for (const auto& each : subscriptions_) append_subscription(*each.second);
  work.set();
  tell(client_event::kind::connected, {}, "connected to " + info_.name);
  broadcast();
}

void client_core::end_session() noexcept {
  connected_ = false;
  control_.clear();
  once_.clear();
  tail_.clear();
  sending_size_ = 0;
  ping_count_ = 0;
  pong_count_ = 0;
  is_confirmed_ = false;
  fail_requests(nats_error::disconnected);
  broadcast();
}

task<> client_core::flush(loop_clock::time_point deadline) {
  while (!connected_) {
    if (closed_) throw io_error(make_error_code(nats_error::closed), "flush", "");
    const bool has_changed = co_await wait_until(changed, deadline);
    if (!has_changed) throw timeout_error("flush", last_failure);
  }
  send_ping();
  const std::uint64_t connection = counts.connection_count;
  const std::uint64_t awaited = ping_count_;
  while (pong_count_ < awaited) {
    const bool has_changed = co_await wait_until(changed, deadline);
    if (!has_changed) throw timeout_error("flush", server_.to_string());
    if (closed_) throw io_error(make_error_code(nats_error::closed), "flush", "");
    if (!connected_ || counts.connection_count != connection) {
      throw io_error(make_error_code(nats_error::disconnected), "flush", server_.to_string());
    }
  }
}

namespace {

/// Closes the client however the drain ends.
class closes {
 public:
  explicit closes(client_core& of) noexcept : core_(&of) {}
  closes(const closes&) = delete;
  closes& operator=(const closes&) = delete;
  ~closes() { core_->close(); }

 private:
  client_core* core_;
};

}  // namespace

task<> client_core::drain(loop_clock::time_point deadline) {
  const closes at_last(*this);
  is_draining_ = true;
  broadcast();  // who waits for room is told
  if (connected_) {
    for (const auto& each : subscriptions_) {
      append_unsubscribe(control_, std::to_string(each.second->number));
    }
  }
  if (!connected_ && pending_.empty()) co_return;
  co_await flush(deadline);
}

void client_core::close() noexcept {
  if (std::exchange(closed_, true)) return;
  for (const auto& each : subscriptions_) {
    each.second->has_ended = true;
    each.second->changed.set();
  }
  subscriptions_.clear();
  pending_.clear();
  fail_requests(nats_error::closed);
  stop.set();
  broadcast();
}

std::string client_core::new_inbox() { return "_INBOX." + random_name(); }

}  // namespace rill::nats::detail
