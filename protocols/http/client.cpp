// One request of a client, from its URL to its response: redirects, around retries, around the
// choice of a connection, around one exchange. See client.h.
#include <rill/protocols/http/client.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <span>

#include <rill/net/retry.h>
#include <rill/protocols/http/client_exchange.h>
#include <rill/protocols/http/client_head.h>
#include <rill/protocols/http/client_pool.h>
#include <rill/protocols/http/tls_connector.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/sleep.h>

namespace rill::http {

namespace {

using detail::client_exchange;
using detail::connection_pool;
using detail::journey;

/// What is left of a body of which nobody wants to know, to save the connection.
constexpr std::uint64_t discarded_size_max = 64 * 1024;

std::uint32_t random_number() {
  std::array<std::byte, 4> bytes;
  loop::current().kernel().random(bytes);
  std::uint32_t number = 0;
  for (const std::byte each : bytes) number = number << 8 | std::to_integer<std::uint32_t>(each);
  return number;
}

http_time wall_time() {
  const std::chrono::nanoseconds now(loop::current().kernel().wall_now());
  return std::chrono::floor<std::chrono::seconds>(
      std::chrono::sys_time<std::chrono::nanoseconds>(now));
}

std::string random_boundary() {
  std::string made = "rill-";
  for (int i = 0; i < 4; ++i) {
    char digits[8];
    const char* const end = std::to_chars(digits, digits + sizeof(digits), random_number(), 16).ptr;
    const std::string_view number(digits, static_cast<std::size_t>(end - digits));
    made.append(sizeof(digits) - number.size(), '0').append(number);
  }
  return made;
}

/// A request under way, and how its attempts are to be made.
struct work {
  client_request asked;
  request_body body;
  journey at;
  client_timeouts limits;
  loop_clock::time_point deadline;
  unsigned redirects_left = 0;
  bool reads_body = true;

  bool is_repeatable() const noexcept { return !at.has_body || body.is_repeatable(); }
};

bool is_worth_a_retry(int status) noexcept {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

retry_limits limits_of(const retry_options& chosen) noexcept {
  retry_limits limits;
  limits.attempt_count_max = std::max(chosen.count_max, chosen.count_max + 1);  // it may wrap round
  limits.delay = chosen.delay;
  limits.delay_max = chosen.delay_max;
  limits.jitter = 0.5;
  return limits;
}

/// Nothing of the request can have reached the server.
bool is_before_sending(client_phase phase) noexcept {
  return phase == client_phase::resolve || phase == client_phase::connect ||
         phase == client_phase::proxy;
}

/// What may share a connection: the requests to one origin, by one way, or through one proxy.
std::string key_of(const journey& at) {
  if (at.is_proxied()) return "proxy " + at.proxy->origin();
  std::string key = at.target.origin();
  if (at.proxy != nullptr) key += " by " + at.proxy->origin();
  return key;
}

}  // namespace

struct client::state {
  explicit state(client_options chosen)
      : options(std::move(chosen)),
        proxies(options.proxies ? *options.proxies : proxy_settings::from_environment()),
        pool(std::make_shared<connection_pool>(options.pool)),
        own(options.tls) {}

  task<client_response> run(client_request asked, bool reads_body);
  work prepare(client_request asked, bool reads_body) const;
  void follow(work& of, const client_response& from) const;
  task<client_response> attempts(work& of);
  std::optional<std::chrono::nanoseconds> patience(const work& of, retry_schedule& schedule,
                                                   const client_response* got,
                                                   const client_error* failure) const;
  void keep_cookies(const work& of, const response_head& head) const;
  void decode(const work& of, client_exchange& inner) const;
  task<client_response> attempt(work& of);
  task<std::unique_ptr<client_exchange>> exchange_once(work& of, bool may_expect);
  task<connection_pool::slot> connection(const work& of, bool& was_used);
  task<void> connect(const work& of, connection_pool::slot& into);
  std::string head_of(const work& of, bool expects_continue) const;
  bool is_redirected(const work& of, const response_head& head) const noexcept {
    return of.redirects_left != 0 && detail::is_redirect(head);
  }
  void trace(trace_event what, std::string_view text) const {
    if (options.on_trace) options.on_trace(what, text);
  }

