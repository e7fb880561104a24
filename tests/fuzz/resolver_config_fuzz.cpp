// resolv.conf, hosts and host names: what is read keeps its limits, is what a second reader of the
// same text says, and is the same when it is written and read again. The first line is also taken
// for a host name, the whole for both files.
#include <arpa/nameser.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/input.h"
#include <rill/net/dns_message.h>
#include <rill/net/resolve_error.h>
#include <rill/net/resolver_config.h>

namespace {

using rill::address;
using rill::hosts_table;
using rill::ip_endpoint;
using rill::resolver_config;
using rill::fuzz::check;
using words = std::vector<std::string>;

std::uint32_t interface_index(const char* name) noexcept {
  return std::string_view(name) == "eth0" ? 2 : 0;
}

/// Lines, each as its words.
std::vector<words> words_of(std::string_view text, std::string_view comment_signs) {
  std::vector<words> lines(1);
  bool in_word = false;
  bool in_comment = false;
  for (const char c : text) {
    if (c == '\n') {
      lines.emplace_back();
      in_word = in_comment = false;
    } else if (in_comment || std::string_view(" \t\r\v\f").find(c) != std::string_view::npos) {
      in_word = false;
    } else if (comment_signs.find(c) != std::string_view::npos) {
      in_comment = true;
    } else {
      if (!in_word) lines.back().emplace_back();
      in_word = true;
      lines.back().back() += c;
    }
  }
  return lines;
}

// ---------------------------------------------------------------- names

bool is_normal(const std::string& name) {
  const auto again = rill::dns::normalize_name(name);
  return again && *again == name;
}

/// A query asks for the name it is made of, as glibc reads it.
void check_query(const std::string& name) {
  const rill::dns::question asked(name, rill::dns::record_type::aaaa, 0x1234);
  const auto query = rill::dns::build_query(asked);
  if (!query) {
    check(query.error() == rill::resolve_error::name_not_found && name.ends_with("onion"),
          "a normal name can be asked for, but for .onion");
    return;
  }
  ns_msg parsed;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(query->data());
  check(::ns_initparse(bytes, static_cast<int>(query->size()), &parsed) == 0,
        "glibc reads a query");
  check(ns_msg_id(parsed) == 0x1234 && ns_msg_getflag(parsed, ns_f_qr) == 0 &&
            ns_msg_getflag(parsed, ns_f_rd) == 1,
        "a query is one, and asks for recursion");
  check(ns_msg_count(parsed, ns_s_qd) == 1 && ns_msg_count(parsed, ns_s_an) == 0 &&
            ns_msg_count(parsed, ns_s_ns) == 0 && ns_msg_count(parsed, ns_s_ar) == 1,
        "a query is one question and EDNS0");
  ns_rr record;
  check(::ns_parserr(&parsed, ns_s_qd, 0, &record) == 0 && name == ns_rr_name(record) &&
            ns_rr_type(record) == ns_t_aaaa && ns_rr_class(record) == ns_c_in,
        "a query asks for its name");
  check(::ns_parserr(&parsed, ns_s_ar, 0, &record) == 0 && ns_rr_type(record) == ns_t_opt,
        "the additional record is EDNS0's");
}

void check_name(std::string_view host, const resolver_config& config) {
  const auto local = rill::dns::answer_locally(host, interface_index);
  const auto name = rill::dns::normalize_name(host);
  const auto candidates = rill::dns::candidate_names(host, config);
  check(candidates.has_value() == name.has_value(), "whatever is a name can be asked for");
  if (local && *local) check(!(*local)->empty(), "an answer has addresses");
  if (!name) {
    check(local.has_value(), "what is no name is answered on the spot");
    return;
  }
  check(is_normal(*name), "a normal name stays as it is");
  check_query(*name);
  check(!candidates->empty() && candidates->size() <= resolver_config::search_count_max + 1,
        "there is a name to ask for, and not too many");
  check(std::all_of(candidates->begin(), candidates->end(), is_normal), "candidates are normal");
  check(std::find(candidates->begin(), candidates->end(), *name) != candidates->end(),
        "the name itself is a candidate");
  const auto dots = static_cast<std::size_t>(std::count(name->begin(), name->end(), '.'));
  if (host.ends_with('.')) {
    check(candidates->size() == 1, "an absolute name is the only candidate");
  } else if (dots >= config.dot_count_min) {
    check(candidates->front() == *name, "a name with dots enough comes first");
  } else {
    check(candidates->back() == *name, "a short name comes last");
  }
}

// ---------------------------------------------------------------- resolv.conf

/// The number behind `prefix`, clamped; -1 when it is none.
int model_option(const std::string& option, const std::string& prefix, int least, int most) {
  if (!option.starts_with(prefix) || option.size() == prefix.size()) return -1;
  int value = 0;
  for (const char c : option.substr(prefix.size())) {
    if (c < '0' || c > '9') return -1;
    value = std::min(value * 10 + (c - '0'), 1000);
  }
  return std::clamp(value, least, most);
}

resolver_config model_config(std::string_view text) {
  resolver_config config;
  std::vector<ip_endpoint> servers;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view text_line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(text_line.size() + 1, rest.size()));
    // Only at its beginning does a sign make a line a comment.
    if (text_line.starts_with('#') || text_line.starts_with(';')) continue;
    const words line = words_of(text_line, "").front();
    if (line.empty()) continue;
    if (line[0] == "nameserver" && line.size() > 1) {
      if (const auto ip = address::parse(line[1], interface_index)) {
        servers.emplace_back(*ip, 53);
      } else if (const auto both = ip_endpoint::parse(line[1], interface_index)) {
        servers.push_back(*both);
      }
    } else if (line[0] == "search" || line[0] == "domain") {
      config.search.clear();
      const std::size_t most =
          line[0] == "search" ? line.size() : std::min<std::size_t>(2, line.size());
      for (std::size_t i = 1; i < most; ++i) {
        const auto name = rill::dns::normalize_name(line[i]);
        if (name && config.search.size() < 6) config.search.push_back(*name);
      }
    } else if (line[0] == "options") {
      for (std::size_t i = 1; i < line.size(); ++i) {
        const int dots = model_option(line[i], "ndots:", 0, 15);
        const int seconds = model_option(line[i], "timeout:", 1, 30);
        const int attempts = model_option(line[i], "attempts:", 1, 5);
        if (dots >= 0) config.dot_count_min = static_cast<unsigned>(dots);
        if (seconds >= 0) config.timeout = std::chrono::seconds(seconds);
        if (attempts >= 0) config.attempt_count = static_cast<unsigned>(attempts);
        if (line[i] == "rotate") config.rotate = true;
        if (line[i] == "use-vc") config.use_tcp = true;
      }
    }
  }
  servers.resize(std::min<std::size_t>(servers.size(), 3));
  if (!servers.empty()) config.name_servers = servers;
  return config;
}

