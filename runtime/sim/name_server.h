// The name server of a world: a program like any other, on a host of its own.
// Stands below net, so it speaks to the ring itself. See world::add_name_server.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include <rill/runtime/sim/packet.h>
#include <rill/runtime/task.h>

namespace rill::sim::detail {

/// Addresses of the host with this name, in lower case; nullptr: there is none.
using find_addresses = std::function<const std::vector<address>*(std::string_view name)>;

/// Answers on port 53, over UDP and TCP, until cancelled.
task<> serve_names(find_addresses find);

}  // namespace rill::sim::detail
