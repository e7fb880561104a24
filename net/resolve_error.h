// Why a host name did not become an address: the error codes of category "resolve".
//
// Only what errno cannot say; a name server that cannot be reached keeps the kernel's errno.
// Read next: net/dns_message.h, which decides between the first two.
#pragma once

#include <system_error>
#include <type_traits>

namespace rill {

enum class resolve_error {
  name_not_found = 1,  ///< a name server says that the name does not exist (NXDOMAIN)
  no_address,          ///< the name exists, but has no address of the families asked for
  no_answer,           ///< no name server answered in time; the name may well exist
  server_failure,      ///< name servers answered, but only that they could not tell
  invalid_name,        ///< not a host name, so nobody was asked
};

/// The category "resolve"; the same object in every call.
const std::error_category& resolve_category() noexcept;

std::error_code make_error_code(resolve_error error) noexcept;

}  // namespace rill

template <>
struct std::is_error_code_enum<rill::resolve_error> : std::true_type {};
