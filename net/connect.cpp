// The race of connection attempts. See connect.h; section numbers are those of RFC 8305.
#include <rill/net/connect.h>

#include <algorithm>
#include <optional>
#include <vector>

#include <rill/runtime/combine.h>
#include <rill/runtime/nursery.h>
#include <rill/runtime/sleep.h>
#include <rill/runtime/timeout.h>

namespace rill {

namespace {

/// Attempts that an error lists; of the others it gives the number.
constexpr std::size_t listed_count_max = 8;

class failed_attempt {
 public:
  failed_attempt(const endpoint& where, std::error_code why) : to(where), code(why) {}
  failed_attempt(const endpoint& where, const io_error& why) : to(where), code(why.code()) {
    if (why.operation() == "connect") return;
    step = why.operation();
    if (why.subject() != where.to_string()) step += ' ' + why.subject();
  }
  /// "127.0.0.1:80", or "127.0.0.1:80: bind 10.0.0.1:0" if it was not the connecting that failed.
  std::string subject() const {
    return step.empty() ? to.to_string() : to.to_string() + ": " + step;
  }

  endpoint to;
  std::error_code code;
  std::string step;
};

/// False for failures that only say that there is no way to the address, mostly known to this
/// machine by itself, such as that it has no IPv6.
bool is_telling(const failed_attempt& failed) {
  const std::error_code& code = failed.code;
  return code != std::errc::network_unreachable && code != std::errc::address_not_available &&
         code != std::errc::address_family_not_supported && code != std::errc::host_unreachable;
}

class race {
 public:
  race(std::string host, connect_options options)
      : host_(std::move(host)),
        options_(options),
        deadline_(loop::current().deadline_in(options.timeout.count())),
        fresh_(),
        resolver_(options.with) {
    if (resolver_ == nullptr) resolver_ = &fresh_.emplace();
    options_.attempt_delay = std::max<std::chrono::nanoseconds>(options_.attempt_delay,
                                                                connect_options::attempt_delay_min);
  }

  task<void> run(service to);
  loop_clock::time_point deadline() const noexcept {
    return loop_clock::time_point(loop_clock::duration(deadline_));
  }
  bool is_won() const noexcept { return winner_.has_value(); }
  tcp_stream take_winner() { return std::move(*winner_); }
  [[noreturn]] void fail(bool timed_out);

 private:
  task<void> look_up();
  task<void> attempt(endpoint to);
  std::optional<endpoint> next_endpoint() const;
  loop_clock::time_point next_start();
  bool fits_local(const address& ip) const;

