// A name server's message as the reply to a question: whatever the bytes, what is said about it is
// what a second reader says, which is written from RFC 1035 alone and asks glibc (ns_initparse,
// ns_parserr, ns_name_unpack) wherever that accepts the message too. The question is the message's
// own or, where that is none, another; the first byte of the input says which type is asked for.
#include <arpa/nameser.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/input.h"
#include <rill/net/address.h>
#include <rill/net/dns_message.h>

namespace {

using rill::address;
using rill::dns::question;
using rill::dns::record_type;
using rill::dns::reply;
using rill::dns::reply_kind;
using rill::fuzz::check;
using octets = std::span<const std::uint8_t>;

unsigned u16(octets message, std::size_t at) {
  return static_cast<unsigned>(message[at] << 8 | message[at + 1]);
}

/// A name on the wire, in lower case, without pointers: its labels, where it ends in the message,
/// and whether it is made of some bytes twice: a pointer may lead back to a label that covers the
/// pointer itself and more.
struct wire_name {
  std::vector<std::string> labels;
  std::size_t end = 0;
  bool overlaps = false;
};

/// As strict as rill: pointers only to before the labels that lead to them, at most 50 of them, and
/// 255 bytes in all.
std::optional<wire_name> model_name(octets message, std::size_t at) {
  wire_name name;
  std::size_t size = 1;
  std::size_t limit = at;              // of the next pointer
  std::size_t bound = message.size();  // where the labels begin that led here
  int pointers = 0;
  for (;;) {
    if (at >= message.size()) return std::nullopt;
    const std::uint8_t head = message[at];
    if (head >= 0xc0) {
      if (at + 1 >= message.size() || ++pointers > 50) return std::nullopt;
      const std::size_t target = u16(message, at) & 0x3fffU;
      if (name.end == 0) name.end = at + 2;
      if (target >= limit || target < 12) return std::nullopt;
      bound = limit;
      at = limit = target;
      continue;
    }
    if (head > 63) return std::nullopt;
    if (head == 0) break;
    size += head + 1U;
    if (size > 255 || at + 1 + head > message.size()) return std::nullopt;
    std::string label;
    for (std::size_t i = at + 1; i <= at + head; ++i) {
      const auto c = static_cast<char>(message[i]);
      label += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    name.labels.push_back(label);
    at += head + 1U;
    if (at >= bound) name.overlaps = true;
  }
  if (name.end == 0) name.end = at + 1;
  return name;
}

/// As zone files have it: a backslash before what means something there, three digits for what
/// cannot be printed.
std::string text_of(const std::vector<std::string>& labels) {
  std::string text;
  for (const std::string& label : labels) {
    if (!text.empty()) text += '.';
    for (const char c : label) {
      const auto value = static_cast<unsigned char>(c);
      if (value <= ' ' || value > '~') {
        std::array<char, 5> digits{};
        std::snprintf(digits.data(), digits.size(), "\\%03u", value);
        text += digits.data();
      } else {
        if (std::string_view("\".;\\()@$").find(c) != std::string_view::npos) text += '\\';
        text += c;
      }
    }
  }
  return text;
}

struct record {
  wire_name owner;
  unsigned type = 0;
  unsigned record_class = 0;
  std::uint32_t time_to_live = 0;
  std::size_t data = 0;
  std::size_t data_size = 0;
};

struct sections {
  wire_name asked;
  unsigned asked_type = 0;
  unsigned asked_class = 0;
  std::vector<record> records;
  std::size_t end = 0;
};

/// One question and all records, or nothing when a name or a length is not sound.
std::optional<wire_name> model_question(octets message, sections& all) {
  auto name = model_name(message, 12);
  if (!name || message.size() - name->end < 4) return std::nullopt;
  all.asked_type = u16(message, name->end);
  all.asked_class = u16(message, name->end + 2);
  all.end = name->end + 4;
  all.asked = *name;
  return name;
}

bool model_records(octets message, sections& all) {
  const std::size_t count = u16(message, 6) + u16(message, 8) + u16(message, 10);
  for (std::size_t i = 0; i < count; ++i) {
    const auto owner = model_name(message, all.end);
    if (!owner || message.size() - owner->end < 10) return false;
    record one;
    one.owner = *owner;
    one.type = u16(message, owner->end);
    one.record_class = u16(message, owner->end + 2);
    one.time_to_live = u16(message, owner->end + 4) << 16 | u16(message, owner->end + 6);
    one.data_size = u16(message, owner->end + 8);
    one.data = owner->end + 10;
    if (message.size() - one.data < one.data_size) return false;
    all.end = one.data + one.data_size;
    all.records.push_back(one);
  }
  return true;
}

// ---------------------------------------------------------------- what it should say

struct expectation {
  expectation(reply_kind what, unsigned code = 0) : kind(what), response_code(code) {}
  reply_kind kind;
  unsigned response_code;
  std::vector<address> addresses{};
  std::uint32_t time_to_live = 0;
  std::string canonical_name{};
};

address address_at(octets message, const record& from) {
  const octets data = message.subspan(from.data, from.data_size);
  if (data.size() == 4) return address::v4(data[0], data[1], data[2], data[3]);
  address::v6_bytes bytes{};
  std::copy(data.begin(), data.end(), bytes.begin());
  return address::v6(bytes);
}

std::uint32_t kept_time(const record& from) {
  return from.time_to_live > 0x7fffffff ? 0 : from.time_to_live;
}

expectation follow(octets message, const sections& all, std::size_t answer_count) {
  std::vector<std::string> name = all.asked.labels;
  std::uint32_t least = 0x7fffffff;
  for (int aliases = 0; aliases <= 16; ++aliases) {
    expectation found(reply_kind::addresses);
    const record* alias = nullptr;
    for (std::size_t i = 0; i < answer_count; ++i) {
      const record& each = all.records[i];
      if (each.record_class != 1 || each.owner.labels != name) continue;
      if (each.type == 5 && alias == nullptr) alias = &each;
      if (each.type == all.asked_type && found.addresses.size() < 64) {
        found.addresses.push_back(address_at(message, each));
        least = std::min(least, kept_time(each));
      }
    }
    if (!found.addresses.empty()) {
      found.time_to_live = least;
      found.canonical_name = text_of(name);
      return found;
    }
    if (alias == nullptr) return {reply_kind::no_data};
    least = std::min(least, kept_time(*alias));
    name = model_name(message, alias->data)->labels;
  }
  return {reply_kind::server_failure};
}

expectation model_reply(octets message, const question& asked, sections& all) {
  if (message.size() < 12) return {reply_kind::malformed};
  const unsigned flags = u16(message, 2);
  if ((flags & 0xf800U) != 0x8000U || u16(message, 0) != asked.id()) return {reply_kind::not_ours};
  const std::size_t answer_count = u16(message, 6);
  if (u16(message, 4) == 0 && answer_count == 0 && (flags & 15U) == 1) {
    return {reply_kind::server_failure, 1};
  }
  if (u16(message, 4) != 1) return {reply_kind::not_ours};
  const auto name = model_question(message, all);
  if (!name) return {reply_kind::malformed};
  if (text_of(name->labels) != asked.name() || all.asked_class != 1 ||
      all.asked_type != static_cast<unsigned>(asked.type())) {
    return {reply_kind::not_ours};
  }
  if ((flags & 0x0200U) != 0) return {reply_kind::truncated};
  if (!model_records(message, all)) return {reply_kind::malformed};
  unsigned code = flags & 15U;
  int options = 0;
  for (std::size_t i = 0; i < all.records.size(); ++i) {
    const record& each = all.records[i];
    if (i >= answer_count) {
      if (each.type != 41) continue;
      if (++options > 1) return {reply_kind::malformed};
      code |= each.time_to_live >> 24 << 4;
    } else if (each.record_class == 1 && each.type == 5) {
      const auto target = model_name(message, each.data);
      if (!target || target->end != each.data + each.data_size) return {reply_kind::malformed};
    } else if (each.record_class == 1 && each.type == all.asked_type) {
      if (each.data_size != (each.type == 1 ? 4U : 16U)) return {reply_kind::malformed};
    }
  }
  if (code == 3) return {reply_kind::name_not_found, 3};
  if (code != 0) return {reply_kind::server_failure, code};
  if (answer_count == 0 && (flags & 0x0480U) == 0) return {reply_kind::server_failure};
  return follow(message, all, answer_count);
}

// ---------------------------------------------------------------- glibc

/// glibc's reading of a name that the model has accepted.
void compare_name(octets message, std::size_t at, const wire_name& expected) {
  std::array<unsigned char, NS_MAXCDNAME> wire{};
  const int size = ::ns_name_unpack(message.data(), message.data() + message.size(),
                                    message.data() + at, wire.data(), wire.size());
  check(size >= 0 && static_cast<std::size_t>(size) == expected.end - at,
        "glibc reads a name where rill reads it");
  std::string theirs;
  for (std::size_t i = 0; wire[i] != 0; i += wire[i] + 1U) {
    theirs.append(reinterpret_cast<const char*>(&wire[i]), wire[i] + 1U);
  }
  std::string ours;
  for (const std::string& label : expected.labels) {
    ours += static_cast<char>(label.size());
    ours += label;
  }
  // A length of 65 to 90 would be a capital, but there is none above 63.
  check(rill::dns::to_lower_ascii(theirs) == ours, "glibc reads the same name");
  std::array<char, NS_MAXDNAME> text{};
  check(::ns_name_ntop(wire.data(), text.data(), text.size()) >= 0, "glibc writes the name");
  const std::string written = rill::dns::to_lower_ascii(text.data());
  check((written == "." ? "" : written) == text_of(expected.labels), "and writes the same");
}

/// A message that the model accepts: glibc must, and must see the same records. It takes no bytes
/// behind the last record, which rill ignores, so it is not given them; and a name that is longer
/// than the message it takes for a loop, which happens only if the name overlaps itself.
void compare_with_glibc(octets message, const sections& all) {
  for (const record& each : all.records) {
    if (each.owner.overlaps) return;
  }
  const octets whole = message.first(all.end);
  ns_msg parsed;
  check(::ns_initparse(whole.data(), static_cast<int>(whole.size()), &parsed) == 0,
        "glibc accepts what rill accepts");
  std::size_t at = 0;
  for (const ns_sect section : {ns_s_an, ns_s_ns, ns_s_ar}) {
    for (int i = 0; i < ns_msg_count(parsed, section); ++i) {
      const record& expected = all.records[at++];
      ns_rr theirs;
      check(::ns_parserr(&parsed, section, i, &theirs) == 0, "glibc accepts a record");
      check(ns_rr_type(theirs) == expected.type && ns_rr_class(theirs) == expected.record_class &&
                ns_rr_ttl(theirs) == expected.time_to_live &&
                ns_rr_rdlen(theirs) == expected.data_size &&
                ns_rr_rdata(theirs) == whole.data() + expected.data,
            "glibc sees the same record");
    }
  }
  check(at == all.records.size(), "glibc counts as many records");
  std::size_t begin = all.asked.end + 4;
  compare_name(whole, 12, all.asked);
  for (const record& each : all.records) {
    compare_name(whole, begin, each.owner);
    begin = each.data + each.data_size;
  }
}

// ---------------------------------------------------------------- what must hold

void check_reply(octets message, const question& asked) {
  sections all;
  const expectation expected = model_reply(message, asked, all);
  const reply said = rill::dns::parse_reply(std::as_bytes(message), asked);
  check(said.kind() == expected.kind, "two readers of a reply agree on its kind");
  if (said.kind() == reply_kind::malformed) return;
  if (!all.records.empty()) compare_with_glibc(message, all);
  check(said.response_code() == expected.response_code, "and on its code");
  check(said.addresses() == expected.addresses, "and on the addresses");
  check(said.time_to_live().count() == expected.time_to_live, "and on how long they hold");
  check(said.canonical_name() == expected.canonical_name, "and on whose they are");
  check(said.addresses().size() <= rill::dns::address_count_max, "the limit of addresses is kept");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 2048;
  if (size == 0) return 0;
  if (size > size_max) return -1;
  const record_type type = data[0] % 2 == 0 ? record_type::a : record_type::aaaa;
  const octets message(data + 1, size - 1);
  check_reply(message, question("www.example.org", type, 0x6964));
  sections own;
  if (message.size() < 12 || !model_question(message, own)) return 0;
  const auto name = rill::dns::normalize_name(text_of(own.asked.labels));
  if (!name) return 0;
  check_reply(message, question(*name, type, static_cast<std::uint16_t>(u16(message, 0))));
  return 0;
}
