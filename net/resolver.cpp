// The way of one look-up: files, names, questions, servers, one query. See resolver.h.
// Read next: dns_message.cpp, which says what a reply means.
#include <rill/net/resolver.h>

#include <algorithm>
#include <array>
#include <charconv>

#include <rill/net/dns_message.h>
#include <rill/net/tcp.h>
#include <rill/net/text.h>
#include <rill/net/udp.h>
#include <rill/runtime/combine.h>
#include <rill/runtime/loop.h>
#include <rill/runtime/timeout.h>

namespace rill {

namespace {

/// /etc/services has 12 KiB on Debian; its full-grown forms elsewhere reach 700 KiB.
constexpr std::size_t services_size_max = 2 * 1024 * 1024;
/// Room for a reply over UDP: some servers send more than they were offered.
constexpr std::size_t datagram_size_max = 4096;
/// Characters of a host name that are repeated in an error.
constexpr std::size_t printed_size_max = 260;

bool wants(family_preference families, const address& ip) {
  return families != (ip.is_v4() ? family_preference::ipv6_only : family_preference::ipv4_only);
}

/// The lines of /etc/services: "http 80/tcp www". Where protocols differ, TCP's number counts.
std::unordered_map<std::string, std::uint16_t> parse_services(std::string_view text) {
  std::unordered_map<std::string, std::uint16_t> tcp;
  std::unordered_map<std::string, std::uint16_t> others;
  while (!text.empty()) {
    std::string_view line = detail::take_line(text);
    line = line.substr(0, line.find('#'));
    std::vector<std::string_view> words;
    while (true) {
      const std::string_view word = detail::take_word(line);
      if (word.empty()) break;
      words.push_back(word);
    }
    if (words.size() < 2) continue;
    std::uint16_t port = 0;
    const std::string_view number = words[1];
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), port);
    const std::string_view protocol =
        number.substr(static_cast<std::size_t>(parsed.ptr - number.data()));
    if (parsed.ec != std::errc() || !protocol.starts_with('/')) continue;
    words.erase(words.begin() + 1);
    auto& table = protocol == "/tcp" ? tcp : others;
    for (const std::string_view name : words) table.try_emplace(std::string(name), port);
  }
  tcp.merge(others);
  return tcp;
}

}  // namespace

service::service(std::string_view text) : text_(text) {
  std::uint16_t port = 0;
  const char* const end = text_.data() + text_.size();
  const auto parsed = std::from_chars(text_.data(), end, port);
  if (parsed.ec == std::errc() && parsed.ptr == end) port_ = port;
}

// ---------------------------------------------------------------- one query

namespace detail {

/// What all questions of a look-up share.
struct question_plan {
  loop& on;
  std::vector<ip_endpoint> servers;  // in the order of asking
  unsigned attempt_count;
  std::chrono::nanoseconds query_timeout;
  std::int64_t deadline;  // of the look-up
  bool use_tcp;
};

namespace {

std::uint16_t random_id(loop& on) {
  std::array<std::byte, 2> bytes{};
  on.kernel().random(bytes);
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[0]) << 8 |
                                    std::to_integer<unsigned>(bytes[1]));
}

bool is_ours(const dns::reply& came) {
  return came.kind() != dns::reply_kind::not_ours && came.kind() != dns::reply_kind::malformed;
}

/// One query over UDP. The socket is connected: the kernel drops what others than the server send
/// and reports its "port unreachable". Ends with a reply to this question, or an exception; the
/// caller limits the time.
task<dns::reply> ask_over_udp(loop& on, ip_endpoint server, std::string name, dns::record_type type,
                              std::size_t payload_size) {
  const dns::question asked(name, type, random_id(on));
  const std::vector<std::byte> query = dns::build_query(asked, payload_size).value();
  udp_socket socket = udp_socket::open(server.address().family());
  const endpoint to(server);
  co_await socket.connect(to);
  // As replies will name it: a server of 0.0.0.0 has become 127.0.0.1.
  const endpoint peer = socket.peer();
  co_await socket.send(query);
  std::vector<std::byte> buffer(datagram_size_max);
  while (true) {
    const datagram_info came = co_await socket.recv_from(buffer);
    if (came.peer() != peer) continue;
    dns::reply answer = dns::parse_reply(std::span(buffer).first(came.size()), asked);
    if (is_ours(answer)) co_return answer;
    // What was cut off here is cut off all the same; TCP has room for it.
    if (answer.kind() == dns::reply_kind::malformed && came.is_truncated()) {
      co_return dns::reply(dns::reply_kind::truncated);
    }
  }
}

