// The parameters of permessage-deflate: offered, answered, read (RFC 7692 section 7.1).
#include <algorithm>
#include <utility>
#include <vector>

#include <rill/protocols/http/head.h>
#include <rill/protocols/http/text.h>
#include <rill/protocols/http/values.h>
#include <rill/protocols/websocket/deflate.h>

namespace rill::websocket {
namespace {

constexpr std::string_view extension_name = "permessage-deflate";
constexpr int bits_min = 8;
constexpr int bits_max = 15;
/// zlib has no raw streams with windows of 8 bits.
constexpr int own_bits_min = 9;

struct parameter {
  std::string_view name;
  std::optional<std::string_view> value;
};
struct extension {
  std::string_view name;
  std::vector<parameter> parameters;
};

/// "name; a; b=1; c="2"" (RFC 6455 section 9.1): values are tokens, quoted or not.
std::optional<extension> read_extension(std::string_view element) {
  const auto take = [&]() {
    const std::size_t end = std::min(element.find(';'), element.size());
    const std::string_view part = http::detail::without_blanks(element.substr(0, end));
    element.remove_prefix(end);
    return part;
  };
  extension made;
  made.name = take();
  if (!http::detail::is_token(made.name)) return std::nullopt;
  while (!element.empty()) {
    element.remove_prefix(1);
    std::string_view part = take();
    parameter one;
    const std::size_t equals = std::min(part.find('='), part.size());
    one.name = http::detail::without_blanks(part.substr(0, equals));
    if (equals != part.size()) {
      std::string_view value = http::detail::without_blanks(part.substr(equals + 1));
      if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"')) {
        value = value.substr(1, value.size() - 2);
      }
      if (!http::detail::is_token(value)) return std::nullopt;
      one.value = value;
    }
    if (!http::detail::is_token(one.name)) return std::nullopt;
    made.parameters.push_back(one);
  }
  return made;
}

/// "8" to "15".
std::optional<std::uint8_t> read_bits(std::string_view text) noexcept {
  if (text.empty() || text.size() > 2 || text.front() == '0') return std::nullopt;
  int number = 0;
  for (const char c : text) {
    if (!http::detail::is_digit(c)) return std::nullopt;
    number = number * 10 + (c - '0');
  }
  if (number < bits_min || number > bits_max) return std::nullopt;
  return static_cast<std::uint8_t>(number);
}

/// The parameters of one offer or answer, each at most once.
struct parameters {
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  std::optional<std::uint8_t> server_window_bits;
  bool has_client_window_bits = false;
  std::optional<std::uint8_t> client_window_bits;
};

std::optional<parameters> read_parameters(const extension& from, bool is_offer) {
  parameters made;
  const auto set_flag = [](bool& flag, const parameter& one) {
    return !one.value && !std::exchange(flag, true);
  };
  for (const parameter& each : from.parameters) {
    if (each.name == "server_no_context_takeover") {
      if (!set_flag(made.server_no_context_takeover, each)) return std::nullopt;
    } else if (each.name == "client_no_context_takeover") {
      if (!set_flag(made.client_no_context_takeover, each)) return std::nullopt;
    } else if (each.name == "server_max_window_bits") {
      if (made.server_window_bits || !each.value) return std::nullopt;
      made.server_window_bits = read_bits(*each.value);
      if (!made.server_window_bits) return std::nullopt;
    } else if (each.name == "client_max_window_bits") {
      if (std::exchange(made.has_client_window_bits, true)) return std::nullopt;
      if (!each.value && !is_offer) return std::nullopt;
      if (each.value) {
        made.client_window_bits = read_bits(*each.value);
        if (!made.client_window_bits) return std::nullopt;
      }
    } else {
      return std::nullopt;
    }
  }
  return made;
}

std::uint8_t own_bits(int wanted) noexcept {
  return static_cast<std::uint8_t>(std::clamp(wanted, own_bits_min, bits_max));
}

/// nullopt: it cannot be met.
std::optional<deflate_parameters> meet(const parameters& offer, const deflate_options& options) {
  deflate_parameters made;
  made.server_no_context_takeover =
      offer.server_no_context_takeover || !options.server_context_takeover;
  made.client_no_context_takeover =
      offer.client_no_context_takeover || !options.client_context_takeover;
  made.server_window_bits =
      std::min(own_bits(options.server_window_bits), offer.server_window_bits.value_or(bits_max));
  if (made.server_window_bits < own_bits_min) return std::nullopt;
  if (offer.has_client_window_bits) {
    made.client_window_bits =
        std::min(own_bits(options.client_window_bits), offer.client_window_bits.value_or(bits_max));
  }
  return made;
}

std::string write_parameters(const deflate_parameters& from) {
  std::string text(extension_name);
  if (from.server_no_context_takeover) text += "; server_no_context_takeover";
  if (from.client_no_context_takeover) text += "; client_no_context_takeover";
  if (from.server_window_bits != bits_max) {
    text += "; server_max_window_bits=" + std::to_string(from.server_window_bits);
  }
  if (from.client_window_bits != bits_max) {
    text += "; client_max_window_bits=" + std::to_string(from.client_window_bits);
  }
  return text;
}

}  // namespace