std::string text_of(const resolver_config& config) {
  std::string text;
  for (const ip_endpoint& each : config.name_servers) {
    text += "nameserver " + each.to_string() + '\n';
  }
  text += "search";
  for (const std::string& each : config.search) text += ' ' + each;
  text += "\noptions ndots:" + std::to_string(config.dot_count_min) +
          " timeout:" + std::to_string(config.timeout.count()) +
          " attempts:" + std::to_string(config.attempt_count);
  if (config.rotate) text += " rotate";
  if (config.use_tcp) text += " use-vc";
  return text;
}

resolver_config check_config(std::string_view text) {
  const resolver_config config = resolver_config::parse(text, interface_index);
  check(!config.name_servers.empty() && config.name_servers.size() <= 3, "one to three servers");
  check(config.search.size() <= 6 && config.dot_count_min <= 15 && config.attempt_count >= 1 &&
            config.attempt_count <= 5 && config.timeout.count() >= 1 &&
            config.timeout.count() <= 30,
        "the limits of resolv.conf(5)");
  check(std::all_of(config.search.begin(), config.search.end(), is_normal),
        "search domains are normal names");
  const std::string said = text_of(config);
  check(said == text_of(model_config(text)), "two readers of resolv.conf agree");
  check(said == text_of(resolver_config::parse(said, interface_index)),
        "a configuration that was written is read again");
  return config;
}

// ---------------------------------------------------------------- hosts

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

void check_order(const std::vector<address>& some) {
  const std::vector<address> ordered = rill::dns::order_destinations(some);
  check(std::set<address>(some.begin(), some.end()) ==
                std::set<address>(ordered.begin(), ordered.end()) &&
            std::set<address>(ordered.begin(), ordered.end()).size() == ordered.size(),
        "every address once");
  // They alternate as long as both families last: two of one family in a row, and no other follows.
  for (std::size_t i = 1; i < ordered.size(); ++i) {
    if (ordered[i].family() != ordered[i - 1].family()) continue;
    check(std::all_of(ordered.begin() + static_cast<std::ptrdiff_t>(i), ordered.end(),
                      [&](const address& ip) { return ip.family() == ordered[i].family(); }),
          "families alternate");
    break;
  }
  check(rill::dns::order_destinations(ordered).size() == ordered.size(), "ordering loses nothing");
}

void check_hosts(std::string_view text) {
  const auto table = hosts_table::parse(text, interface_index);
  check(table.has_value(), "every small hosts file can be read");
  std::map<std::string, std::vector<address>> model;
  for (const words& line : words_of(text, "#")) {
    if (line.empty()) continue;
    const auto ip = address::parse(line[0], interface_index);
    if (!ip) continue;
    for (std::size_t i = 1; i < line.size(); ++i) {
      std::string name = rill::dns::to_lower_ascii(line[i]);
      if (name.ends_with('.')) name.pop_back();
      if (name.empty() || name.size() > 253) continue;
      std::vector<address>& known = model[name];
      const bool is_new = std::find(known.begin(), known.end(), *ip) == known.end();
      if (is_new && known.size() < hosts_table::address_count_max) known.push_back(*ip);
    }
  }
  check(table->size() == model.size(), "two readers of hosts know as many names");
  for (const auto& [name, addresses] : model) {
    // "x.." in the file is known as "x.", which only "x.." finds: no host has such a name.
    check(name.ends_with('.') || table->find(name) == addresses,
          "two readers of hosts agree on a name");
    std::string shouted = name;
    std::transform(shouted.begin(), shouted.end(), shouted.begin(), upper);
    check(table->find(shouted + '.') == addresses, "case and a dot at the end do not count");
    check_order(addresses);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 2048;
  if (size > size_max) return -1;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_hosts(text);
  check_name(text.substr(0, text.find('\n')), check_config(text));
  return 0;
}
