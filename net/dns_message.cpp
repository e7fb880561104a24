// Encoding and checking of DNS messages (RFC 1035 section 4).
//
// From c-ares comes ares_create_query. Its ares_parse_*_reply are not used: they check neither QR
// bit nor id nor question, and their idea of an alias chain is not ours. Nor is ares_expand_name:
// it follows pointers forward, sets no limit to the length of a name, and ends the text of a name
// at a label that is a single NUL, so that different names have one text (1.18.1).
// Read next: resolver_config.cpp, where the names to ask for come from.
#include <rill/net/dns_message.h>

#include <algorithm>
#include <memory>
#include <optional>

#include <ares.h>

#include <rill/net/resolve_error.h>

namespace rill::dns {
namespace {

constexpr std::size_t header_size = 12;          // RFC 1035 section 4.1.1
constexpr std::size_t wire_name_size_max = 255;  // RFC 1035 section 2.3.4
// Pointers followed within one name; c-ares follows as many. Without a limit every record could
// walk back over a whole message of pointers.
constexpr std::size_t pointer_count_max = 50;
constexpr std::uint16_t class_in = 1;
constexpr std::uint16_t type_cname = 5;
constexpr std::uint16_t type_opt = 41;  // RFC 6891

// The bits of the header's second word.
constexpr unsigned flag_reply = 0x8000;
constexpr unsigned mask_opcode = 0x7800;
constexpr unsigned flag_authoritative = 0x0400;
constexpr unsigned flag_truncated = 0x0200;
constexpr unsigned flag_recursion_available = 0x0080;
constexpr unsigned mask_response_code = 0x000f;

constexpr std::uint16_t response_no_error = 0;
constexpr std::uint16_t response_name_error = 3;

using bytes_view = std::span<const std::byte>;

/// Frees what c-ares has allocated.
struct ares_free {
  void operator()(void* allocated) const noexcept { ares_free_string(allocated); }
};

/// Where the name at `begin` ends in the message, or nothing when it is not sound: every label and
/// pointer inside the message, at most 255 bytes when expanded, and each pointer to a place before
/// the labels that lead to it, which rules out loops (RFC 1035 section 4.1.4 allows pointers to
/// prior names only).
std::optional<std::size_t> name_end(bytes_view message, std::size_t begin) {
  std::size_t at = begin;
  std::size_t run_begin = begin;  // of the labels since the last pointer
  std::size_t expanded_size = 0;
  std::size_t pointer_count = 0;
  std::optional<std::size_t> end;  // known at the first pointer
  while (at < message.size()) {
    const auto head = std::to_integer<std::size_t>(message[at]);
    if (head == 0) return end ? *end : at + 1;
    if ((head & 0xc0U) == 0xc0U) {
      if (message.size() - at < 2) return std::nullopt;
      const std::size_t target =
          (head & 0x3fU) << 8 | std::to_integer<std::size_t>(message[at + 1]);
      if (target >= run_begin || target < header_size) return std::nullopt;
      if (++pointer_count > pointer_count_max) return std::nullopt;
      if (!end) end = at + 2;
      run_begin = at = target;
      continue;
    }
    if (head > label_size_max) return std::nullopt;  // 01 and 10 are no label types in use
    expanded_size += head + 1;
    if (expanded_size > wire_name_size_max - 1) return std::nullopt;  // 1 for the root's byte
    at += head + 1;
  }
  return std::nullopt;
}

/// Reads a message from front to back. A read beyond the end gives 0 and makes `failed()` true for
/// good, so callers check once per record.
class reader {
 public:
  reader(bytes_view message, std::size_t at) : message_(message), at_(at) {}

  bool failed() const noexcept { return failed_; }
  std::size_t position() const noexcept { return at_; }

  std::uint16_t read_u16() {
    const bytes_view taken = read_bytes(2);
    if (taken.empty()) return 0;
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(taken[0]) << 8 |
                                      std::to_integer<unsigned>(taken[1]));
  }

  std::uint32_t read_u32() {
    const std::uint32_t high = read_u16();
    const std::uint32_t low = read_u16();
    return high << 16 | low;
  }

  bytes_view read_bytes(std::size_t size) {
    if (failed_ || message_.size() - at_ < size) {
      failed_ = true;
      return {};
    }
    const bytes_view taken = message_.subspan(at_, size);
    at_ += size;
    return taken;
  }

  void skip_name() {
    const auto end = failed_ ? std::nullopt : name_end(message_, at_);
    if (!end) {
      failed_ = true;
      return;
    }
    at_ = *end;
  }