deflate_answer answer_offers(std::string_view extensions, const deflate_options& options) {
  deflate_answer made;
  while (const auto element = http::next_element(extensions)) {
    const std::optional<extension> offer = read_extension(*element);
    if (!offer) {
      made = deflate_answer();
      made.is_malformed = true;
      return made;
    }
    if (!options.is_on || made.agreed || offer->name != extension_name) continue;
    const std::optional<parameters> read = read_parameters(*offer, true);
    if (read) made.agreed = meet(*read, options);
    if (made.agreed) made.text = write_parameters(*made.agreed);
  }
  return made;
}

std::string write_offer(const deflate_options& options) {
  if (!options.is_on) return {};
  deflate_parameters wanted;
  wanted.server_no_context_takeover = !options.server_context_takeover;
  wanted.client_no_context_takeover = !options.client_context_takeover;
  wanted.server_window_bits = own_bits(options.server_window_bits);
  wanted.client_window_bits = own_bits(options.client_window_bits);
  std::string text = write_parameters(wanted);
  // Without a value it says only that the server may choose.
  if (wanted.client_window_bits == bits_max) text += "; client_max_window_bits";
  return text;
}

deflate_reading read_answer(std::string_view extensions, const deflate_options& offered) {
  deflate_reading made;
  made.is_refused = true;
  std::optional<parameters> answer;
  while (const auto element = http::next_element(extensions)) {
    const std::optional<extension> one = read_extension(*element);
    if (!one || one->name != extension_name || answer || !offered.is_on) return made;
    answer = read_parameters(*one, false);
    if (!answer) return made;
  }
  made.is_refused = false;
  if (!answer) return made;
  deflate_parameters agreed;
  agreed.server_no_context_takeover = answer->server_no_context_takeover;
  agreed.client_no_context_takeover =
      answer->client_no_context_takeover || !offered.client_context_takeover;
  agreed.server_window_bits = answer->server_window_bits.value_or(bits_max);
  agreed.client_window_bits =
      std::min(own_bits(offered.client_window_bits), answer->client_window_bits.value_or(bits_max));
  // What was asked of the server must be granted (section 7.1); with windows of 8 bits, which it
  // may ask of us, zlib cannot compress.
  const bool is_granted = (offered.server_context_takeover || agreed.server_no_context_takeover) &&
                          agreed.server_window_bits <= own_bits(offered.server_window_bits) &&
                          agreed.client_window_bits >= own_bits_min;
  if (is_granted) {
    made.agreed = agreed;
  } else {
    made.is_refused = true;
  }
  return made;
}

}  // namespace rill::websocket
