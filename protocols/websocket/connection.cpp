// The driver over any_stream, compiled once. See connection.h.
#include <rill/protocols/websocket/connection.h>

namespace rill::websocket {

template class detail::connection_core<any_stream>;

}  // namespace rill::websocket
