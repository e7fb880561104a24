// The questions of JetStream's API and their answers. See jetstream.h.
// https://docs.nats.io/reference/reference-protocols/nats_api_reference is the source.
#include <rill/protocols/nats/jetstream.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <utility>

#include <rill/net/base64.h>
#include <rill/net/printable.h>
#include <rill/protocols/nats/client_core.h>
#include <rill/protocols/nats/json.h>
#include <rill/protocols/nats/ordered_consumer.h>
#include <rill/protocols/nats/subject.h>
#include <rill/runtime/sleep.h>

namespace rill::nats {
namespace {

using detail::error_from;
using detail::number_of;
using detail::text_of;
using nlohmann::json;

// nats-server's numbers (server/errors.json).
constexpr std::uint64_t stream_exists = 10058;
constexpr std::uint64_t wrong_sequence = 10071;
constexpr std::uint64_t wrong_sequence_constant = 10164;  // newer servers
constexpr int status_not_found = 404;
constexpr int status_unavailable = 503;

/// What "error" holds; status 0: there is none.
struct refusal {
  int status = 0;
  std::uint64_t number = 0;
  std::string description;
};

refusal refusal_of(const json& answer) {
  refusal made;
  const auto found = answer.find("error");
  if (found == answer.end() || !found->is_object()) return made;
  made.status = static_cast<int>(std::min<std::uint64_t>(number_of(*found, "code", 500), 999));
  made.number = number_of(*found, "err_code");
  made.description = text_of(*found, "description");
  return made;
}

nats_error code_of(const refusal& of) noexcept {
  if (of.number == wrong_sequence || of.number == wrong_sequence_constant) {
    return nats_error::wrong_last_sequence;
  }
  return of.status == status_not_found ? nats_error::not_found : nats_error::refused_by_api;
}

/// Worth another attempt: nobody is there, or nobody leads, or nothing was heard.
bool is_passing(const error& why) noexcept {
  return why.is_timeout() || why.code() == nats_error::no_responders ||
         why.code() == nats_error::disconnected;
}

stream_info read_stream(const json& answer) {
  stream_info made;
  const auto config = answer.find("config");
  const auto state = answer.find("state");
  if (config == answer.end() || state == answer.end() || !config->is_object() ||
      !state->is_object()) {
    throw io_error(make_error_code(nats_error::bad_answer), "read", "stream");
  }
  made.name = text_of(*config, "name");
  made.duplicate_window = std::chrono::nanoseconds(number_of(*config, "duplicate_window"));
  made.message_count = number_of(*state, "messages");
  made.first_sequence = number_of(*state, "first_seq");
  made.last_sequence = number_of(*state, "last_seq");
  made.created = text_of(answer, "created");
  const auto cluster = answer.find("cluster");
  if (cluster != answer.end() && cluster->is_object()) made.leader = text_of(*cluster, "leader");
  return made;
}

json write_config(const stream_config& of) {
  const auto or_none = [](std::uint64_t limit) {
    return limit == 0 ? std::int64_t{-1} : static_cast<std::int64_t>(limit);
  };
  return json{
      {"name", of.name},
      {"subjects", of.subjects},
      {"storage", of.storage == storage_type::file ? "file" : "memory"},
      {"retention", "limits"},
      {"discard", "old"},
      {"num_replicas", of.replica_count},
      {"max_msgs", or_none(of.message_count_max)},
      {"max_msgs_per_subject", or_none(of.subject_message_count_max)},
      {"max_bytes", or_none(of.size_max)},
      {"max_age", of.age_max.count()},
      {"max_consumers", -1},
      {"max_msg_size", -1},
      {"duplicate_window", of.duplicate_window.count()},
  };
}

/// A name as it may stand in a subject of the API.
void check(const std::string& name, const char* operation) {
  if (!is_subject(name) || name.find('.') != name.npos) {
    throw io_error(make_error_code(nats_error::bad_subject), operation, "");
  }
}

}  // namespace

api_error::api_error(nats_error code, std::string_view operation, std::string_view subject,
                     int status, std::uint64_t number, const std::string& description)
    : io_error(
          make_error_code(code), operation,
          std::string(subject) + (description.empty() ? "" : " (" + printable(description) + ")")),
      status_(status),
      number_(number) {}

jetstream::jetstream(client& over, jetstream_options options)
    : client_(&over), options_(std::move(options)) {}

retry_schedule jetstream::schedule_until(loop_clock::time_point deadline) const {
  retry_limits limits;
  limits.attempt_count_max = UINT_MAX;
  limits.delay = options_.retry_delay;
  limits.delay_max = options_.retry_delay_max;
  return retry_schedule(limits, deadline);
}

task<std::string> jetstream::ask(const char* operation, std::string endpoint, std::string about,
                                 std::string body) {
  const std::string subject = options_.prefix + '.' + endpoint;
  client_->core().check_request(operation, subject, body.size());
  const auto deadline = loop_clock::after(loop_clock::now(), options_.timeout);
  retry_schedule attempts = schedule_until(deadline);
  for (;;) {
    const auto until =
        std::min(deadline, loop_clock::after(loop_clock::now(), options_.attempt_timeout));
    bool was_sent = false;
    const result<message> got =
        co_await client_->core().ask(subject, std::string(), body, until, was_sent);
    const auto delay = attempts.next();
    if (got) {
      const json answer = detail::read_object(got->payload);
      if (answer.is_discarded()) {
        throw io_error(make_error_code(nats_error::bad_answer), operation, about);
      }
      const refusal why = refusal_of(answer);
      if (why.status == 0) co_return got->payload;
      if (why.status != status_unavailable || !delay) {
        throw api_error(code_of(why), operation, about, why.status, why.number, why.description);
      }
    } else if (!is_passing(got.error()) || !delay) {
      throw_error(error(got.error().code(), operation, got.error().is_timeout()), about);
    }
    co_await sleep_for(*delay);
  }
}

task<stream_info> jetstream::create_or_update_stream(stream_config config) {
  check(config.name, "create stream");
  const std::string name = config.name;
  const std::string body = detail::write(write_config(config));
  std::optional<std::string> answer;
  try {
    answer = co_await ask("create stream", "STREAM.CREATE." + name, name, body);
  } catch (const api_error& refused) {
    if (refused.number() != stream_exists) throw;
  }
  if (!answer) answer = co_await ask("update stream", "STREAM.UPDATE." + name, name, body);
  co_return read_stream(detail::read_object(*answer));
}

task<stream_info> jetstream::stream(std::string name) {
  check(name, "look up stream");
  const std::string answer = co_await ask("look up stream", "STREAM.INFO." + name, name, "");
  co_return read_stream(detail::read_object(answer));
}

task<> jetstream::delete_stream(std::string name) {
  check(name, "delete stream");
  co_await ask("delete stream", "STREAM.DELETE." + name, name, "");
}

// ---------------------------------------------------------------- publishing

namespace {

std::string headers_of(const publish_options& options) {
  headers all = options.headers;
  all.add("Nats-Msg-Id", options.message_id);
  if (options.expected_last_sequence) {
    all.add("Nats-Expected-Last-Sequence", std::to_string(*options.expected_last_sequence));
  }
  if (options.expected_last_subject_sequence) {
    all.add("Nats-Expected-Last-Subject-Sequence",
            std::to_string(*options.expected_last_subject_sequence));
  }
  if (!options.expected_stream.empty()) all.add("Nats-Expected-Stream", options.expected_stream);
  return all.to_text();
}

}  // namespace

task<publish_ack> jetstream::publish(std::string subject, std::string payload,
                                     publish_options options) {
  constexpr const char* operation = "publish";
  if (options.message_id.empty()) options.message_id = detail::random_name();
  const std::string block = headers_of(options);
  client_->core().check_request(operation, subject, block.size() + payload.size());
  const auto deadline = loop_clock::after(loop_clock::now(), options.timeout);
  std::optional<loop_clock::time_point> resend_until;  // set once it may have been taken
  retry_schedule attempts = schedule_until(deadline);
  for (;;) {
    const auto begun = loop_clock::now();
    auto until = std::min(deadline, loop_clock::after(begun, options.attempt_timeout));
    if (resend_until) until = std::min(until, *resend_until);
    bool was_sent = false;
    const result<message> got =
        co_await client_->core().ask(subject, block, payload, until, was_sent);
    if (got) {
      const json answer = detail::read_object(got->payload);
      if (answer.is_discarded()) {
        // With an attempt before of which nothing was heard it may stand all the same.
        const auto code = resend_until ? nats_error::outcome_unknown : nats_error::bad_answer;
        throw io_error(make_error_code(code), operation, subject);
      }
      const refusal why = refusal_of(answer);
      publish_ack ack;
      ack.sequence = number_of(answer, "seq");
      if (why.status == 0 && ack.sequence != 0) {
        ack.stream = text_of(answer, "stream");
        ack.is_duplicate = detail::flag_of(answer, "duplicate");
        co_return ack;
      }
      // Refused for good. An attempt before, of which nothing was heard, may have been the message
      // that now stands in the way; servers look for the id first, but not all of them do.
      if (why.status != 0 && why.status != status_unavailable) {
        if (resend_until)
          throw io_error(make_error_code(nats_error::outcome_unknown), operation,
                         subject + " (" + printable(why.description) + ')');
        throw api_error(code_of(why), operation, subject, why.status, why.number, why.description);
      }
    } else if (!is_passing(got.error())) {
      // The client was closed. What had left by then may stand.
      if (was_sent || resend_until) {
        throw io_error(make_error_code(nats_error::outcome_unknown), operation, subject);
      }
      throw_error(error(got.error().code(), operation), subject);
    }
    // A server that answers 503 for a stream without a leader may have proposed the message.
    if (was_sent && !resend_until) resend_until = loop_clock::after(begun, options.resend_for);
    const auto now = loop_clock::now();
    const auto delay = attempts.next();
    if (resend_until) {
      if (!delay || now + *delay >= *resend_until) {
        throw io_error(make_error_code(nats_error::outcome_unknown), operation, subject);
      }
      co_await sleep_for(*delay);
      continue;
    }
    // No attempt that has hardly any time: it would make unknown what is known.
    if (!delay || now + *delay + options.attempt_timeout / 10 >= deadline) {
      if (!got) {
        throw_error(error(got.error().code(), operation, got.error().is_timeout()), subject);
      }
      throw timeout_error(operation, subject);
    }
    co_await sleep_for(*delay);
  }
}

// ---------------------------------------------------------------- reading

namespace {

/// RFC 3339 as Go writes it, "2026-11-30T19:50:59.025048199Z", in nanoseconds since 1970; 0 for
/// what is none.
std::int64_t read_time(std::string_view text) noexcept {
  const auto digits = [&](std::size_t at, std::size_t count) {
    int value = 0;
    for (std::size_t i = at; i < at + count; ++i) {
      if (i >= text.size() || text[i] < '0' || text[i] > '9') return -1;
      value = value * 10 + (text[i] - '0');
    }
    return value;
  };
  const int year = digits(0, 4), month = digits(5, 2), day = digits(8, 2);
  const int hour = digits(11, 2), minute = digits(14, 2), second = digits(17, 2);
  constexpr int year_max = 2261;  // 64 bits of nanoseconds end in April 2262
  if (year < 1970 || year > year_max || month < 1 || day < 1) return 0;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return 0;
  const auto day_of_year =
      std::chrono::year(year) / static_cast<unsigned>(month) / static_cast<unsigned>(day);
  if (!day_of_year.ok()) return 0;
  const auto date = std::chrono::sys_days(day_of_year);
  std::chrono::nanoseconds all = date.time_since_epoch() + std::chrono::hours(hour) +
                                 std::chrono::minutes(minute) + std::chrono::seconds(second);
  std::int64_t unit = 100'000'000;
  for (std::size_t i = 20; i < text.size() && unit != 0; ++i, unit /= 10) {
    if (text[i] < '0' || text[i] > '9') break;
    all += std::chrono::nanoseconds(unit * (text[i] - '0'));
  }
  return all.count();
}

stream_message read_message(const json& answer) {
  const auto wrong = [] {
    return io_error(make_error_code(nats_error::bad_answer), "read", "message");
  };
  const auto found = answer.find("message");
  if (found == answer.end() || !found->is_object()) throw wrong();
  stream_message made;
  made.subject = text_of(*found, "subject");
  made.sequence = number_of(*found, "seq");
  made.stored_at = read_time(text_of(*found, "time"));
  auto data = rill::detail::decode_base64(text_of(*found, "data"));
  const auto block = rill::detail::decode_base64(text_of(*found, "hdrs"));
  if (!data || !block || made.sequence == 0) throw wrong();
  made.payload = std::move(*data);
  auto fields = headers::parse(*block);
  made.has_bad_headers = !fields;
  if (fields) made.headers = std::move(*fields);
  return made;
}

}  // namespace

task<std::optional<stream_message>> jetstream::get_by(std::string stream, std::string body) {
  check(stream, "get message");
  std::string answer;
  try {
    answer = co_await ask("get message", "STREAM.MSG.GET." + stream, stream, std::move(body));
  } catch (const api_error& refused) {
    constexpr std::uint64_t no_message = 10037;
    if (refused.number() != no_message) throw;
  }
  if (answer.empty()) co_return std::nullopt;
  co_return read_message(detail::read_object(answer));
}

task<std::optional<stream_message>> jetstream::get(std::string stream, std::uint64_t sequence) {
  const json body{{"seq", sequence}};
  return get_by(std::move(stream), detail::write(body));
}

task<std::optional<stream_message>> jetstream::next(std::string stream, std::string pattern,
                                                    std::uint64_t sequence) {
  const json body{{"seq", sequence}, {"next_by_subj", pattern}};
  return get_by(std::move(stream), detail::write(body));
}

task<std::optional<stream_message>> jetstream::last(std::string stream, std::string subject) {
  const json body{{"last_by_subj", subject}};
  return get_by(std::move(stream), detail::write(body));
}

task<std::vector<stream_message>> jetstream::fetch(std::string stream, std::string pattern,
                                                   std::uint64_t sequence, std::size_t count) {
  std::vector<stream_message> all;
  while (all.size() < count) {
    std::optional<stream_message> each = co_await next(stream, pattern, sequence);
    if (!each) break;
    sequence = each->sequence + 1;
    all.push_back(std::move(*each));
  }
  co_return all;
}

task<std::optional<std::uint64_t>> jetstream::find_id(std::string stream, std::string subject,
                                                      std::string message_id,
                                                      std::uint64_t sequence) {
  for (;;) {
    const std::optional<stream_message> each = co_await next(stream, subject, sequence);
    if (!each) co_return std::nullopt;
    const auto id = each->headers.find("Nats-Msg-Id");
    if (id && *id == message_id) co_return each->sequence;
    sequence = each->sequence + 1;
  }
}

ordered_consumer jetstream::consume(std::string stream, const consume_options& options) {
  check(stream, "consume");
  return ordered_consumer(*this, std::move(stream), options);
}

}  // namespace rill::nats
