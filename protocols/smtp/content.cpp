// See content.h.
#include <rill/protocols/smtp/content.h>

#include <rill/protocols/smtp/address.h>

namespace rill::smtp {
namespace {

/// Up to the first empty line, whatever ends the lines.
std::string_view head_of(std::string_view text) {
  std::size_t end = text.size();
  for (const std::string_view each : {"\r\n\r\n", "\n\n", "\r\r"}) {
    end = std::min(end, text.find(each));
  }
  return text.substr(0, end);
}

}  // namespace

text_content::text_content(std::string_view text) noexcept
    : text_(text),
      size_(text.size()),
      has_high_bytes_(mail::has_high_bytes(text)),
      needs_utf8_(mail::has_high_bytes(head_of(text))) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) ++size_;
    if (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n')) ++size_;
  }
  if (!text.empty() && text.back() != '\n' && text.back() != '\r') size_ += 2;
}

}  // namespace rill::smtp