/// The same over TCP, where a length of two bytes stands before each message (RFC 7766 section 8).
task<dns::reply> ask_over_tcp(loop& on, ip_endpoint server, std::string name, dns::record_type type,
                              std::size_t payload_size) {
  const dns::question asked(name, type, random_id(on));
  std::vector<std::byte> query = dns::build_query(asked, payload_size).value();
  const std::array<std::byte, 2> length{static_cast<std::byte>(query.size() >> 8),
                                        static_cast<std::byte>(query.size() & 0xff)};
  query.insert(query.begin(), length.begin(), length.end());
  tcp_stream stream = co_await tcp_stream::connect(endpoint(server));
  co_await stream.write_all(query);
  while (true) {
    std::array<std::byte, 2> prefix{};
    bool complete = co_await stream.read_exactly(prefix);
    std::vector<std::byte> message;
    if (complete) {
      message.resize(std::to_integer<std::size_t>(prefix[0]) << 8 |
                     std::to_integer<std::size_t>(prefix[1]));
      complete = co_await stream.read_exactly(message);
    }
    if (!complete) {
      throw io_error(std::make_error_code(std::errc::connection_reset), "read", server.to_string());
    }
    dns::reply answer = dns::parse_reply(message, asked);
    if (is_ours(answer)) co_return answer;
  }
}

/// Asks one server until it has said something: over TCP after truncation, and without EDNS0 if it
/// does not know that. At most four queries.
task<dns::reply> ask_server(loop& on, ip_endpoint server, std::string name, dns::record_type type,
                            bool use_tcp) {
  std::size_t payload_size = dns::udp_payload_size;
  while (true) {
    dns::reply answer(dns::reply_kind::not_ours);
    if (use_tcp) {
      answer = co_await ask_over_tcp(on, server, name, type, payload_size);
    } else {
      answer = co_await ask_over_udp(on, server, name, type, payload_size);
    }
    if (answer.kind() == dns::reply_kind::truncated && !use_tcp) {
      use_tcp = true;
    } else if (answer.kind() == dns::reply_kind::server_failure &&
               answer.response_code() == dns::response_format_error && payload_size != 0) {
      payload_size = 0;
    } else {
      co_return answer;
    }
  }
}

/// How long the next query may wait: `left` more are to come before the deadline.
std::chrono::nanoseconds share_of(const question_plan& plan, std::size_t left) {
  const std::int64_t remaining = std::max<std::int64_t>(plan.deadline - plan.on.now, 0);
  const std::chrono::nanoseconds share(remaining / static_cast<std::int64_t>(left));
  return std::min(plan.query_timeout, share);
}

/// Asks one question of the servers in turn until one knows. The addresses go into `into`; the
/// result says why there are none.
task<std::error_code> ask_servers(const question_plan& plan, std::string name,
                                  dns::record_type type, lookup& into) {
  std::error_code outcome = make_error_code(resolve_error::no_answer);
  std::vector<ip_endpoint> servers = plan.servers;
  for (unsigned attempt = 0; attempt != plan.attempt_count; ++attempt) {
    for (std::size_t i = 0; i != servers.size();) {
      const bool is_first = attempt == 0 && i == 0;
      if (!is_first && !into.found.empty()) co_return outcome;  // by the other question
      const std::size_t left = (plan.attempt_count - attempt) * servers.size() - i;
      dns::reply answer(dns::reply_kind::not_ours);
      try {
        answer = co_await with_timeout(share_of(plan, left),
                                       ask_server(plan.on, servers[i], name, type, plan.use_tcp));
      } catch (const io_error& failure) {  // silent, unreachable, or gone in mid-sentence
        if (is_shortage(failure.code())) co_return failure.code();
      }
      const dns::reply_kind kind = answer.kind();
      if (kind == dns::reply_kind::addresses) {
        into.add(answer.addresses(), family_preference::both);
        co_return std::error_code();
      }
      if (kind == dns::reply_kind::name_not_found) co_return resolve_error::name_not_found;
      if (kind == dns::reply_kind::no_data) co_return resolve_error::no_address;
      if (kind == dns::reply_kind::not_ours) {
        ++i;
      } else {  // it cannot tell, and would say so again
        outcome = resolve_error::server_failure;
        servers.erase(servers.begin() + static_cast<std::ptrdiff_t>(i));
      }
    }
  }
  co_return outcome;
}

