// resolver: from a host name to the endpoints that a program can connect or bind to.
// Local answers first, then the hosts file, then DNS through the loop's own sockets: every query
// can be cancelled, is limited in time and replays under simulation. Not here: what bytes mean
// (dns_message.h), what resolv.conf says (resolver_config.h), connecting (connect.h).
// Read next: resolver.cpp, from top to bottom the way of one look-up.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <rill/net/address.h>
#include <rill/net/endpoint.h>
#include <rill/net/resolve_error.h>
#include <rill/net/resolver_config.h>
#include <rill/runtime/event.h>
#include <rill/runtime/file.h>
#include <rill/runtime/task.h>

namespace rill {

/// A port, by number or by its name in /etc/services: `80`, `"80"`, `"http"`. Implicit: whatever
/// takes a service takes each of these.
class service {
 public:
  template <std::integral Number>
    requires(!std::same_as<Number, bool>)
  service(Number port) : text_(std::to_string(port)) {
    if (std::in_range<std::uint16_t>(port)) port_ = static_cast<std::uint16_t>(port);
  }
  service(std::string_view text);
  service(const char* text) : service(std::string_view(text)) {}
  service(const std::string& text) : service(std::string_view(text)) {}

  /// The number; nothing for a name, and for what is neither.
  std::optional<std::uint16_t> port() const noexcept { return port_; }
  /// As it was given.
  const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
  std::optional<std::uint16_t> port_;
};

/// Which addresses are asked for, and which of them comes first.
enum class family_preference : std::uint8_t {
  both,        ///< in the order of RFC 6724 and RFC 8305: native IPv6 first, then alternating
  ipv4_first,  ///< both, beginning with IPv4
  ipv4_only,
  ipv6_only,
};

/// Where a resolver gets its knowledge from. A path that is empty is a file that is not read.
class resolver_options {
 public:
  resolver_options() {}

  /// Instead of resolv.conf: name servers, with their ports, and the rest.
  std::optional<resolver_config> config;
  std::string resolv_conf_path = "/etc/resolv.conf";
  std::string hosts_path = "/etc/hosts";
  std::string services_path = "/etc/services";
  /// How long one query waits for its reply, instead of the configuration's whole seconds; 0: as
  /// the configuration says.
  std::chrono::nanoseconds query_timeout{0};
};

class resolver;

/// One look-up.
struct resolve_options {
  /// Of the whole look-up: all names, servers and repetitions together. With glibc's defaults three
  /// silent servers keep a program waiting for 30 s; hardly anybody waits that long.
  static constexpr std::chrono::seconds limit_default{10};

  std::chrono::nanoseconds limit = limit_default;
  family_preference families = family_preference::both;
  /// Who is asked; must outlive the look-up. nullptr: a resolver with default options, which reads
  /// its files anew.
  resolver* with = nullptr;
};
static_assert(std::is_trivially_destructible_v<resolve_options>);

namespace detail {

/// A look-up in progress, for those who need not wait for its end: connecting begins with the
/// first answer.
class lookup {
 public:
  /// In the order of arrival, of both families.
  std::vector<address> found;
  /// The question for these addresses is still open, and may yet add some.
  bool ipv4_pending = false;
  bool ipv6_pending = false;
  /// Set at every change.
  event changed;

  void add(std::span<const address> addresses, family_preference families);
};

/// `addresses` in the order in which connecting should try them, without repetitions.
std::vector<address> order_addresses(std::span<const address> addresses,
                                     family_preference families);

/// Names as part of an error: what would confuse a log is written `\xNN`, what is too long is cut.
std::string printable_name(std::string_view name);

struct question_plan;

}  // namespace detail

/// Looks up names, and keeps what it has read of resolv.conf, hosts and services: their status is
/// asked at every look-up that needs them, and they are read again when it has changed. Replies
/// are not kept; that is a name server's work.
///
/// The order: IP addresses, `localhost`, `.invalid` and `.onion` are answered on the spot without
///   any input or output (RFC 6761, RFC 7686); then the hosts file; then the name servers, for each
///   name that the search list gives, A and AAAA at once. A server that is silent or says it cannot
///   tell is followed by the next; a reply that does not fit in a datagram is asked for over TCP.
///   Once one of the two questions has found addresses the other is not repeated.
/// Time: a query waits as long as the configuration says, but no longer than its share of what is
///   left of the limit, so that every server is asked within it.
/// Security: each query has a socket, and so a source port, of its own, and an unpredictable id;
///   what comes from elsewhere or answers another question is ignored (RFC 5452).
/// Thread rule: one loop at a time. Concurrency: any number of look-ups at once.
class resolver {
 public:
  explicit resolver(resolver_options options = resolver_options());
  resolver(const resolver&) = delete;
  resolver& operator=(const resolver&) = delete;
  ~resolver();

  /// The endpoints of `host` with the port of `to`, in the order in which to try them; never empty.
  /// `options.with` is not looked at.
  ///
  /// Errors: io_error "resolve HOST: ..." with a code of category "resolve": name_not_found,
  ///   no_address (of the families asked for), no_answer (servers silent, unreachable, or the
  ///   limit reached), server_failure, invalid_name. A service that nobody knows is
  ///   std::errc::invalid_argument, "resolve service NAME: Invalid argument". When descriptors or
  ///   memory are short: that errno.
  /// Cancellation: at any time; queries are withdrawn and their sockets closed.
  /// Cost: for a name, a file's status or two; a socket, a task and about 5 KiB for each query.
  [[nodiscard]] task<std::vector<endpoint>> resolve(std::string host, service to,
                                                    resolve_options options = resolve_options());

  /// For connect(): puts addresses into `into` as they arrive. An error code when there are none.
  [[nodiscard]] task<std::error_code> look_up(const std::string& host, resolve_options options,
                                              detail::lookup& into);
  /// The number of a service. Throws as resolve().
  [[nodiscard]] task<std::uint16_t> port_of(service named);

 private:
  /// A file and what it was like when it was last read.
  class known_file {
   public:
    explicit known_file(std::string where) : path(std::move(where)) {}
    std::string path;
    file_status status{};
    bool is_read = false;
  };

  task<std::optional<std::string>> read_if_changed(known_file& about, std::size_t size_max);
  task<void> refresh_hosts();
  task<resolver_config> current_config();
  task<std::error_code> search(const std::string& host, family_preference families,
                               std::int64_t deadline, detail::lookup& into);
  task<std::error_code> ask_for(const detail::question_plan& plan, const std::string& name,
                                family_preference families, detail::lookup& into);

  resolver_options options_;
  known_file resolv_conf_;
  known_file hosts_;
  known_file services_;
  resolver_config config_;
  hosts_table host_addresses_;
  std::unordered_map<std::string, std::uint16_t> service_ports_;
  std::size_t look_up_count_ = 0;  // for `rotate`
};

/// Looks up `host` with `options.with`, or a resolver of its own: see resolver::resolve.
/// Example: `for (const rill::endpoint& to : co_await rill::resolve("example.org", "https"))`
[[nodiscard]] task<std::vector<endpoint>> resolve(std::string host, service to,
                                                  resolve_options options = resolve_options());

}  // namespace rill