  std::string host_;
  connect_options options_;
  std::int64_t deadline_;  // of everything
  std::optional<resolver> fresh_;
  resolver* resolver_;
  std::string port_text_;
  std::uint16_t port_ = 0;
  detail::lookup lookup_;  // its event tells of the attempts too
  std::error_code lookup_failure_;
  bool looked_up_ = false;
  std::vector<endpoint> begun_;  // attempts, in the order of beginning
  std::vector<failed_attempt> failed_;
  bool last_failed_ = false;  // since the last attempt began, one has failed
  loop_clock::time_point last_start_{};
  std::optional<loop_clock::time_point> first_address_;  // when it was noticed
  std::optional<tcp_stream> winner_;
};

bool race::fits_local(const address& ip) const {
  const std::optional<ip_endpoint> local = options_.connection.local.ip();
  return !local || local->address().family() == ip.family();
}

/// The best address that was not tried yet. Ordered anew each time: answers may have come.
std::optional<endpoint> race::next_endpoint() const {
  for (const address& ip : detail::order_addresses(lookup_.found, options_.families)) {
    const endpoint candidate(ip, port_);
    if (!fits_local(ip)) continue;
    if (std::find(begun_.begin(), begun_.end(), candidate) == begun_.end()) return candidate;
  }
  return std::nullopt;
}

/// When the next attempt may begin, which may be in the past.
loop_clock::time_point race::next_start() {
  if (!begun_.empty()) {
    if (last_failed_) return last_start_;
    return loop_clock::after(last_start_, options_.attempt_delay);
  }
  // Section 3: IPv6 starts at once, IPv4 gives it a moment to arrive.
  const loop_clock::time_point now = loop_clock::now();
  if (!first_address_) first_address_ = now;
  const bool may_wait = lookup_.ipv6_pending && options_.families == family_preference::both &&
                        std::none_of(lookup_.found.begin(), lookup_.found.end(),
                                     [](const address& ip) { return ip.is_v6(); });
  return may_wait ? *first_address_ + connect_options::resolution_delay : now;
}

task<void> race::look_up() {
  resolve_options options;
  // Each server's share is computed from it.
  options.limit = std::min<std::chrono::nanoseconds>(options.limit, deadline() - loop_clock::now());
  options.families = options_.families;
  if (const auto local = options_.connection.local.ip()) {
    options.families =
        local->address().is_v4() ? family_preference::ipv4_only : family_preference::ipv6_only;
  }
  lookup_failure_ = co_await resolver_->look_up(host_, options, lookup_);
  looked_up_ = true;
  lookup_.changed.set();
}

task<void> race::attempt(endpoint to) {
  try {
    tcp_stream stream = co_await tcp_stream::connect(to, options_.connection);
    if (!winner_) winner_.emplace(std::move(stream));
  } catch (const io_error& failure) {
    failed_.emplace_back(to, failure);
    last_failed_ = true;
  }
  lookup_.changed.set();
}

task<void> race::run(service to) {
  port_text_ = to.text();
  port_ = co_await resolver_->port_of(std::move(to));
  co_await with_nursery([&](nursery& tasks) -> task<void> {
    tasks.start([this] { return look_up(); });
    while (!winner_) {
      lookup_.changed.reset();
      const std::optional<endpoint> next = next_endpoint();
      if (!next) {
        if (looked_up_ && failed_.size() == begun_.size()) break;
        co_await lookup_.changed.wait();
        continue;
      }
      const loop_clock::time_point start = next_start();
      if (start > loop_clock::now()) {
        co_await any_of(lookup_.changed.wait(), sleep_until(start));
        continue;
      }
      begun_.push_back(*next);
      last_failed_ = false;
      last_start_ = loop_clock::now();
      tasks.start([this](const endpoint& where) { return attempt(where); }, *next);
    }
    tasks.cancel();
  });
}

void race::fail(bool timed_out) {
  if (timed_out) {
    for (const endpoint& each : begun_) {
      const bool is_known = std::any_of(failed_.begin(), failed_.end(),
                                        [&](const failed_attempt& f) { return f.to == each; });
      if (!is_known) failed_.emplace_back(each, std::make_error_code(std::errc::timed_out));
    }
  } else if (failed_.empty()) {
    if (!lookup_failure_) lookup_failure_ = resolve_error::no_address;  // of local's family
    throw io_error(lookup_failure_, "resolve", detail::printable_name(host_));
  }
  // Nothing was begun in all that time: it is the look-up that gave no address.
  if (failed_.empty()) throw timeout_error("resolve", detail::printable_name(host_));
  const std::string name = detail::printable_name(host_) + ':' + port_text_;
  // The last one gives the code. Not std::stable_partition: clang warns about libstdc++ 12's.
  std::vector<failed_attempt> ordered;
  for (const bool telling : {false, true}) {
    for (const failed_attempt& each : failed_) {
      if (is_telling(each) == telling) ordered.push_back(each);
    }
  }
  const failed_attempt last = ordered.back();
  ordered.pop_back();
  std::string subject;
  if (!ordered.empty()) {
    subject = name + ": ";
    const std::size_t omitted_count =
        ordered.size() - std::min(ordered.size(), listed_count_max - 1);
    if (omitted_count != 0) subject += std::to_string(omitted_count) + " others; ";
    for (std::size_t i = omitted_count; i != ordered.size(); ++i) {
      subject += ordered[i].subject() + ": " + ordered[i].code.message() + "; ";
    }
  }
  subject += last.subject();
  if (timed_out) throw timeout_error("connect", subject);
  throw io_error(last.code, "connect", subject);
}

}  // namespace

task<tcp_stream> connect(std::string host, service to, connect_options options) {
  race attempts(std::move(host), options);
  bool timed_out = false;
  try {
    co_await with_deadline(attempts.deadline(), attempts.run(std::move(to)));
  } catch (const timeout_error&) {
    timed_out = true;
  }
  if (!attempts.is_won()) attempts.fail(timed_out);
  co_return attempts.take_winner();
}

}  // namespace rill