/// ask_servers for one family, and the note that its question is no longer open.
task<std::error_code> ask_family(const question_plan& plan, std::string name, bool ipv6,
                                 lookup& into) {
  const dns::record_type type = ipv6 ? dns::record_type::aaaa : dns::record_type::a;
  const std::error_code outcome = co_await ask_servers(plan, std::move(name), type, into);
  (ipv6 ? into.ipv6_pending : into.ipv4_pending) = false;
  into.changed.set();
  co_return outcome;
}

/// Of what two questions, or two names, have said without an address, the less certain: that a
/// name does not exist is claimed only when all say so.
std::error_code less_certain(const std::error_code& one, const std::error_code& other) {
  for (const std::error_code& each : {one, other}) {
    if (each && each.category() != resolve_category()) return each;
  }
  for (const resolve_error each :
       {resolve_error::no_answer, resolve_error::server_failure, resolve_error::no_address}) {
    if (one == each || other == each) return each;
  }
  return resolve_error::name_not_found;
}

}  // namespace

void lookup::add(std::span<const address> addresses, family_preference families) {
  for (const address& ip : addresses) {
    if (wants(families, ip)) found.push_back(ip);
  }
  changed.set();
}

std::vector<address> order_addresses(std::span<const address> addresses,
                                     family_preference families) {
  std::vector<address> ordered = dns::order_destinations(addresses);
  if (families != family_preference::ipv4_first) return ordered;
  // Alternating already, so that changing places in pairs keeps it so.
  std::vector<address> first;
  std::vector<address> second;
  for (const address& ip : ordered) (ip.is_v4() ? first : second).push_back(ip);
  ordered.clear();
  for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) ordered.push_back(first[i]);
    if (i < second.size()) ordered.push_back(second[i]);
  }
  return ordered;
}

std::string printable_name(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, printed_size_max)) {
    if (c > ' ' && c <= '~' && c != '\\') {
      text += c;
    } else {
      append_escaped(text, c);
    }
  }
  if (name.size() > printed_size_max) text += "...";
  return text.empty() ? "\"\"" : text;
}

}  // namespace detail

// ---------------------------------------------------------------- files

resolver::resolver(resolver_options options)
    : options_(std::move(options)),
      resolv_conf_(options_.resolv_conf_path),
      hosts_(options_.hosts_path),
      services_(options_.services_path) {}

resolver::~resolver() = default;

/// The text of a file, at most size_max + 1 bytes of it, if it is not as it was when last read. A
/// file that cannot be read counts as empty, as in every resolver.
task<std::optional<std::string>> resolver::read_if_changed(known_file& about,
                                                           std::size_t size_max) {
  std::string text;
  file_status status{};
  try {
    if (!about.path.empty()) {
      file source = co_await file::open(about.path);
      status = co_await source.stat();
      const bool is_same = about.is_read && status.inode == about.status.inode &&
                           status.device == about.status.device &&
                           status.size == about.status.size &&
                           status.modified == about.status.modified;
      if (is_same) co_return std::nullopt;
      text.resize(static_cast<std::size_t>(std::min<std::uint64_t>(status.size, size_max + 1)));
      const auto room = std::as_writable_bytes(std::span<char>(text));
      const std::size_t size = co_await source.read_all_at(room, 0);
      text.resize(size);
    }
  } catch (const io_error&) {
    text.clear();
    status = file_status{};
  }
  about.status = status;
  about.is_read = true;
  co_return text;
}

task<void> resolver::refresh_hosts() {
  const std::optional<std::string> text =
      co_await read_if_changed(hosts_, hosts_table::text_size_max);
  if (text) host_addresses_ = hosts_table::parse(*text).value_or(hosts_table());
}

/// A copy: a look-up keeps to the configuration with which it began.
task<resolver_config> resolver::current_config() {
  if (options_.config) co_return *options_.config;
  const std::optional<std::string> text =
      co_await read_if_changed(resolv_conf_, resolver_config::text_size_max);
  if (text) config_ = resolver_config::parse(*text);
  co_return config_;
}