 private:
  bytes_view message_;
  std::size_t at_;
  bool failed_ = false;
};

/// A byte of a label as zone files have it (RFC 1035 section 5.1), in lower case: a backslash
/// before what means something there, three digits for what cannot be printed.
void append_label_byte(std::string& text, std::byte byte) {
  constexpr std::string_view meaningful = "\".;\\()@$";
  const auto value = std::to_integer<unsigned>(byte);
  const auto character = static_cast<char>(value);
  if (value <= ' ' || value > '~') {
    text += '\\';
    text += static_cast<char>('0' + value / 100);
    text += static_cast<char>('0' + value / 10 % 10);
    text += static_cast<char>('0' + value % 10);
    return;
  }
  if (meaningful.find(character) != std::string_view::npos) text += '\\';
  text +=
      character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a') : character;
}

/// The name at `at`, which `name_end` has accepted, as text. Equal texts are equal names.
std::string name_text(bytes_view message, std::size_t at) {
  std::string text;
  for (;;) {
    const auto head = std::to_integer<std::size_t>(message[at]);
    if (head == 0) return text;
    if (head > label_size_max) {  // a pointer
      at = (head & 0x3fU) << 8 | std::to_integer<std::size_t>(message[at + 1]);
      continue;
    }
    if (!text.empty()) text += '.';
    for (const std::byte byte : message.subspan(at + 1, head)) append_label_byte(text, byte);
    at += head + 1;
  }
}

/// A record of the answer section that may matter: an alias, or an address of the type asked for.
struct answer {
  std::string owner;
  bool is_alias = false;
  std::string target;  // of an alias
  address ip;          // otherwise
  std::uint32_t time_to_live = 0;
};

address address_from(bytes_view data) {
  const auto octet = [&data](std::size_t i) { return std::to_integer<std::uint8_t>(data[i]); };
  if (data.size() == 4) return address::v4(octet(0), octet(1), octet(2), octet(3));
  address::v6_bytes octets{};
  for (std::size_t i = 0; i < octets.size(); ++i) octets[i] = octet(i);
  return address::v6(octets);
}

/// Reads one answer record. False when it is malformed; an uninteresting one leaves `answers`
/// alone.
bool read_answer(reader& from, bytes_view message, record_type asked_type,
                 std::vector<answer>& answers) {
  const std::size_t owner_begin = from.position();
  from.skip_name();
  const std::uint16_t type = from.read_u16();
  const std::uint16_t record_class = from.read_u16();
  const std::uint32_t time_to_live = from.read_u32();
  const std::size_t data_size = from.read_u16();
  const std::size_t data_begin = from.position();
  const bytes_view data = from.read_bytes(data_size);
  if (from.failed()) return false;

  const bool is_alias = type == type_cname;
  const bool is_address = type == static_cast<std::uint16_t>(asked_type);
  if (record_class != class_in || !(is_alias || is_address)) return true;

  answer made;
  made.is_alias = is_alias;
  // "The high bit set ... should be treated as if the entire value received was zero" (RFC 2181
  // section 8).
  made.time_to_live = (time_to_live & 0x80000000U) == 0 ? time_to_live : 0;
  if (is_alias) {
    const auto target_end = name_end(message, data_begin);
    if (!target_end || *target_end != data_begin + data_size) return false;
    made.target = name_text(message, data_begin);
  } else {
    if (data_size != (asked_type == record_type::a ? 4U : 16U)) return false;
    made.ip = address_from(data);
  }
  made.owner = name_text(message, owner_begin);
  answers.push_back(std::move(made));
  return true;
}

/// Walks the authority and additional sections. Their records are of no use here (and must not be:
/// they are where cache poisoning lives), except that EDNS0 extends the response code. False when
/// one is malformed.
bool read_other_sections(reader& from, std::size_t record_count, std::uint16_t& response_code) {
  bool seen_opt = false;
  for (std::size_t i = 0; i < record_count; ++i) {
    from.skip_name();
    const std::uint16_t type = from.read_u16();
    from.read_u16();  // the class; the sender's payload size in an OPT record
    const std::uint32_t time_to_live = from.read_u32();
    from.read_bytes(from.read_u16());
    if (from.failed()) return false;
    if (type != type_opt) continue;
    if (seen_opt) return false;  // at most one (RFC 6891 section 6.1.1)
    seen_opt = true;
    response_code = static_cast<std::uint16_t>(response_code | (time_to_live >> 24) << 4);
  }
  return true;
}

/// Follows the aliases from `name` to its addresses.
reply follow_aliases(const std::vector<answer>& answers, std::string name) {
  std::uint32_t time_to_live = 0x7fffffff;
  for (std::size_t alias_count = 0; alias_count <= alias_count_max; ++alias_count) {
    std::vector<address> addresses;
    const answer* alias = nullptr;
    for (const answer& candidate : answers) {
      if (candidate.owner != name) continue;
      if (candidate.is_alias) {
        if (alias == nullptr) alias = &candidate;
      } else if (addresses.size() < address_count_max) {
        addresses.push_back(candidate.ip);
        time_to_live = std::min(time_to_live, candidate.time_to_live);
      }
    }
    if (!addresses.empty()) {
      return {std::move(addresses), std::chrono::seconds(time_to_live), std::move(name)};
    }
    if (alias == nullptr) return reply(reply_kind::no_data);
    time_to_live = std::min(time_to_live, alias->time_to_live);
    name = alias->target;
  }
  return reply(reply_kind::server_failure);  // a loop, or a chain that might as well be one
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

}  // namespace

std::string to_lower_ascii(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

tl::expected<std::string, std::error_code> normalize_name(std::string_view name) {
  const auto invalid = tl::make_unexpected(make_error_code(resolve_error::invalid_name));
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > name_size_max) return invalid;
  std::string lower = to_lower_ascii(name);

  std::string_view rest = lower;
  while (true) {
    const std::size_t dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    if (label.empty() || label.size() > label_size_max || label.front() == '-') return invalid;
    if (!std::all_of(label.begin(), label.end(), is_name_character)) return invalid;
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  const bool last_is_number = rest.find_first_not_of("0123456789") == std::string_view::npos;
  if (last_is_number && rest.size() != lower.size()) return invalid;
  return lower;
}

tl::expected<std::vector<std::byte>, std::error_code> build_query(const question& asked,
                                                                  std::size_t payload_size) {
  // Checked here too, because c-ares reads backslashes as escapes.
  if (const auto name = normalize_name(asked.name()); !name) {
    return tl::make_unexpected(name.error());
  }
  unsigned char* encoded = nullptr;
  int encoded_size = 0;
  const int recursion_desired = 1;
  const int status =
      ares_create_query(asked.name().c_str(), class_in, static_cast<int>(asked.type()), asked.id(),
                        recursion_desired, &encoded, &encoded_size, static_cast<int>(payload_size));
  if (status == ARES_ENOMEM) {
    return tl::make_unexpected(std::make_error_code(std::errc::not_enough_memory));
  }
  if (status == ARES_ENOTFOUND) {
    return tl::make_unexpected(make_error_code(resolve_error::name_not_found));
  }
  if (status != ARES_SUCCESS) {
    return tl::make_unexpected(make_error_code(resolve_error::invalid_name));
  }
  const std::unique_ptr<unsigned char, ares_free> owner(encoded);
  const auto* const first = reinterpret_cast<const std::byte*>(encoded);
  return std::vector<std::byte>(first, first + encoded_size);
}

reply parse_reply(std::span<const std::byte> message, const question& asked) {
  if (message.size() < header_size || message.size() > message_size_max) {
    return reply(reply_kind::malformed);
  }
  reader from(message, 0);
  const std::uint16_t id = from.read_u16();
  const unsigned flags = from.read_u16();
  const std::size_t question_count = from.read_u16();
  const std::size_t answer_count = from.read_u16();
  const std::size_t authority_count = from.read_u16();
  const std::size_t additional_count = from.read_u16();
  const bool is_reply = (flags & flag_reply) != 0 && (flags & mask_opcode) == 0;
  if (!is_reply || id != asked.id()) return reply(reply_kind::not_ours);
  const auto header_code = static_cast<std::uint16_t>(flags & mask_response_code);
  // A server that does not understand EDNS may answer with a header alone (RFC 6891 section 7).
  if (question_count == 0 && answer_count == 0 && header_code == response_format_error) {
    return reply(reply_kind::server_failure, header_code);
  }
  if (question_count != 1) return reply(reply_kind::not_ours);

  from.skip_name();
  const std::uint16_t type = from.read_u16();
  const std::uint16_t question_class = from.read_u16();
  if (from.failed()) return reply(reply_kind::malformed);
  const std::string name = name_text(message, header_size);
  if (name != to_lower_ascii(asked.name()) || question_class != class_in ||
      type != static_cast<std::uint16_t>(asked.type())) {
    return reply(reply_kind::not_ours);
  }
  // Before the records: a truncated message may end inside one.
  if ((flags & flag_truncated) != 0) return reply(reply_kind::truncated);

  std::vector<answer> answers;
  for (std::size_t i = 0; i < answer_count; ++i) {
    if (!read_answer(from, message, asked.type(), answers)) return reply(reply_kind::malformed);
  }
  auto response_code = static_cast<std::uint16_t>(flags & mask_response_code);
  if (!read_other_sections(from, authority_count + additional_count, response_code)) {
    return reply(reply_kind::malformed);
  }
  if (response_code == response_name_error) {
    return reply(reply_kind::name_not_found, response_code);
  }
  if (response_code != response_no_error) {
    return reply(reply_kind::server_failure, response_code);
  }
  // Neither an answer nor the authority or the will to find one: a server that refers us elsewhere
  // does not know whether the name exists.
  const bool knows = (flags & (flag_authoritative | flag_recursion_available)) != 0;
  if (answer_count == 0 && !knows) return reply(reply_kind::server_failure);
  return follow_aliases(answers, name);
}

}  // namespace rill::dns
