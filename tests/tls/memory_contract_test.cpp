// tls_stream keeps the contract of byte_stream in memory, and through a narrow pipe.
#include <gtest/gtest.h>

#include "support/stream_contract.h"
#include "tls/pairs.h"

namespace rill::test {

INSTANTIATE_TYPED_TEST_SUITE_P(tls_over_memory, stream_contract, over_tls<memory_maker>);
INSTANTIATE_TYPED_TEST_SUITE_P(tls_over_narrow_memory, stream_contract,
                               over_tls<narrow_memory_maker>);

}  // namespace rill::test