task<std::uint16_t> resolver::port_of(service named) {
  if (named.port()) co_return *named.port();
  const bool is_name = named.text().find_first_not_of("0123456789") != std::string::npos;
  if (is_name) {
    const std::optional<std::string> text = co_await read_if_changed(services_, services_size_max);
    if (text) service_ports_ = parse_services(*text);
    const auto found = service_ports_.find(named.text());
    if (found != service_ports_.end()) co_return found->second;
  }
  throw io_error(std::make_error_code(std::errc::invalid_argument), "resolve",
                 "service " + detail::printable_name(named.text()));
}

// ---------------------------------------------------------------- names

/// Asks for A and AAAA of one name at once.
task<std::error_code> resolver::ask_for(const detail::question_plan& plan, const std::string& name,
                                        family_preference families, detail::lookup& into) {
  // Names under .onion, which a search list can make.
  const auto query = dns::build_query(dns::question(name, dns::record_type::a, 0));
  if (!query) co_return query.error();
  std::vector<task<std::error_code>> questions;
  into.ipv6_pending = families != family_preference::ipv4_only;
  into.ipv4_pending = families != family_preference::ipv6_only;
  if (into.ipv6_pending) questions.push_back(detail::ask_family(plan, name, true, into));
  if (into.ipv4_pending) questions.push_back(detail::ask_family(plan, name, false, into));
  const std::vector<std::error_code> outcomes = co_await all_of(std::move(questions));
  if (!into.found.empty()) co_return std::error_code();
  co_return detail::less_certain(outcomes.front(), outcomes.back());
}

/// Hosts file and name servers, for each name of the search list until one exists.
task<std::error_code> resolver::search(const std::string& host, family_preference families,
                                       std::int64_t deadline, detail::lookup& into) {
  loop& on = loop::current();
  co_await refresh_hosts();
  into.add(host_addresses_.find(host), families);
  if (!into.found.empty()) co_return std::error_code();

  const resolver_config config = co_await current_config();
  detail::question_plan plan{on,       config.name_servers, config.attempt_count, config.timeout,
                             deadline, config.use_tcp};
  if (options_.query_timeout.count() > 0) plan.query_timeout = options_.query_timeout;
  if (config.rotate && !plan.servers.empty()) {
    const auto first = static_cast<std::ptrdiff_t>(look_up_count_++ % plan.servers.size());
    std::rotate(plan.servers.begin(), plan.servers.begin() + first, plan.servers.end());
  }
  const auto names = dns::candidate_names(host, config);
  if (!names) co_return names.error();
  std::error_code outcome = resolve_error::name_not_found;
  for (const std::string& name : *names) {
    const std::error_code said = co_await ask_for(plan, name, families, into);
    if (!said) co_return said;
    outcome = detail::less_certain(outcome, said);
    // Without an answer the next name would only cost the same time, and its addresses would be
    // another host's.
    if (said == resolve_error::no_answer || said.category() != resolve_category()) break;
  }
  co_return outcome;
}

task<std::error_code> resolver::look_up(const std::string& host, resolve_options options,
                                        detail::lookup& into) {
  std::error_code outcome;
  if (const auto local = dns::answer_locally(host)) {
    if (!*local) co_return local->error();
    into.add(**local, options.families);
  } else {
    const std::int64_t deadline =
        detail::deadline_after(loop::current().now, options.limit.count());
    try {
      outcome =
          co_await with_timeout(options.limit, search(host, options.families, deadline, into));
    } catch (const timeout_error&) {
      outcome = resolve_error::no_answer;
    }
  }
  into.ipv4_pending = false;
  into.ipv6_pending = false;
  into.changed.set();
  // What has come before the limit, or before one of two questions failed, is an answer.
  if (!into.found.empty()) co_return std::error_code();
  if (!outcome) outcome = resolve_error::no_address;
  co_return outcome;
}

task<std::vector<endpoint>> resolver::resolve(std::string host, service to,
                                              resolve_options options) {
  const std::uint16_t port = co_await port_of(std::move(to));
  detail::lookup state;
  const std::error_code failure = co_await look_up(host, options, state);
  if (failure) throw io_error(failure, "resolve", detail::printable_name(host));
  std::vector<endpoint> endpoints;
  for (const address& ip : detail::order_addresses(state.found, options.families)) {
    endpoints.emplace_back(ip, port);
  }
  co_return endpoints;
}

task<std::vector<endpoint>> resolve(std::string host, service to, resolve_options options) {
  if (options.with != nullptr) {
    co_return co_await options.with->resolve(std::move(host), std::move(to), options);
  }
  resolver fresh;
  co_return co_await fresh.resolve(std::move(host), std::move(to), options);
}

}  // namespace rill
