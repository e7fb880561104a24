// Readers of resolv.conf and hosts, and the rules between a host name and its questions.
// Read next: dns_message.cpp, which asks.
#include <rill/net/resolver_config.h>

#include <algorithm>
#include <array>
#include <charconv>

#include <rill/net/dns_message.h>
#include <rill/net/resolve_error.h>
#include <rill/net/text.h>

namespace rill {
namespace {

using detail::take_line;
using detail::take_word;

/// A host name without the dot at its end.
std::string_view without_final_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

/// True for `domain` itself and every name under it; both normalized.
bool is_within(std::string_view name, std::string_view domain) {
  if (!name.ends_with(domain)) return false;
  name.remove_suffix(domain.size());
  return name.empty() || name.ends_with('.');
}

std::optional<ip_endpoint> parse_name_server(std::string_view text,
                                             interface_index_function interface_index) {
  if (const auto plain = address::parse(text, interface_index)) {
    return ip_endpoint(*plain, resolver_config::name_server_port);
  }
  if (const auto with_port = ip_endpoint::parse(text, interface_index)) return *with_port;
  return std::nullopt;
}

/// The number behind `prefix` in an option such as "ndots:2", at most `max`; nothing when `option`
/// is another option or no number follows.
std::optional<unsigned> option_value(std::string_view option, std::string_view prefix,
                                     unsigned max) {
  if (!option.starts_with(prefix)) return std::nullopt;
  option.remove_prefix(prefix.size());
  unsigned value = 0;
  const char* const option_end = option.data() + option.size();
  const auto [end, error] = std::from_chars(option.data(), option_end, value);
  if (end != option_end || option.empty() || error == std::errc::invalid_argument) {
    return std::nullopt;
  }
  return error == std::errc::result_out_of_range ? max : std::min(value, max);
}

void read_option(std::string_view option, resolver_config& config) {
  const auto timeout_max = static_cast<unsigned>(resolver_config::timeout_max.count());
  if (const auto dots = option_value(option, "ndots:", resolver_config::dot_count_limit)) {
    config.dot_count_min = *dots;
  } else if (const auto seconds = option_value(option, "timeout:", timeout_max)) {
    config.timeout = std::chrono::seconds(std::max(*seconds, 1U));
  } else if (const auto attempts =
                 option_value(option, "attempts:", resolver_config::attempt_count_max)) {
    config.attempt_count = std::max(*attempts, 1U);
  } else if (option == "rotate") {
    config.rotate = true;
  } else if (option == "use-vc") {
    config.use_tcp = true;
  }
}

/// The domains in `words`. A single dot, the root, stands for an empty search list: systemd writes
/// "search ." when it knows no domain.
std::vector<std::string> read_search(std::string_view words, std::size_t count_max) {
  std::vector<std::string> search;
  for (std::string_view word = take_word(words); !word.empty(); word = take_word(words)) {
    if (search.size() == count_max) break;
    auto domain = dns::normalize_name(word);
    if (domain) search.push_back(std::move(*domain));
  }
  return search;
}

}  // namespace

resolver_config::resolver_config()
    : name_servers(1, ip_endpoint(address::loopback_v4(), name_server_port)) {}

resolver_config resolver_config::parse(std::string_view text,
                                       interface_index_function interface_index) {
  resolver_config config;
  std::vector<ip_endpoint> servers;
  text = text.substr(0, text_size_max);
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (line.starts_with('#') || line.starts_with(';')) continue;
    const std::string_view keyword = take_word(line);
    if (keyword == "nameserver") {
      const auto server = parse_name_server(take_word(line), interface_index);
      if (server && servers.size() < name_server_count_max) servers.push_back(*server);
    } else if (keyword == "search") {
      config.search = read_search(line, search_count_max);
    } else if (keyword == "domain") {
      config.search = read_search(take_word(line), 1);
    } else if (keyword == "options") {
      for (std::string_view option = take_word(line); !option.empty(); option = take_word(line)) {
        read_option(option, config);
      }
    }
  }
  if (!servers.empty()) config.name_servers = std::move(servers);
  return config;
}

hosts_table::hosts_table() = default;

tl::expected<hosts_table, std::error_code> hosts_table::parse(
    std::string_view text, interface_index_function interface_index) {
  if (text.size() > text_size_max) {
    return tl::make_unexpected(std::make_error_code(std::errc::file_too_large));
  }
  hosts_table table;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    line = line.substr(0, line.find('#'));
    const std::string_view address_text = take_word(line);
    if (address_text.empty()) continue;
    const auto ip = address::parse(address_text, interface_index);
    if (!ip) continue;
    for (std::string_view name = take_word(line); !name.empty(); name = take_word(line)) {
      name = without_final_dot(name);
      if (name.empty() || name.size() > dns::name_size_max) continue;
      auto& known = table.addresses_[dns::to_lower_ascii(name)];
      if (known.size() == address_count_max) continue;
      if (std::find(known.begin(), known.end(), *ip) == known.end()) known.push_back(*ip);
    }
  }
  return table;
}

