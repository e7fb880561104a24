// UTF-8 and names; see text.h.
#include <rill/protocols/chat/text.h>

#include <algorithm>
#include <array>

#include <rill/protocols/websocket/utf8.h>

namespace rill::chat {
namespace {

struct range {
  char32_t first;
  char32_t last;
};

// ECMA-48 and UAX 9, in order.
constexpr range harmful[] = {
    {0x0000, 0x0008},                                      // C0 without the tab
    {0x000A, 0x001F}, {0x007F, 0x009F}, {0x061C, 0x061C},  // ARABIC LETTER MARK
    {0x200E, 0x200F},                                      // LEFT-TO-RIGHT MARK, RIGHT-TO-LEFT MARK
    {0x2028, 0x202E},                                      // separators, embeddings, overrides
    {0x2066, 0x206F},                                      // isolates, deprecated controls
    {0xFFF9, 0xFFFB},                                      // interlinear annotation
};

// Blank or invisible, but not harmful: white space, joiners, fillers, selectors, tags.
constexpr range invisible[] = {
    {0x0009, 0x0009},   {0x0020, 0x0020},   {0x00A0, 0x00A0}, {0x00AD, 0x00AD}, {0x034F, 0x034F},
    {0x115F, 0x1160},   {0x1680, 0x1680},   {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x2000, 0x200D},
    {0x202F, 0x202F},   {0x205F, 0x2065},   {0x2800, 0x2800}, {0x3000, 0x3000}, {0x3164, 0x3164},
    {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFF8}, {0x1BCA0, 0x1BCA3},
    {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
};

template <std::size_t Size>
bool is_in(const range (&ranges)[Size], char32_t value) noexcept {
  return std::any_of(std::begin(ranges), std::end(ranges), [value](const range& each) {
    return value >= each.first && value <= each.last;
  });
}

constexpr std::string_view replacement = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

character first_character(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  // How many bytes follow, and the least value that needs as many (RFC 3629 section 3).
  std::size_t count = 0;
  char32_t value = 0;
  char32_t least = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    count = 1, value = lead & 0x1F, least = 0x80;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    count = 2, value = lead & 0x0F, least = 0x800;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    count = 3, value = lead & 0x07, least = 0x10000;
  } else {
    return {0, 1, false};
  }
  if (text.size() <= count) return {0, 1, false};
  for (std::size_t i = 1; i <= count; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {0, 1, false};
    value = value << 6 | (byte(i) & 0x3F);
  }
  const bool is_surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < least || value > 0x10FFFF || is_surrogate) return {0, 1, false};
  return {value, count + 1, true};
}

bool is_utf8(std::string_view text) noexcept { return websocket::is_utf8(text); }

bool is_harmful(char32_t value) noexcept {
  if (value >= 0x20 && value < 0x7F) return false;
  return is_in(harmful, value);
}

void append_harmless(std::string& to, std::string_view text) {
  while (!text.empty()) {
    // Most text is plain: copied as it is up to the first byte that needs a look.
    const auto plain = std::find_if(text.begin(), text.end(), [](char each) {
      return static_cast<unsigned char>(each) < 0x20 || static_cast<unsigned char>(each) >= 0x7F;
    });
    const auto size = static_cast<std::size_t>(plain - text.begin());
    to.append(text.substr(0, size));
    text.remove_prefix(size);
    if (text.empty()) return;
    const character next = first_character(text);
    if (next.is_valid && !is_harmful(next.value)) {
      to.append(text.substr(0, next.size));
    } else if (next.is_valid && next.value <= 0x7F) {
      // U+2400 and following are pictures of C0; DEL has U+2421.
      const auto picture = static_cast<unsigned char>(next.value == 0x7F ? 0x21 : next.value);
      to.append("\xE2\x90");
      to.push_back(static_cast<char>(0x80 | picture));
    } else {
      to.append(replacement);
    }
    text.remove_prefix(next.size);
  }
}

name_fault check_name(std::string_view name) noexcept {
  if (name.empty()) return name_fault::empty;
  if (name.size() > name_size_max)
    return is_utf8(name) ? name_fault::too_long : name_fault::not_utf8;
  if (std::string_view("*/-#").find(name.front()) != std::string_view::npos) {
    return name_fault::bad_start;
  }
  std::size_t count = 0;
  for (std::string_view rest = name; !rest.empty(); ++count) {
    const character next = first_character(rest);
    if (!next.is_valid) return name_fault::not_utf8;
    if (next.value == ':' || is_harmful(next.value) || is_in(invisible, next.value)) {
      return name_fault::bad_character;
    }
    rest.remove_prefix(next.size);
  }
  return count > name_character_max ? name_fault::too_long : name_fault::none;
}

std::string_view describe(name_fault fault) noexcept {
  switch (fault) {
    case name_fault::none:
      break;
    case name_fault::empty:
    case name_fault::too_long:
      return "a name has 1 to 32 characters";
    case name_fault::not_utf8:
      return "a name is UTF-8";
    case name_fault::bad_character:
      return "a name has no blanks, colons or control characters";
    case name_fault::bad_start:
      return "a name does not begin with * / - or #";
  }
  return "a good name";
}

}  // namespace rill::chat