  client_options options;
  proxy_settings proxies;
  std::shared_ptr<connection_pool> pool;
  tls_connector own;
};

// ---------------------------------------------------------------- redirects

work client::state::prepare(client_request asked, bool reads_body) const {
  work made{std::move(asked), {}, {}, {}, {}, 0, reads_body};
  const client_request& from = made.asked;
  std::optional<url> target = url::parse(from.url_text());
  if (!target) {
    throw client_error(client_phase::request, from.method(), client_fault::bad_url, "open",
                       rill::detail::printable_name(from.url_text()));
  }
  if (!from.query_text().empty()) {
    if (!target->query.empty()) target->query += '&';
    target->query += from.query_text();
    target->has_query = true;
  }
  made.at.method = from.method();
  made.at.target = std::move(*target);
  made.body = from.content();
  if (!from.parts().empty()) {
    const bool has_file = std::any_of(from.parts().begin(), from.parts().end(),
                                      [](const auto& each) { return each.is_file; });
    if (has_file || from.is_multipart()) {
      made.body = write_multipart(from.parts(), random_boundary());
    } else {
      parameter_list parameters;
      for (const auto& each : from.parts()) parameters.emplace_back(each.name, each.content);
      made.body = request_body::form(parameters);
    }
  }
  made.at.has_body = made.body.is_given();
  made.limits = from.own_timeouts().value_or(options.timeouts);
  made.deadline = loop_clock::after(loop_clock::now(), made.limits.total);
  made.redirects_left = from.own_redirect_max().value_or(options.redirect_count_max);
  return made;
}

task<client_response> client::state::run(client_request asked, bool reads_body) {
  work mine = prepare(std::move(asked), reads_body);
  std::vector<client_response::hop> history;
  const bool follows = mine.redirects_left != 0;
  for (;;) {
    client_response got = co_await attempts(mine);
    if (!follows || !detail::is_redirect(got.head())) {
      got.set_history(std::move(history));
      co_return got;
    }
    if (mine.redirects_left == 0) {
      throw client_error(client_phase::redirect, mine.at.name(), client_fault::too_many_redirects);
    }
    --mine.redirects_left;
    history.push_back({got.status(), mine.at.target.to_string(), std::string(got.head_text())});
    follow(mine, got);
  }
}

/// To where a redirect points.
void client::state::follow(work& of, const client_response& from) const {
  const std::string_view location = *from.find("Location");
  std::optional<url> next = of.at.target.resolve(location);
  if (!next) {
    throw client_error(client_phase::redirect, of.at.name(), client_fault::bad_redirect, {},
                       rill::detail::printable_name(location));
  }
  const std::string_view method = detail::method_after(from.status(), of.at.method);
  if (method != of.at.method) {
    of.at.method = method;
    of.at.has_body = false;
  }
  if (!of.is_repeatable()) {
    throw client_error(client_phase::redirect, of.at.name(), client_fault::bad_redirect, {},
                       "a body that cannot be sent again");
  }
  const bool is_same = next->origin() == of.at.target.origin();
  if (!is_same) of.at.has_credentials = false;
  next->user_information = is_same ? of.at.target.user_information : std::string();
  trace(trace_event::note, "redirected to " + next->to_string());
  of.at.target = std::move(*next);
}

// ---------------------------------------------------------------- retries

task<client_response> client::state::attempts(work& of) {
  retry_schedule schedule(limits_of(options.retry), of.deadline);
  for (;;) {
    std::optional<client_response> got;
    std::optional<client_error> failure;
    try {
      got.emplace(co_await attempt(of));
    } catch (const client_error& error) {
      failure.emplace(error);
    }
    const auto delay = patience(of, schedule, got ? &*got : nullptr, failure ? &*failure : nullptr);
    if (!delay) {
      if (failure) throw client_error(*failure);
      co_return std::move(*got);
    }
    const std::string why = failure ? failure->what() : std::to_string(got->status());
    trace(trace_event::note,
          "retry in " + std::to_string(delay->count() / 1'000'000) + " ms: " + why);
    got.reset();
    co_await sleep_for(*delay);
  }
}

/// How long to wait before the next attempt; nullopt: there is none.
std::optional<std::chrono::nanoseconds> client::state::patience(const work& of,
                                                                retry_schedule& schedule,
                                                                const client_response* got,
                                                                const client_error* failure) const {
  if (!of.is_repeatable()) return std::nullopt;
  std::chrono::nanoseconds asked_for(0);
  if (failure != nullptr) {
    const bool on_the_way = is_before_sending(failure->phase()) ||
                            failure->phase() == client_phase::send ||
                            failure->phase() == client_phase::read;
    const bool may_repeat = is_before_sending(failure->phase()) || is_idempotent(of.at.method);
    const bool is_final = failure->code() == resolve_error::name_not_found ||
                          failure->code() == resolve_error::invalid_name ||
                          failure->code() == http_error::body_too_large ||
                          failure->phase() == client_phase::proxy;
    if (!on_the_way || !may_repeat || is_final) return std::nullopt;
  } else {
    if (!is_worth_a_retry(got->status()) || !is_idempotent(of.at.method)) return std::nullopt;
    const auto told = detail::retry_after(got->head(), loop::current().kernel().wall_now());
    asked_for = told.value_or(asked_for);
    if (asked_for > options.retry.retry_after_max) return std::nullopt;
  }
  return schedule.next(asked_for);
}

void client::state::keep_cookies(const work& of, const response_head& head) const {
  if (options.cookies == nullptr) return;
  for (std::size_t i = 0; i != head.field_count(); ++i) {
    const field each = head.field_at(i);
    if (!equals_without_case(each.name, "Set-Cookie")) continue;
    options.cookies->store(of.at.target, each.value, wall_time());
  }
}

void client::state::decode(const work& of, client_exchange& inner) const {
  if (!options.accepts_compressed || of.asked.find("Accept-Encoding") != nullptr) return;
  decode_limits limits = options.decode;
  if (of.reads_body) limits.size_max = options.body_size_max;
  inner.decode_content(limits);
}

task<client_response> client::state::attempt(work& of) {
  std::unique_ptr<client_exchange> done = co_await exchange_once(of, true);
  // Expect was not understood (RFC 9110 section 15.5.18).
  constexpr int expectation_failed = 417;
  if (done->head().status() == expectation_failed && of.at.has_body && of.is_repeatable()) {
    done = co_await exchange_once(of, false);
  }
  trace(trace_event::response, detail::without_secrets(done->head_text()));
  done->set_progress(of.asked.download_progress());
  client_exchange& inner = *done;
  keep_cookies(of, inner.head());
  decode(of, inner);
  client_response got(std::move(done), of.at.target);
  if (is_redirected(of, got.head())) {
    std::uint64_t size = 0;
    while (size < discarded_size_max) {
      const std::string_view piece = co_await inner.read_some();
      if (piece.empty()) break;
      size += piece.size();
    }
    inner.abandon();
  } else if (of.reads_body) {
    co_await got.read_body(options.body_size_max);
  }
  co_return got;
}

// ---------------------------------------------------------------- connections

std::string client::state::head_of(const work& of, bool expects_continue) const {
  static const request_body none;
  std::string cookies;
  if (options.cookies != nullptr) {
    cookies = options.cookies->cookies_for(of.at.target, wall_time());
  }
  const std::string_view codings = options.accepts_compressed ? "gzip, br" : "";
  const detail::head_defaults defaults{
      options.user_agent, &options.fields, codings, cookies, options.pool.idle_timeout.count() > 0,
      expects_continue};
  return detail::write_head(of.at, of.asked, of.at.has_body ? of.body : none, defaults);
}

task<std::unique_ptr<client_exchange>> client::state::exchange_once(work& of, bool may_expect) {
  static const request_body none;
  of.at.proxy = proxies.find(of.at.target);
  const std::string name = of.at.name();
  const std::uint64_t size = of.body.size().value_or(UINT64_MAX);
  const bool expects = may_expect && of.at.has_body && size >= options.continue_size_min;
  const std::string head = head_of(of, expects);
  const detail::exchange_limits limits{options.head, options.interim_count_max, of.limits.idle,
                                       options.continue_timeout, of.deadline};
  const detail::outgoing out{of.at.method, head, of.at.has_body ? &of.body : &none, expects};
  for (bool is_last = false;; is_last = true) {
    bool was_used = false;
    connection_pool::slot given = co_await connection(of, was_used);
    trace(trace_event::request, detail::without_secrets(head));
    auto made = std::make_unique<client_exchange>(std::move(given), limits, name);
    bool is_stale = false;
    try {
      co_await made->send(out, of.asked.upload_progress());
    } catch (const client_error& error) {
      // The server closed it while the request was on its way.
      is_stale = was_used && !is_last && !made->has_answer() && !error.is_timeout() &&
                 is_idempotent(of.at.method) && of.is_repeatable() &&
                 (error.phase() == client_phase::send || error.phase() == client_phase::read);
      if (!is_stale) throw;
    }
    if (!is_stale) co_return made;
    trace(trace_event::note, "the connection had been closed; once more on a fresh one");
    made.reset();
    pool->drop_idle(key_of(of.at));
  }
}

/// One that is alive: idle so far, which `was_used` tells, or fresh.
task<connection_pool::slot> client::state::connection(const work& of, bool& was_used) {
  for (;;) {
    connection_pool::slot given;
    const auto outcome = co_await pool->acquire(key_of(of.at), of.deadline, given);
    if (outcome == connection_pool::outcome::timed_out) {
      throw client_error::timed_out(client_phase::pool, of.at.name(), "for a connection");
    }
    if (outcome == connection_pool::outcome::too_many_waiting) {
      throw client_error(client_phase::pool, of.at.name(), client_fault::too_many_waiting);
    }
    was_used = given.stream() != nullptr;
    if (!was_used) {
      co_await connect(of, given);
      co_return given;
    }
    // Whatever comes unasked, the end or bytes, is the end of it.
    const auto came = co_await given.stream()->fill(loop_clock::now());
    if (!came && came.error().is_timeout()) co_return given;
    trace(trace_event::note, "an idle connection was closed by its server");
  }
}

task<void> client::state::connect(const work& of, connection_pool::slot& into) {
  const url& first = of.at.proxy == nullptr ? of.at.target : *of.at.proxy;
  if (first.host.empty()) {
    throw client_error(client_phase::proxy, of.at.name(), client_fault::bad_proxy);
  }
  connector& with = options.with != nullptr ? *options.with : own;
  const loop_clock::time_point end = loop_clock::after(loop_clock::now(), of.limits.connect);
  const destination to{&of.at.target, of.at.proxy, std::min(end, of.deadline)};
  client_phase phase = client_phase::connect;
  try {
    into.put(co_await with.open(to, phase));
  } catch (const client_error& error) {
    client_error told(error.phase(), of.at.name(), error.code(), error.operation(),
                      error.subject());
    told.set_status(error.status());
    throw told;
  } catch (const io_error& error) {
    if (error.operation() == "resolve") phase = client_phase::resolve;
    client_error told(phase, of.at.name(), error.code(), error.operation(), error.subject());
    if (dynamic_cast<const timeout_error*>(&error) != nullptr) told.set_timeout();
    throw told;
  }
  trace(trace_event::note, "connected to " + into.stream()->peer());
}

// ---------------------------------------------------------------- the surface

client::client(client_options options) : state_(std::make_unique<state>(std::move(options))) {}
client::client(client&& other) noexcept = default;
client& client::operator=(client&& other) noexcept = default;
client::~client() = default;

task<client_response> client::get(std::string url) {
  return send(client_request("GET", std::move(url)));
}
task<client_response> client::head(std::string url) {
  return send(client_request("HEAD", std::move(url)));
}
task<client_response> client::post(std::string url, request_body body) {
  client_request asked("POST", std::move(url));
  asked.body(std::move(body));
  return send(std::move(asked));
}
task<client_response> client::put(std::string url, request_body body) {
  client_request asked("PUT", std::move(url));
  asked.body(std::move(body));
  return send(std::move(asked));
}
task<client_response> client::patch(std::string url, request_body body) {
  client_request asked("PATCH", std::move(url));
  asked.body(std::move(body));
  return send(std::move(asked));
}
task<client_response> client::remove(std::string url) {
  return send(client_request("DELETE", std::move(url)));
}
task<client_response> client::send(client_request asked) {
  return state_->run(std::move(asked), true);
}
task<client_response> client::open(client_request asked) {
  return state_->run(std::move(asked), false);
}

task<client_result> client::send_as_result(client_request asked) {
  std::optional<client_error> failure;
  try {
    client_response got = co_await send(std::move(asked));
    co_return client_result(std::move(got));
  } catch (const client_error& error) {
    failure.emplace(error);
  }
  co_return tl::unexpected<client_error>(std::move(*failure));
}

std::size_t client::idle_count() const noexcept { return state_->pool->idle_count(); }
std::size_t client::connection_count() const noexcept { return state_->pool->open_count(); }
void client::set_address(std::string_view host, std::uint16_t port, std::string_view address) {
  state_->own.set_address(host, port, address);
}

}  // namespace rill::http
