// Making the server's side again, and seeing when that is needed. See ordered_consumer.h.
#include <rill/protocols/nats/ordered_consumer.h>

#include <array>
#include <charconv>
#include <climits>
#include <system_error>
#include <utility>

#include <rill/protocols/nats/client_core.h>
#include <rill/protocols/nats/json.h>
#include <rill/runtime/sleep.h>

namespace rill::nats {
namespace {

std::uint64_t parse_number(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  return status == std::errc() && rest == end ? value : 0;
}

/// What the reply subject of a message tells: "$JS.ACK.stream.consumer.delivered.sequence.
/// consumer_sequence.time.pending", or with domain and account before the stream and a token at the
/// end (ADR-15).
struct delivery {
  std::uint64_t sequence = 0;  ///< 0: the subject is none of these
  std::uint64_t consumer_sequence = 0;
  std::int64_t time = 0;
  std::uint64_t pending_count = 0;
};

delivery parse_delivery(std::string_view reply) noexcept {
  constexpr std::size_t short_count = 9;
  constexpr std::size_t long_count_min = 11;
  constexpr std::size_t long_count_max = 12;
  delivery made;
  if (!reply.starts_with("$JS.ACK.")) return made;
  std::array<std::string_view, long_count_max> tokens;
  std::size_t count = 0;
  for (;;) {
    if (count == tokens.size()) return made;
    const std::size_t dot = reply.find('.');
    tokens[count++] = reply.substr(0, dot);
    if (dot == reply.npos) break;
    reply.remove_prefix(dot + 1);
  }
  if (count != short_count && count < long_count_min) return made;
  const std::size_t first = count == short_count ? 5 : 7;
  made.sequence = parse_number(tokens[first]);
  made.consumer_sequence = parse_number(tokens[first + 1]);
  made.time = static_cast<std::int64_t>(parse_number(tokens[first + 2]));
  made.pending_count = parse_number(tokens[first + 3]);
  return made;
}

}  // namespace

ordered_consumer::ordered_consumer(jetstream over, std::string stream, consume_options options)
    : over_(std::move(over)), stream_(std::move(stream)), options_(std::move(options)) {}

ordered_consumer::~ordered_consumer() { drop(); }
ordered_consumer::ordered_consumer(ordered_consumer&&) noexcept = default;

ordered_consumer& ordered_consumer::operator=(ordered_consumer&& other) noexcept {
  if (this == &other) return *this;
  drop();
  over_ = std::move(other.over_);
  stream_ = std::move(other.stream_);
  options_ = std::move(other.options_);
  messages_ = std::move(other.messages_);
  name_ = std::exchange(other.name_, std::string());
  connection_ = other.connection_;
  made_count_ = other.made_count_;
  last_sequence_ = other.last_sequence_;
  last_consumer_sequence_ = other.last_consumer_sequence_;
  is_broken_ = other.is_broken_;
  has_caught_up_ = other.has_caught_up_;
  retries_ = other.retries_;
  return *this;
}

void ordered_consumer::drop() noexcept {
  messages_.close();
  if (name_.empty()) return;
  try {
    const std::string subject =
        over_.options().prefix + ".CONSUMER.DELETE." + stream_ + '.' + name_;
    over_.over().core().publish_now(subject, "");
  } catch (const std::bad_alloc&) {
    // The server forgets it by itself.
  }
  name_.clear();
}

task<> ordered_consumer::make() {
  drop();
  client& bus = over_.over();
  if (!options_.from) {  // "from now on" must not move when the consumer is made again
    const stream_info now = co_await over_.stream(stream_);
    options_.from = now.last_sequence + 1;
  }
  // Subscribed first, so that nothing is sent to nobody. Another subject each time: what still
  // comes for the one before it must not be taken for news.
  const std::string inbox = bus.new_inbox();
  subscribe_options how;
  how.waiting_count_max = options_.waiting_count_max;
  how.waiting_size_max = options_.waiting_size_max;
  messages_ = bus.subscribe(inbox, how);
  nlohmann::json config = {
      {"deliver_subject", inbox},
      {"ack_policy", "none"},
      {"max_deliver", 1},
      {"replay_policy", "instant"},
      {"flow_control", true},
      {"idle_heartbeat", options_.heartbeat.count()},
      {"inactive_threshold", options_.inactive_threshold.count()},
      {"mem_storage", true},
      {"num_replicas", 1},
  };
  if (!options_.pattern.empty()) config["filter_subject"] = options_.pattern;
  config["deliver_policy"] = "by_start_sequence";
  config["opt_start_seq"] = last_sequence_ != 0 ? last_sequence_ + 1 : options_.from.value_or(1);
  const nlohmann::json body = {{"stream_name", stream_}, {"config", config}};
  const std::string answer =
      co_await over_.ask("consume", "CONSUMER.CREATE." + stream_, stream_, detail::write(body));
  const nlohmann::json made = detail::read_object(answer);
  name_ = detail::text_of(made, "name");
  if (name_.empty()) throw io_error(make_error_code(nats_error::bad_answer), "consume", stream_);
  connection_ = bus.connection_number();
  has_caught_up_ = detail::number_of(made, "num_pending", 1) == 0;
  last_consumer_sequence_ = 0;
  is_broken_ = false;
  ++made_count_;
}

/// A consumer that breaks is made again at once, and if that has brought no message, after a pause:
/// a cluster that is short of something is not to be asked as fast as it refuses.
task<> ordered_consumer::pause() {
  if (!retries_) {
    retry_limits limits;
    limits.attempt_count_max = UINT_MAX;
    limits.delay = over_.options().retry_delay;
    limits.delay_max = over_.options().retry_delay_max;
    retries_.emplace(limits);
    co_return;
  }
  const auto delay = retries_->next();
  if (delay) co_await sleep_for(*delay);
}

task<stream_message> ordered_consumer::next() {
  client& bus = over_.over();
  for (;;) {
    if (name_.empty() || is_broken_) {
      co_await pause();
      try {
        co_await make();
      } catch (const io_error& failed) {
        // No answer in time, or no leader: it is asked again. Everything else is for the caller.
        const auto& code = failed.code();
        const auto* const refused = dynamic_cast<const api_error*>(&failed);
        const bool is_passing = code == nats_error::no_responders ||
                                code == nats_error::disconnected || code == std::errc::timed_out ||
                                (refused != nullptr && refused->status() >= 500);
        if (!is_passing) throw;
      }
      continue;
    }
    const auto patience = options_.heartbeat * 5 / 2;
    std::optional<message> came =
        co_await messages_.next_until(loop_clock::after(loop_clock::now(), patience));
    if (!came) {
      if (bus.is_closed()) throw io_error(make_error_code(nats_error::closed), "consume", stream_);
      is_broken_ = true;
      continue;
    }
    std::optional<stream_message> taken = take(std::move(*came));
    if (taken) {
      retries_.reset();
      co_return std::move(*taken);
    }
    if (connection_ != bus.connection_number()) is_broken_ = true;
  }
}

std::optional<stream_message> ordered_consumer::take(message&& came) {
  // A status is the server's word only where no message of the stream carries it: in one of those
  // it is its publisher's, and must neither break the consumer nor make it publish.
  const delivery told = parse_delivery(came.reply);
  if (told.sequence == 0) {
    if (came.headers.status() != 0) handle_status(came);
    return std::nullopt;
  }
  if (told.consumer_sequence != last_consumer_sequence_ + 1 || told.sequence <= last_sequence_) {
    is_broken_ = true;
    return std::nullopt;
  }
  last_consumer_sequence_ = told.consumer_sequence;
  last_sequence_ = told.sequence;
  has_caught_up_ = told.pending_count == 0;
  stream_message made;
  made.subject = std::move(came.subject);
  made.headers = std::move(came.headers);
  made.payload = std::move(came.payload);
  made.sequence = told.sequence;
  made.stored_at = told.time;
  made.pending_count = told.pending_count;
  made.has_bad_headers = came.has_bad_headers;
  return made;
}

void ordered_consumer::handle_status(const message& came) {
  constexpr int control = 100;
  if (came.headers.status() != control) {  // 409: the consumer was deleted, the leader has changed
    is_broken_ = true;
    return;
  }
  detail::client_core& core = over_.over().core();
  // Flow control, also where a heartbeat says that an answer has got lost.
  const auto stalled = came.headers.find("Nats-Consumer-Stalled");
  if (!came.reply.empty()) core.publish_now(came.reply, "");
  if (stalled && stalled->starts_with("$JS.FC.")) core.publish_now(*stalled, "");
  const auto last = came.headers.find("Nats-Last-Consumer");
  if (last && parse_number(*last) != last_consumer_sequence_) is_broken_ = true;
}

}  // namespace rill::nats
