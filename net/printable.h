// What peers have written, made fit for a log or a terminal.
// Not here: what a chat shows of its members (protocols/chat/text.h), which goes further.
#pragma once

#include <string>
#include <string_view>

namespace rill {

/// `text` in one line that moves no cursor: as `\xNN` each byte of C0, of DEL, of C1 (U+0080 to
/// U+009F, which terminals obey as they do ESC) and of what is no UTF-8 (RFC 3629). All other
/// characters stay. Allocates the result.
std::string printable(std::string_view text);

}  // namespace rill
