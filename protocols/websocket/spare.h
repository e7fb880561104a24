// Memory that busy connections lend each other, so that an idle one holds none and a busy one
// allocates nothing. Of the thread. Private.
#pragma once

#include <cstddef>
#include <string>

namespace rill::websocket::detail {

/// Empty, with what capacity there is.
std::string take_spare_string();
/// Keeps the memory if it is worth it, and leaves `from` without any.
void give_spare_string(std::string& from) noexcept;

}  // namespace rill::websocket::detail
