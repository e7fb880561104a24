// Every kind of stream keeps the contract of byte_stream in the simulator too.
#include <gtest/gtest.h>

#include "net/stream_makers.h"
#include "support/stream_contract.h"

namespace rill::test {

INSTANTIATE_TYPED_TEST_SUITE_P(simulated_tcp, stream_contract, simulated<tcp_maker>);
INSTANTIATE_TYPED_TEST_SUITE_P(simulated_unix_socket, stream_contract, simulated<unix_maker>);
INSTANTIATE_TYPED_TEST_SUITE_P(simulated_memory, stream_contract, simulated<memory_maker>);

}  // namespace rill::test
