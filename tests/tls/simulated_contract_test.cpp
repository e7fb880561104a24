// tls_stream keeps the contract of byte_stream in the simulator too, and over itself.
#include <gtest/gtest.h>

#include "support/stream_contract.h"
#include "tls/pairs.h"

namespace rill::test {

INSTANTIATE_TYPED_TEST_SUITE_P(simulated_tls_over_tcp, stream_contract,
                               over_tls<simulated<tcp_maker>>);
INSTANTIATE_TYPED_TEST_SUITE_P(tls_over_tls, stream_contract, over_tls<over_tls<memory_maker>>);

}  // namespace rill::test
