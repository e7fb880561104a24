// See any_stream.h.
#include <rill/net/any_stream.h>

namespace rill::detail {

any_stream_state::~any_stream_state() = default;

}  // namespace rill::detail