std::vector<address> hosts_table::find(std::string_view name) const {
  const auto found = addresses_.find(dns::to_lower_ascii(without_final_dot(name)));
  if (found == addresses_.end()) return {};
  return found->second;
}

namespace dns {
namespace {

tl::unexpected<std::error_code> failure(resolve_error error) {
  return tl::make_unexpected(make_error_code(error));
}

/// A row of the policy table in RFC 6724 section 2.1.
struct policy {
  address::v6_bytes prefix;
  unsigned bit_count;
  int precedence;
};

// The rows whose precedence differs from the 40 of native IPv6, longest prefix first; ::1/128 (50)
// among them and IPv4 as ::ffff:0:0/96 (35).
constexpr std::array<policy, 8> policies{{
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, 50},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, 35},
    {{}, 96, 1},                        // ::/96, IPv4-compatible, obsolete
    {{0x20, 0x01, 0x00, 0x00}, 32, 5},  // Teredo
    {{0x20, 0x02}, 16, 30},             // 6to4
    {{0x3f, 0xfe}, 16, 1},              // 6bone, obsolete
    {{0xfe, 0xc0}, 10, 1},              // site-local, obsolete
    {{0xfc}, 7, 3},                     // unique local
}};
constexpr int precedence_ipv4 = 35;
constexpr int precedence_default = 40;

bool matches(const policy& row, std::span<const std::uint8_t> bytes) {
  for (unsigned bit = 0; bit < row.bit_count; bit += 8) {
    const unsigned wanted = std::min(row.bit_count - bit, 8U);
    const unsigned mask = (0xff00U >> wanted) & 0xffU;
    if (((bytes[bit / 8] ^ row.prefix[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

int precedence(const address& ip) {
  if (ip.is_v4()) return precedence_ipv4;
  for (const policy& row : policies) {
    if (matches(row, ip.bytes())) return row.precedence;
  }
  return precedence_default;
}

}  // namespace

std::optional<tl::expected<std::vector<address>, std::error_code>> answer_locally(
    std::string_view host, interface_index_function interface_index) {
  using answer = tl::expected<std::vector<address>, std::error_code>;
  const auto literal = address::parse(host, interface_index);
  if (literal) return answer(std::vector<address>(1, *literal));
  // An address on an interface that does not exist; no host name holds a percent sign.
  if (literal.error() == std::errc::no_such_device) {
    return answer(tl::make_unexpected(literal.error()));
  }
  const auto name = normalize_name(host);
  if (!name) return answer(tl::make_unexpected(name.error()));
  if (is_within(*name, "localhost")) {
    return answer(std::vector<address>{address::loopback_v6(), address::loopback_v4()});
  }
  if (is_within(*name, "invalid") || is_within(*name, "onion")) {
    return answer(failure(resolve_error::name_not_found));
  }
  return std::nullopt;
}

tl::expected<std::vector<std::string>, std::error_code> candidate_names(
    std::string_view host, const resolver_config& config) {
  auto name = normalize_name(host);
  if (!name) return tl::make_unexpected(name.error());
  std::vector<std::string> names;
  if (host.ends_with('.')) {
    names.push_back(std::move(*name));
    return names;
  }
  for (const std::string& domain : config.search) {
    if (auto combined = normalize_name(*name + '.' + domain)) names.push_back(std::move(*combined));
  }
  const auto dot_count = static_cast<std::size_t>(std::count(name->begin(), name->end(), '.'));
  const bool first = dot_count >= config.dot_count_min;
  names.insert(first ? names.begin() : names.end(), std::move(*name));
  return names;
}

std::vector<address> order_destinations(std::span<const address> addresses) {
  // By precedence, equals in the order given. Insertion, because clang warns about libstdc++ 12's
  // stable_sort, and there are a few dozen addresses at most.
  std::vector<address> sorted;
  for (const address& ip : addresses) {
    if (std::find(sorted.begin(), sorted.end(), ip) != sorted.end()) continue;
    const auto after_equals = std::upper_bound(
        sorted.begin(), sorted.end(), precedence(ip),
        [](int wanted, const address& placed) { return wanted > precedence(placed); });
    sorted.insert(after_equals, ip);
  }
  // Of each family the next one in turn, while both last.
  std::vector<address> ordered;
  ordered.reserve(sorted.size());
  auto best = sorted.begin();
  auto other = sorted.begin();
  while (ordered.size() < sorted.size()) {
    const auto best_family = sorted.front().family();
    best = std::find_if(best, sorted.end(),
                        [=](const address& ip) { return ip.family() == best_family; });
    if (best != sorted.end()) ordered.push_back(*best++);
    other = std::find_if(other, sorted.end(),
                         [=](const address& ip) { return ip.family() != best_family; });
    if (other != sorted.end()) ordered.push_back(*other++);
  }
  return ordered;
}

}  // namespace dns
}  // namespace rill
